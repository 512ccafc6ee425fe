"""Cutting long recordings into pieces that a model can take at once."""

from __future__ import annotations

import numpy as np

WINDOW = 0.2  # s over which loudness is measured


def cut_at_pauses(
    samples: np.ndarray, rate: int, longest: float = 30.0
) -> list[tuple[int, int]]:
    """(first, last + 1) samples of consecutive pieces of (T,) `samples`, none above `longest` s.

    A piece ends in the middle of the quietest window in its second half; the pieces together are
    the whole recording.
    """
    limit = max(1, int(longest * rate))
    width = max(1, int(WINDOW * rate))
    energy = np.concatenate(([0.0], np.cumsum(samples.astype(np.float64) ** 2)))
    pieces = []
    start = 0
    while len(samples) - start > limit:
        low, high = start + limit // 2, start + limit
        first = np.arange(low, max(low + 1, high - width), max(1, width // 10))
        loudness = energy[np.minimum(first + width, len(samples))] - energy[first]
        end = int(first[np.argmin(loudness)]) + width // 2
        end = min(max(end, start + 1), high)
        pieces.append((start, end))
        start = end
    pieces.append((start, len(samples)))
    return pieces
