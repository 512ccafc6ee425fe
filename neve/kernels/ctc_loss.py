"""Exact CTC: losses and gradients over all alignments (Graves et al., 2006).

Of a target of S tokens the states are blank, token, blank, ... blank: 2S + 1 of them. Their
probabilities are numbers of neve.kernels.wide_range: number s of a row has its bits at 2s and its
power at 2s + 1. Rows begin and end with two zeros, so that state s is number s + 2.
"""

import math

import numpy as np
from numba import njit

from neve.kernels.approximate import FAST
from neve.kernels.threads import for_each
from neve.kernels.wide_range import exp_parts, lowest, power, split, value, zeros


@njit(cache=True, nogil=True, fastmath=FAST)
def _emit(scores, labels, counts, delay_penalty, emitted, unit):
    """Writes exp(score of each state's label) to `emitted`; returns False for NaN or +inf.

    delay_penalty for each token a state has behind it is added to its score.
    """
    wrong = np.int32(0)
    least = lowest(unit)
    for s in range(len(labels)):
        x = scores[labels[s]]
        wrong += np.int32(0 if x < np.inf else 1)
        bits, size = exp_parts(x + counts[s] * delay_penalty, unit)
        emitted[2 * s] = bits
        emitted[2 * s + 1] = size if x > -1e8 else least // 2
    return wrong == 0


@njit(cache=True, nogil=True, fastmath=FAST)
def _step(before, emitted, skip, after, count, unit):
    """Each of `count` states after, from itself, the one and (where it may) the two before it."""
    least = lowest(unit)
    for s in range(count):
        a, b, c = before[2 * s + 5], before[2 * s + 3], before[2 * s + 1] + skip[s]
        size = max(a, max(b, c))
        x = value(before[2 * s + 4], unit) * power(a - size, unit)
        x += value(before[2 * s + 2], unit) * power(b - size, unit)
        x += value(before[2 * s], unit) * power(c - size, unit)
        bits, more = split(x * value(emitted[2 * s], unit), unit)
        after[2 * s] = bits
        after[2 * s + 1] = max(size + more + emitted[2 * s + 1], least)


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_back(after, emitted, skip, before, forward, shift, scale, occupied, count, unit):
    """Each state before from those after; occupied[s] is what passes through it.

    `skip` is that of the states two further on. The total is 2**-shift / scale.
    """
    least = lowest(unit)
    for s in range(count):
        a, b, c = after[2 * s + 1], after[2 * s + 3], after[2 * s + 5] + skip[s]
        size = max(a, max(b, c))
        x = value(after[2 * s], unit) * power(a - size, unit)
        x += value(after[2 * s + 2], unit) * power(b - size, unit)
        x += value(after[2 * s + 4], unit) * power(c - size, unit)
        share = min(size + (forward[2 * s + 1] + shift), 0)
        occupied[s] = x * value(forward[2 * s], unit) * scale * power(share, unit)
        bits, more = split(x * value(emitted[2 * s], unit), unit)
        before[2 * s] = bits
        before[2 * s + 1] = max(size + more + emitted[2 * s + 1], least)


@njit(cache=True, nogil=True)
def _alive(t, length, states):
    """The states that lie on some path in frame t: a path moves by at most two states a frame."""
    return max(0, states - 2 * (length - t)), min(states, 2 * t + 2)


@njit(cache=True, nogil=True)
def _close(row, lo, hi, edge):
    """Zeros on both sides of states lo .. hi-1: all that a later step can see beyond them."""
    row[2 * lo : 2 * lo + 4] = edge
    row[2 * hi + 4 : 2 * hi + 8] = edge


@njit(cache=True, nogil=True)
def _utterance(log_probs, length, target, blank, modified, delay_penalty, row, grad):
    """The loss of one utterance of S <= T tokens; its gradient is added to `grad` (T, C) or (0, 0).

    `row` (4S + 10,) is a row of zeros. The bonus for a token is spread over the frames from its
    first to the last: a frame with k tokens behind it or in it gets k * delay_penalty.
    """
    states = 2 * len(target) + 1
    unit = log_probs[0, 0]
    labels = np.full(states, blank, np.uint32)
    counts = np.empty(states, log_probs.dtype)
    skip = np.full(states + 2, row[1] // 2)
    for s in range(states):
        counts[s] = (s + 1) // 2
        if s % 2 == 1:
            labels[s] = target[s // 2]
            if s > 1 and (modified or target[s // 2] != target[s // 2 - 1]):
                skip[s] = 0
    penalty = np.full(1, delay_penalty).astype(log_probs.dtype)[0]
    emitted = row.copy()
    forward = np.empty((length + 1, len(row)), row.dtype)
    forward[0] = row
    forward[0, 5] = 0  # before the first frame: the first blank
    good = True
    for t in range(length):
        lo, hi = _alive(t, length, states)
        good &= _emit(log_probs[t], labels[lo:hi], counts[lo:hi], penalty, emitted[2 * lo :], unit)
        after = forward[t + 1]
        _step(
            forward[t, 2 * lo :], emitted[2 * lo :], skip[lo:], after[2 * lo + 4 :], hi - lo, unit
        )
        _close(after, lo, hi, row[:4])
    last = forward[length]
    size = max(last[2 * states + 3], last[2 * states + 1])
    if not good or size > -(row[1] // 4):
        return np.nan
    if size < row[1] // 2 - row[1] // 64:  # through a skip that may not be, bonuses included
        return np.inf
    mass = 0.0
    for s in (states, states + 1):
        if s >= 2:
            mass += value(last[2 * s], unit) * power(last[2 * s + 1] - size, unit)
    bonus = delay_penalty * len(target) * (length // 2 - length)
    total = math.log(mass) + size * math.log(2.0) + bonus
    if len(grad) == 0:
        return -total
    bits, more = split(unit * 0 + mass, unit)
    scale = 2 / value(bits, unit)
    after, before = row.copy(), row.copy()
    after[2 * states + 3] = 0
    occupied = np.empty(states, log_probs.dtype)
    for t in range(length - 1, -1, -1):
        lo, hi = _alive(t, length, states)
        _emit(log_probs[t], labels[lo:hi], counts[lo:hi], penalty, emitted[2 * lo :], unit)
        _step_back(
            after[2 * lo + 4 :], emitted[2 * lo :], skip[lo + 2 :], before[2 * lo + 4 :],
            forward[t + 1, 2 * lo + 4 :], -(size + more + 1), scale, occupied[lo:], hi - lo, unit,
        )  # fmt: skip
        _close(before, lo, hi, row[:4])
        after, before = before, after
        blanks = unit * 0
        for s in range(lo + lo % 2, hi, 2):
            blanks += occupied[s]
        grad[t, blank] -= blanks
        for s in range(lo + 1 - lo % 2, hi, 2):
            grad[t, labels[s]] -= occupied[s]
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
    and gradient 0, and scores below -1e8 are as good as -inf; NaN or +inf where it counts gives
    NaN.
    """
    losses = np.empty(len(log_probs), log_probs.dtype)
    grad = np.zeros_like(log_probs) if want_grad else None
    none = np.empty((0, 0), log_probs.dtype)

    def row(n: int) -> None:
        length = int(lengths[n])
        target = targets[n, : target_lengths[n]]
        if length == 0 or len(target) > length:
            losses[n] = np.inf if len(target) else 0.0
        else:
            losses[n] = _utterance(
                log_probs[n], length, target, blank, modified, float(delay_penalty),
                zeros(2 * len(target) + 5, log_probs.dtype), grad[n] if want_grad else none,
            )  # fmt: skip

    for_each(len(losses), row)
    return losses, grad
