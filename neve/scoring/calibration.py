"""Are the confidences of the words what they claim to be?

Normalised cross entropy as NIST's evaluations define it (sctk; Siu and Gish, "Evaluation of word
confidence for speech recognition systems", 1999): 1 for perfect knowledge, 0 for confidences no
better than the overall share of correct words, negative for worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from neve.errors import NeveError

_SMALLEST = 1e-4  # confidences of exactly 0 or 1 would make one error infinitely expensive


@dataclass(frozen=True)
class Calibration:
    """`nce` is None where every word is correct or none is; `bins` are rows of
    `(lower limit, words, mean confidence, share correct)` for those tenths that occur, and
    `error` is the mean difference between the last two, weighted by words."""

    words: int
    correct: int
    nce: float | None
    error: float
    bins: list[tuple[float, int, float, float]]


def calibration(words: Iterable[tuple[float, bool]]) -> Calibration | None:
    """Calibration of `(confidence, is correct)` pairs; None if there are none.

    Raises NeveError for a confidence outside [0, 1].
    """
    count = correct = 0
    bits = 0.0
    tenths = [[0, 0.0, 0] for _ in range(10)]
    for confidence, right in words:
        if not 0.0 <= confidence <= 1.0:
            raise NeveError(
                f"a word's confidence is {confidence}: it must be a probability from 0 to 1; "
                "decode without confidences or correct their scale"
            )
        count += 1
        correct += right
        clipped = min(max(confidence, _SMALLEST), 1 - _SMALLEST)
        bits -= math.log2(clipped if right else 1 - clipped)
        tenth = tenths[min(int(confidence * 10), 9)]
        tenth[0] += 1
        tenth[1] += confidence
        tenth[2] += right
    if not count:
        return None
    prior = correct / count
    nce = None
    if 0 < correct < count:
        most = -correct * math.log2(prior) - (count - correct) * math.log2(1 - prior)
        nce = (most - bits) / most
    bins = [(i / 10, n, total / n, ok / n) for i, (n, total, ok) in enumerate(tenths) if n]
    return Calibration(
        words=count,
        correct=correct,
        nce=nce,
        error=sum(n * abs(mean - share) for _, n, mean, share in bins) / count,
        bins=bins,
    )
