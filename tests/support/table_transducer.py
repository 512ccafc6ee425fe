"""Transducers whose searches see tables of logits alone, for tests worked out by hand.

`table_transducer` has logits for each frame after each context: encoder outputs are the tables,
`encoded` of (T, V ** context_size, V) logits. `transducer` adds the logits of each of the `frames`
and a row for the last token.
"""

import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.models import ModelConfig, TransducerModel

SHAPE = ModelConfig(
    kind="transducer", encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8, joiner_dim=8
)


class TablePredictor:
    """Says which context it sees: the last symbols, as the digits of a number."""

    def __init__(self, tokens: int, context_size: int):
        self.tokens, self.context_size = tokens, context_size

    def init_state(self, count, device=None):
        return torch.zeros(count, dtype=torch.int64, device=device)

    def step(self, symbols, state):
        state = (state * self.tokens + symbols) % self.tokens**self.context_size
        return F.one_hot(state, self.tokens**self.context_size).float(), state


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


class Table(nn.Module):
    """A predictor and a joiner: logits are the encoder's output, and a row for the last token."""

    context_size = 1

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.as_tensor(rows, dtype=torch.float32))
        self.encoder_proj = self.output = nn.Linear(*self.rows.shape)  # for their widths alone

    def init_state(self, count, device=None):
        return torch.zeros(count, 1)

    def step(self, tokens, state):
        return self.rows[tokens], state

    def project(self, encoder_out):
        return encoder_out

    project_predictor = project

    def join(self, encoder_part, predictor_part):
        return encoder_part + predictor_part


def transducer(lang, after=None):
    """A transducer with logits {last token: {token: logit}} beside those of the frames."""
    model = TransducerModel(SHAPE, 8, lang.num_tokens)
    rows = np.zeros((lang.num_tokens,) * 2)
    for last, row in (after or {}).items():
        for name, logit in row.items():
            rows[number(lang, last), number(lang, name)] = logit
    model.predictor = model.joiner = Table(rows)
    return model.eval()


def frames(lang, *probabilities):
    """(1, T, V) logits of frames of {token: probability}; '-' is blank."""
    logits = torch.full((1, len(probabilities), lang.num_tokens), -30.0)
    for frame, said in enumerate(probabilities):
        for name, value in said.items():
            logits[0, frame, number(lang, name)] = math.log(value)
    return logits


def number(lang, name):
    """The id of a token; '-' is blank."""
    return 0 if name == "-" else lang.tokens[name]
