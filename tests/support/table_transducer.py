"""A transducer whose joiner is a table: logits of each frame after each context, as they are given.

Encoder outputs are the tables: `encoded` of (T, V ** context_size, V) logits.
"""

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional as F


class TablePredictor:
    """Says which context it sees: the last symbols, as the digits of a number."""

    def __init__(self, tokens: int, context_size: int):
        self.tokens, self.context_size = tokens, context_size

    def init_state(self, count, device=None):
        return torch.zeros(count, dtype=torch.int64, device=device)

    def step(self, symbols, state):
        state = (state * self.tokens + symbols) % self.tokens**self.context_size
        return F.one_hot(state, self.tokens**self.context_size).float(), state

    @staticmethod
    def select(state, rows):
        return state[rows]


class TableJoiner:
    def __init__(self, tokens: int):
        self.output = SimpleNamespace(out_features=tokens)

    def project(self, encoder_out):
        return encoder_out

    def project_predictor(self, predictor_out):
        return predictor_out

    def join(self, encoder_part, predictor_part):
        tables = encoder_part.unflatten(-1, (-1, self.output.out_features))
        return (tables * predictor_part.unsqueeze(-1)).sum(-2)


def table_transducer(tokens: int, context_size: int = 1) -> SimpleNamespace:
    """Of that many tokens, blank included."""
    return SimpleNamespace(
        predictor=TablePredictor(tokens, context_size), joiner=TableJoiner(tokens)
    )


def encoded(*tables: Tensor) -> Tensor:
    """(N, T, D) encoder outputs of utterances, (T, contexts, V) logits each; padded with 0."""
    return torch.nn.utils.rnn.pad_sequence([table.flatten(1) for table in tables], True)
