"""Exact CTC: losses and gradients over all alignments (Graves et al., 2006).

Of a target of S tokens the states are blank, token, blank, ... blank: 2S + 1 of them. Totals are
kept in float64; for float32 scores the exponentials and logarithms between them are float32's,
several states at a time.
"""

import math

import numpy as np
from numba import njit

from neve.kernels.approximate import FAST, exp, log_1_to_3, narrowed
from neve.kernels.threads import for_each

# Stands for -inf: sums of it stay finite, so that differences are never NaN.
NONE = -1e30


@njit(cache=True, nogil=True, fastmath=FAST)
def _step(before, after, emitted, may_skip, bonus, lo, hi, unit):
    """after[s], lo <= s < hi, from the states s, s-1 and s-2 before; arrays begin with two NONE."""
    for s in range(lo, hi):
        a = before[s + 2]
        b = before[s + 1] + bonus[s]
        c = before[s] + may_skip[s] + bonus[s]
        high = max(a, max(b, c))
        total = exp(narrowed(a - high, unit)) + exp(narrowed(b - high, unit))
        total += exp(narrowed(c - high, unit))
        after[s + 2] = high + log_1_to_3(total) + emitted[s]


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_back(after, before, emitted, may_skip, bonus, lo, hi, unit):
    """before[s] for lo <= s < hi from the states s, s+1 and s+2 after; arrays end with two NONE."""
    for s in range(lo, hi):
        a = after[s] + emitted[s]
        b = after[s + 1] + emitted[s + 1] + bonus[s + 1]
        c = after[s + 2] + emitted[s + 2] + may_skip[s + 2] + bonus[s + 2]
        high = max(a, max(b, c))
        total = exp(narrowed(a - high, unit)) + exp(narrowed(b - high, unit))
        total += exp(narrowed(c - high, unit))
        before[s] = high + log_1_to_3(total)


@njit(cache=True, nogil=True, fastmath=FAST)
def _posteriors(forward, backward, total, occupied, lo, hi, unit):
    for s in range(lo, hi):
        occupied[s] = exp(narrowed(min(forward[s + 2] + backward[s] - total, 0.0), unit))


@njit(cache=True, nogil=True)
def _emit(scores, labels, emitted, lo, hi):
    """Gathers the scores of the states' labels; returns False for NaN or +inf."""
    good = True
    for s in range(lo, hi):
        x = scores[labels[s]]
        good &= x < np.inf
        emitted[s] = x if x > NONE else NONE
    return good


@njit(cache=True, nogil=True)
def _alive(t, length, states):
    """The states that lie on some path in frame t: a path moves by at most two states a frame."""
    return max(0, states - 2 * (length - t)), min(states, 2 * t + 2)


@njit(cache=True, nogil=True)
def _utterance(log_probs, length, target, blank, modified, delay_penalty, grad):
    """The loss of one utterance; its gradient is added to `grad` (T, C), if that has rows."""
    states = 2 * len(target) + 1
    unit = log_probs[0, 0]
    labels = np.full(states, blank, np.int64)
    may_skip = np.full(states + 2, NONE)
    emits = np.zeros(states + 2)
    for i in range(len(target)):
        labels[2 * i + 1] = target[i]
        emits[2 * i + 1] = 1.0
        if i > 0 and (modified or target[i] != target[i - 1]):
            may_skip[2 * i + 1] = 0.0
    emitted = np.full(states + 2, NONE)
    bonus = np.zeros(states + 2)
    forward = np.full((length, states + 2), NONE)
    middle = length // 2
    good = True
    for t in range(length):
        lo, hi = _alive(t, length, states)
        good &= _emit(log_probs[t], labels, emitted, lo, hi)
        if delay_penalty != 0.0:
            bonus = emits * (delay_penalty * (middle - t))
        if t == 0:
            for s in range(lo, hi):
                forward[0, s + 2] = emitted[s] + bonus[s]
        else:
            _step(forward[t - 1], forward[t], emitted, may_skip, bonus, lo, hi, unit)
    if not good:
        return np.nan
    a, b = forward[length - 1, states + 1], forward[length - 1, states]
    high = max(a, b)
    if high < NONE / 2:
        return np.inf
    total = high + math.log(math.exp(a - high) + math.exp(b - high))
    if len(grad) == 0:
        return -total
    backward = np.full(states + 2, NONE)
    earlier = np.full(states + 2, NONE)
    occupied = np.empty(states, log_probs.dtype)
    backward[states - 1] = 0.0
    if states > 1:
        backward[states - 2] = 0.0
    for t in range(length - 1, -1, -1):
        lo, hi = _alive(t, length, states)
        _posteriors(forward[t], backward, total, occupied, lo, hi, unit)
        for s in range(lo, hi):
            grad[t, labels[s]] -= occupied[s]
        if t > 0:
            emitted[:] = NONE
            _emit(log_probs[t], labels, emitted, lo, hi)
            if delay_penalty != 0.0:
                bonus = emits * (delay_penalty * (middle - t))
            lo, hi = _alive(t - 1, length, states)
            earlier[:] = NONE
            _step_back(backward, earlier, emitted, may_skip, bonus, lo, hi, unit)
            backward, earlier = earlier, backward
    return -total


def ctc(
    log_probs: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    target_lengths: np.ndarray,
    blank: int = 0,
    modified: bool = False,
    delay_penalty: float = 0.0,
    want_grad: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """(losses (N,), gradient of their sum with respect to log_probs (N, T, C) or None).

    log_probs (N, T, C) float32 or float64; lengths, target_lengths (N,) and targets (N, S) int64,
    all in range. `modified` lets equal tokens follow each other without a blank. An arc entering a
    token in frame t gets delay_penalty * (length // 2 - t). A target that does not fit has loss inf
    and gradient 0; NaN or +inf where it counts gives NaN.
    """
    losses = np.empty(len(log_probs), log_probs.dtype)
    grad = np.zeros_like(log_probs) if want_grad else None
    none = np.empty((0, 0), log_probs.dtype)

    def row(n: int) -> None:
        length = int(lengths[n])
        target = targets[n, : target_lengths[n]]
        if length == 0:
            losses[n] = np.inf if len(target) else 0.0
        else:
            losses[n] = _utterance(
                log_probs[n], length, target, blank, modified, float(delay_penalty),
                grad[n] if want_grad else none,
            )  # fmt: skip

    for_each(len(losses), row)
    return losses, grad
