"""Dropout whose mask an utterance's frames share."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.models.scheduled import Schedule, Scheduled


class SharedDropout(Scheduled):
    """Dropout with one mask per utterance, the same in all its frames.

    Shared over time as in variational dropout (Gal & Ghahramani, 2016, arXiv:1512.05287): stronger
    than independent masks on neighbouring, much alike frames, and it draws T times fewer random
    numbers, which took a fifth of a training step on the CPU.
    """

    def __init__(self, p: float | Schedule):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) to the same shape."""
        p = self.now(self.p) if self.training else 0.0
        if p == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= p
        return x * (keep / (1.0 - p)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"
