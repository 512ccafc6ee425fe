"""A Transformer language model with causal self-attention (Al-Rfou et al., 2019, arXiv:1808.04444).

Layers normalise their input; positions are rotary (Su et al., 2021, arXiv:2104.09864), so that only
distances matter and a search can let what is further back than `config.context` fall away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.conformer import attend, rotary_tables, rotate
from neve.models.lm import LanguageModel
from neve.models.lm_config import LmModelConfig


@dataclass
class State:
    """What was seen of n hypotheses.

    keys, values: (n, layers, heads, T, E), the last T tokens, the newest last; keys are rotated.
    seen: (n,) how many tokens each hypothesis has; fewer than T are padded in front.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor


class Layer(nn.Module):
    """Self-attention and a feed-forward module, each on its normalised input and added to it."""

    def __init__(self, config: LmModelConfig):
        super().__init__()
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.in_proj = nn.Linear(config.dim, 3 * config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)
        self.hidden = nn.Linear(config.dim, config.feedforward_dim)
        self.back = nn.Linear(config.feedforward_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def queries(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, U, D) to queries, keys and values, each (N, heads, U, E)."""
        n, u, d = x.shape
        x = self.in_proj(self.norm1(x)).view(n, u, 3, self.heads, d // self.heads)
        query, key, value = x.permute(2, 0, 3, 1, 4)
        return query, key, value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The layer's output for its input (N, U, D) and what the heads (N, heads, U, E) found."""
        attended = attended.transpose(1, 2).reshape(x.shape)
        x = x + self.dropout(self.out_proj(attended))
        return x + self.dropout(self.back(self.dropout(F.gelu(self.hidden(self.norm2(x))))))


class TransformerLm(LanguageModel):
    """See `LanguageModel`; `config.layers` layers of width `config.dim`."""

    def __init__(self, config: LmModelConfig, vocab_size: int, boundary: int):
        super().__init__(config, vocab_size, boundary)
        if config.dim % (2 * config.heads):
            raise ConfigError(
                f"neural_lm.model.dim={config.dim} must be a multiple of 2 * neural_lm.model.heads="
                f"{2 * config.heads}"
            )
        self.context, self.head_dim = config.context, config.dim // config.heads
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        length, device = tokens.shape[1], tokens.device
        places = torch.arange(length, device=device)
        distance = places[:, None] - places[None, :]
        mask = ((distance >= 0) & (distance < self.context))[None, None]
        positions = rotary_tables(length, self.head_dim, device)
        for layer in self.layers:
            query, key, value = layer.queries(x)
            query, key = (rotate(each, *positions).to(value.dtype) for each in (query, key))
            x = layer.finish(x, attend(query, key, value, mask))
        return self.norm(x)

    def init_state(self, count: int, device: torch.device | None = None) -> State:
        layers, heads = len(self.layers), self.layers[0].heads
        nothing = torch.zeros(count, layers, heads, 0, self.head_dim, device=device)
        return State(nothing, nothing, torch.zeros(count, dtype=torch.int64, device=device))

    @torch.no_grad()
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        x = self.embed(tokens).unsqueeze(1)
        seen = state.seen + 1
        longest = min(int(seen.max()) if len(seen) else 1, self.context)
        cos, sin = rotary_tables(int(seen.max()) if len(seen) else 1, self.head_dim, x.device)
        now = tuple(table[state.seen][:, None, None] for table in (cos, sin))
        back = torch.arange(longest - 1, -1, -1, device=x.device)
        mask = (back[None] < seen[:, None])[:, None, None]
        keys, values = [], []
        for number, layer in enumerate(self.layers):
            query, key, value = layer.queries(x)
            query, key = (rotate(each, *now) for each in (query, key))
            key = torch.cat([state.keys[:, number], key], dim=2)[:, :, -longest:]
            value = torch.cat([state.values[:, number], value], dim=2)[:, :, -longest:]
            keys.append(key)
            values.append(value)
            x = layer.finish(x, attend(query, key, value, mask))
        logits = self.output(self.norm(x)).squeeze(1)
        return logits.log_softmax(-1), State(torch.stack(keys, 1), torch.stack(values, 1), seen)

    @staticmethod
    def select(state: State, rows: Tensor) -> State:
        return State(state.keys[rows], state.values[rows], state.seen[rows])

    @staticmethod
    def join(states: Sequence[State]) -> State:
        longest = max(state.keys.shape[3] for state in states)

        def together(parts: list[Tensor]) -> Tensor:
            return torch.cat([F.pad(x, (0, 0, longest - x.shape[3], 0)) for x in parts])

        return State(
            together([state.keys for state in states]),
            together([state.values for state in states]),
            torch.cat([state.seen for state in states]),
        )
