"""A Transformer decoder (Vaswani et al., 2017, arXiv:1706.03762) on the encoder's outputs.

It says the next token from those before it and the whole utterance. Beside CTC it guides the
encoder in training (Watanabe et al., 2017, "Hybrid CTC/attention architecture"), and it can score
the hypotheses of another search. Layer normalisation comes first in each part, positions are
rotary, as in the Conformer. Token 0, which is blank elsewhere, is begin and end of a sentence here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neve.errors import ConfigError
from neve.models.config import ModelConfig
from neve.models.conformer import FeedForward, SelfAttention, attend, rotary_tables

END = 0


class CrossAttention(nn.Module):
    """Attention of (N, U, D) positions to (N, T, E) encoder outputs."""

    def __init__(self, dim: int, heads: int, memory_dim: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query_proj = nn.Linear(dim, dim)
        self.memory_proj = nn.Linear(memory_dim, 2 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """x (N, U, D) to the same shape; memory (M, T, E); mask (N, 1, 1, T), true where it counts.

        `rows` (N,) says which row of the memory each one looks at; without it M is N.
        """
        n, u, d = x.shape
        query = self.query_proj(self.norm(x)).view(n, u, self.heads, -1).transpose(1, 2)
        both = self.memory_proj(memory).view(*memory.shape[:2], 2, self.heads, -1)
        key, value = both.permute(2, 0, 3, 1, 4)
        if rows is not None:
            key, value = key[rows], value[rows]
        out = attend(query.to(key.dtype), key, value, mask)
        return self.out_proj(out.transpose(1, 2).reshape(n, u, d))


class DecoderLayer(nn.Module):
    """Self-attention to what came before, attention to the utterance, feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int, memory_dim: int, dropout: float):
        super().__init__()
        self.self_attention = SelfAttention(dim, heads)
        self.cross_attention = CrossAttention(dim, heads, memory_dim)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        before: Tensor,
        positions: tuple[Tensor, Tensor],
        memory: Tensor,
        mask: Tensor,
        rows: Tensor | None,
    ) -> Tensor:
        x = x + self.dropout(self.self_attention(x, before, positions))
        x = x + self.dropout(self.cross_attention(x, memory, mask, rows))
        return x + self.dropout(self.feed_forward(x))


class AttentionDecoder(nn.Module):
    """Token sequences and encoder outputs to logits of the token after each.

    Args:
        config: the model's shape; its keys decoder_layers, decoder_dim, decoder_heads and
            decoder_feedforward_dim.
        encoder_dim: width E of the encoder's outputs.
        tokens: number V of tokens, token 0 included.
    """

    def __init__(self, config: ModelConfig, encoder_dim: int, tokens: int):
        super().__init__()
        for name in ("layers", "dim", "heads", "feedforward_dim"):
            value = getattr(config, f"decoder_{name}")
            if value < 1:
                raise ConfigError(f"model.decoder_{name}={value} must be at least 1")
        dim, heads = config.decoder_dim, config.decoder_heads
        if dim % (2 * heads):
            raise ConfigError(
                f"model.decoder_dim={dim} must be a multiple of 2 * model.decoder_heads={2 * heads}"
            )
        self.head_dim = dim // heads
        self.embedding = nn.Embedding(tokens, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, heads, config.decoder_feedforward_dim, encoder_dim, config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, tokens)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)

    def forward(self, encoder_out: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """Logits (N, U, V): row u has seen inputs 0 to u.

        Args:
            encoder_out: (N, T, E).
            lengths: (N,) frames.
            inputs: (N, U) tokens, 0 first.
        """
        return self._decode(encoder_out, lengths, inputs)

    def _decode(
        self, memory: Tensor, lengths: Tensor, inputs: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """`forward`, each row of inputs looking at that of the memory which `rows` names."""
        mask = torch.arange(memory.shape[1], device=memory.device) < lengths.unsqueeze(1)
        mask = (mask if rows is None else mask[rows])[:, None, None, :]
        count = inputs.shape[1]
        before = torch.ones(count, count, dtype=torch.bool, device=inputs.device).tril()
        positions = rotary_tables(count, self.head_dim, inputs.device)
        x = self.dropout(self.embedding(inputs) * self.embedding.embedding_dim**0.5)
        for layer in self.layers:
            x = layer(x, before[None, None], positions, memory, mask, rows)
        return self.output(self.norm(x))

    @torch.inference_mode()
    def score(
        self,
        encoder_out: Tensor,
        lengths: Tensor,
        hypotheses: Sequence[Sequence[Sequence[int]]],
    ) -> list[list[float]]:
        """Log-probabilities of whole hypotheses, their ends included.

        Args:
            encoder_out: (N, T, E).
            lengths: (N,) frames.
            hypotheses: of each utterance any number of token sequences.

        Returns:
            Of each utterance, the scores of its hypotheses.
        """
        if len(hypotheses) != len(encoder_out):
            raise ValueError(f"{len(hypotheses)} lists of hypotheses for {len(encoder_out)} rows")
        rows = [row for row, some in enumerate(hypotheses) for _ in some]
        if not rows:
            return [[] for _ in hypotheses]
        device = encoder_out.device
        inputs, outputs, counts = sentences([h for some in hypotheses for h in some], device)
        index = torch.tensor(rows, device=device)
        logits = self._decode(encoder_out, lengths.to(device), inputs, index)
        log_probs = logits.float().log_softmax(-1)
        chosen = log_probs.gather(2, outputs.unsqueeze(2)).squeeze(2)
        beyond = torch.arange(outputs.shape[1], device=device) >= counts.unsqueeze(1)
        totals = iter(chosen.masked_fill(beyond, 0.0).double().sum(1).tolist())
        return [[next(totals) for _ in some] for some in hypotheses]


def sentences(
    sequences: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder reads and what it is to say: (N, U) inputs, (N, U) outputs, (N,) counts.

    Inputs are `END` and the tokens, outputs the tokens and `END`, both padded with `END`; a count
    is that of the tokens and one.
    """
    longest = max(map(len, sequences), default=0) + 1
    rows = [[END, *row] + [END] * (longest - len(row)) for row in sequences]
    table = torch.tensor(rows, dtype=torch.int64).to(device)
    counts = torch.tensor([len(row) + 1 for row in sequences]).to(device)
    return table[:, :longest], table[:, 1:], counts
