"""Divergences between distributions of the frames of a batch, summed over each utterance."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST = -1e4  # a log-probability whose exponential is 0 and which can be multiplied by 0


def valid(lengths: Tensor, frames: int) -> Tensor:
    """(N, T) bool: which frames count, of (N,) lengths."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


def divergences(target: Tensor, log_probs: Tensor) -> Tensor:
    """KL(target || log_probs) of (..., C) log-probabilities: (...)."""
    target, log_probs = target.clamp(min=LOWEST), log_probs.clamp(min=LOWEST)
    return (target.exp() * (target - log_probs)).sum(-1)


def summed(values: Tensor, lengths: Tensor) -> Tensor:
    """(N, T) values of frames, summed over those that count: (N,)."""
    return torch.where(valid(lengths, values.shape[1]), values, 0.0).sum(1)
