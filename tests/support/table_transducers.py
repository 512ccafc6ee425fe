"""Transducers whose searches see tables of logits alone, for tests worked out by hand."""

import math

import numpy as np
import torch
from torch import nn

from neve.models import ModelConfig, TransducerModel

SHAPE = ModelConfig(
    kind="transducer", encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8, joiner_dim=8
)


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
