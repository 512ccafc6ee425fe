"""Back-off weights that make the probabilities of a back-off model sum to one."""

from __future__ import annotations

import numpy as np

from neve.lm.arpa import ArpaLm, Level, in_reach

ROWS = 1 << 20  # n-grams that are looked up together
ZERO = -99.0  # log10 of 0, as is usual in ARPA files


def lower_log_probs(model: ArpaLm, order: int) -> np.ndarray:
    """(m,) log10 probability of the last word of each n-gram of `order` after one word less."""
    count = len(model.levels[order - 1])
    result = np.empty(count)
    for start in range(0, count, ROWS):
        part = slice(start, min(start + ROWS, count))
        result[part] = model.log_probs(model.word_ids(order, part)[:, 1:])
    return result


def left_over(level: Level, log_probs: np.ndarray, contexts: int) -> np.ndarray:
    """(contexts,) 1 minus the probabilities of the n-grams of `level` after each context."""
    return 1.0 - np.bincount(in_reach(level.context), weights=10.0**log_probs, minlength=contexts)


def set_backoffs(model: ArpaLm) -> None:
    """Compute the back-offs of all n-grams anew; contexts that nothing follows get 0.

    alpha(h) = (1 - sum of P(w | h)) / (1 - sum of P(w | h')) over the words w that the model has
    after h, where h' is h without its first word.
    """
    for order in range(2, model.order + 1):
        below, level = model.levels[order - 2], model.levels[order - 1]
        contexts = len(below)
        free = left_over(level, in_reach(level.log_prob), contexts)
        lower = left_over(level, lower_log_probs(model, order), contexts)
        below.backoff = log_ratio(free, lower)
    model.levels[-1].backoff = np.zeros(len(model.levels[-1]))


def log_ratio(free: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """log10 of free / lower; where one of them is 0 up to rounding, nothing is left to share."""
    good = (free > 1e-12) & (lower > 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log10(free / lower)
    return np.where(good, ratio, ZERO)
