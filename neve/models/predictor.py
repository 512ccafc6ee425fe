"""Predictors of a transducer: what it makes of the symbols that it has given out so far.

Both kinds have the same use: in training `forward` takes whole symbol sequences, in a search
`init_state` and `step` take one symbol of each hypothesis at a time.

`history_dropout` hides all symbols of some utterances from them in training. What then tells apart
a word said twice and a long one is the encoder alone: with histories always at hand it leaves that
to the predictor, which does so by refusing the same symbol again. (Cui et al., "Reducing Exposure
Bias in Training Recurrent Neural Network Transducers", Interspeech 2021, hide single symbols.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.balance import Balancer
from neve.models.config import ModelConfig

NOTHING = -1  # in histories: before the first symbol, or hidden


class StatelessPredictor(nn.Module):
    """Embeddings of the last `context_size` symbols, convolved (Ghodsi et al., 2020).

    "Rnn-transducer with stateless prediction network", ICASSP 2020, with a grouped convolution
    over the embeddings as Zipformer's recipes have it.

    Args:
        tokens: number of symbols V, blank (0) included.
        dim: output width P, a multiple of 4.
        context_size: symbols that are looked at.
        history_dropout: share of the utterances whose symbols training hides.
    """

    def __init__(self, tokens: int, dim: int, context_size: int, history_dropout: float = 0.0):
        super().__init__()
        if context_size < 1 or dim % 4:
            raise ConfigError(
                f"model.context_size={context_size} must be at least 1, and "
                f"model.predictor_dim={dim} a multiple of 4"
            )
        self.dim, self.context_size = dim, context_size
        self.history_dropout = history_dropout
        self.embedding = nn.Embedding(tokens, dim)
        self.balancer1 = Balancer(0.0, 1.0, 0.5, 1.0, prob=0.05)
        self.conv = None
        if context_size > 1:
            self.conv = nn.Conv1d(dim, dim, context_size, groups=dim // 4, bias=False)
        self.balancer2 = Balancer(0.0, 1.0, 0.5, 1.0, prob=0.05)

    def forward(self, symbols: Tensor) -> Tensor:
        """(N, U) symbols, blank first, to (N, U, P): row u has seen symbols 0 to u."""
        symbols = hide(symbols, self.history_dropout if self.training else 0.0)
        return self._convolve(F.pad(symbols, (self.context_size - 1, 0), value=NOTHING))

    def _convolve(self, symbols: Tensor) -> Tensor:
        """(N, U + context_size - 1) symbols to (N, U, P)."""
        x = self.embedding(symbols.clamp(min=0)) * (symbols >= 0).unsqueeze(-1)
        x = self.balancer1(x)
        if self.conv is not None:
            x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.balancer2(F.relu(x))

    def hidden(self) -> Tensor:
        """(P,) output where `history_dropout` hides all symbols."""
        nothing = torch.full((1, self.context_size), NOTHING, device=self.embedding.weight.device)
        return self._convolve(nothing)[0, 0]

    def init_state(self, count: int, device: torch.device | None = None) -> Tensor:
        """The state of `count` hypotheses before their first `step`, which takes blank (0).

        It is (count, context_size - 1), the last symbols, oldest first.
        """
        shape = (count, self.context_size - 1)
        return torch.full(shape, NOTHING, dtype=torch.int64, device=device)

    def step(self, symbols: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The next symbol (n,) of each hypothesis to outputs (n, P), and the state after it."""
        history = torch.cat([state, symbols.unsqueeze(1)], dim=1)
        return self._convolve(history).squeeze(1), history[:, 1:]


class LstmPredictor(nn.Module):
    """Embeddings through LSTM layers, which look at all symbols (Graves, 2012, arXiv:1211.3711).

    Args:
        tokens: number of symbols V, blank (0) included.
        dim: width P of embeddings, cells and output.
        layers: LSTM layers.
        dropout: of the embeddings and between layers.
        history_dropout: share of the utterances whose symbols training hides.
    """

    def __init__(
        self,
        tokens: int,
        dim: int,
        layers: int = 1,
        dropout: float = 0.0,
        history_dropout: float = 0.0,
    ):
        super().__init__()
        self.dim, self.layers = dim, layers
        self.history_dropout = history_dropout
        self.embedding = nn.Embedding(tokens, dim)
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(dim, dim, layers, batch_first=True, dropout=between)

    def forward(self, symbols: Tensor) -> Tensor:
        """(N, U) symbols, blank first, to (N, U, P): row u has seen symbols 0 to u."""
        symbols = hide(symbols, self.history_dropout if self.training else 0.0)
        embedded = self.embedding(symbols.clamp(min=0)) * (symbols >= 0).unsqueeze(-1)
        return self.lstm(self.dropout(embedded))[0]

    def init_state(
        self, count: int, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `StatelessPredictor.init_state`; hidden and cell, each (count, layers, P)."""
        zeros = torch.zeros(count, self.layers, self.dim, device=device)
        return zeros, zeros

    def step(
        self, symbols: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next symbol (n,) of each hypothesis to outputs (n, P), and the state after it."""
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        output, (hidden, cell) = self.lstm(self.embedding(symbols).unsqueeze(1), (hidden, cell))
        return output.squeeze(1), (hidden.transpose(0, 1), cell.transpose(0, 1))


def hide(symbols: Tensor, share: float) -> Tensor:
    """(N, U) symbols, those of about `share` of the rows replaced by NOTHING."""
    if not share:
        return symbols
    hidden = torch.rand(len(symbols), 1, device=symbols.device) < share
    return symbols.masked_fill(hidden, NOTHING)


def build_predictor(config: ModelConfig, tokens: int) -> nn.Module:
    """The predictor that `config.predictor` names, over `tokens` symbols."""
    if not 0 <= config.history_dropout < 1:
        raise ConfigError(f"model.history_dropout={config.history_dropout} must be in [0, 1)")
    if config.predictor == "lstm":
        return LstmPredictor(
            tokens,
            config.predictor_dim,
            config.predictor_layers,
            config.dropout,
            config.history_dropout,
        )
    return StatelessPredictor(
        tokens, config.predictor_dim, config.context_size, config.history_dropout
    )
