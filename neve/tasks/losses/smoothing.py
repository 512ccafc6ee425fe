"""Smoothing of CTC: frame posteriors are drawn to the uniform distribution.

Kim et al., 2018, "Improved training for online end-to-end speech recognition systems",
arXiv:1711.02212.
"""

from __future__ import annotations

import math

from torch import Tensor

from neve.tasks.losses.frames import summed


def smoothing_losses(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """(N,) sums over frames of KL(uniform || posterior) of (N, T, C) log-probabilities."""
    classes = log_probs.shape[2]
    return summed(-log_probs.mean(-1) - math.log(classes), lengths)
