"""An LSTM language model (Sundermeyer, Schlüter and Ney, Interspeech 2012)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neve.models.lm import LanguageModel
from neve.models.lm_config import LmModelConfig

State = tuple[Tensor, Tensor]  # hidden and cell, each (n, layers, D)


class LstmLm(LanguageModel):
    """See `LanguageModel`; `config.layers` LSTM layers of width `config.dim`."""

    def __init__(self, config: LmModelConfig, vocab_size: int, boundary: int):
        super().__init__(config, vocab_size, boundary)
        between = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.dim, config.dim, config.layers, batch_first=True, dropout=between
        )

    def encode(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.lstm(self.embed(tokens))[0])

    def init_state(self, count: int, device: torch.device | None = None) -> State:
        zeros = torch.zeros(count, self.lstm.num_layers, self.lstm.hidden_size, device=device)
        return zeros, zeros

    @torch.no_grad()
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        output, (hidden, cell) = self.lstm(self.embed(tokens).unsqueeze(1), (hidden, cell))
        logits = self.output(self.dropout(output.squeeze(1)))
        return logits.log_softmax(-1), (hidden.transpose(0, 1), cell.transpose(0, 1))

    @staticmethod
    def select(state: State, rows: Tensor) -> State:
        return state[0][rows], state[1][rows]

    @staticmethod
    def join(states: Sequence[State]) -> State:
        return torch.cat([state[0] for state in states]), torch.cat([state[1] for state in states])
