"""What the losses of a transducer look at: symbols, lengths, and the pruned lattice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLANK = 0


@dataclass
class Lattice:
    """A transducer's pruned lattice: places (frame, number of symbols said) that are looked at.

    logits (M, T, R, V); symbols (M, S), padded with blanks; ranges (M, T, R) and boundary (M, 4)
    as `neve.fsa.rnnt_loss_pruned` has them; simple (M,) the losses that chose the ranges.
    """

    simple: Tensor
    logits: Tensor
    symbols: Tensor
    ranges: Tensor
    boundary: Tensor


def padded(targets: list[list[int]], lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Symbols (N, S), padded with blanks, and the losses' boundary (N, 4) for (N,) frames."""
    longest = max(1, *map(len, targets)) if targets else 1
    symbols = torch.tensor([row + [BLANK] * (longest - len(row)) for row in targets])
    boundary = torch.zeros(len(targets), 4, dtype=torch.int64)
    boundary[:, 2] = torch.tensor([len(row) for row in targets])
    boundary = boundary.to(lengths.device)
    boundary[:, 3] = lengths
    return symbols.to(lengths.device), boundary
