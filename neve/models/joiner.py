"""The joiner of a transducer: encoder frame and predictor output to scores of the next symbol."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Joiner(nn.Module):
    """Both projected to one width, added, tanh, and projected to the symbols.

    `project`, `project_predictor` and `join` are its parts, for searches and pruned losses, which
    project once and join many times.

    Args:
        encoder_dim, predictor_dim: widths of what is joined.
        dim: inner width J.
        tokens: number of symbols V, blank (0) included.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, tokens: int):
        super().__init__()
        self.encoder_proj = nn.Linear(encoder_dim, dim)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        self.output = nn.Linear(dim, tokens)

    def project(self, encoder_out: Tensor) -> Tensor:
        """(..., D) to (..., J)."""
        return self.encoder_proj(encoder_out)

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """(..., P) to (..., J)."""
        return self.predictor_proj(predictor_out)

    def join(self, encoder_part: Tensor, predictor_part: Tensor) -> Tensor:
        """Logits (..., V) of projected inputs (..., J), which are broadcast."""
        return self.output(torch.tanh(encoder_part + predictor_part))
