"""The pruned RNN-T loss from logits to gradient, without anything of the logits' size between.

Of logits (B, T, R, C), row (t, r) scores what may come in frame t after s = begin[t] + r symbols;
the full loss is the case R = S + 1, begin = 0. Three steps, of which the last is the backward pass:
the log-probabilities of the two symbols of each row that count (the next one and the blank), the
recursion over the band of T x R cells with its occupation probabilities, and the gradient, softmax
times occupation minus what the two symbols get. (Graves, 2012; pruning: Kuang et al., 2022; HAT:
Variani et al., 2020.)
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.kernels.approximate import FAST, exp, highest
from neve.kernels.mutual_information import log_add
from neve.kernels.threads import for_each

REGULAR, MODIFIED, CONSTRAINED = 0, 1, 2


class Box(NamedTuple):
    """The cells that count of one utterance: symbols s0..s1, frames t0..t1."""

    s0: int
    t0: int
    s1: int
    t1: int


@njit(cache=True, nogil=True, fastmath=FAST)
def _exp_sum(row, first, high):
    total = high * 0
    for c in range(first, len(row)):
        total += exp(row[c] - high)
    return total


@njit(cache=True, nogil=True)
def _log_sigmoid(x):
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


@njit(cache=True, nogil=True)
def _log_probs(logits, symbols, begins, blank, box, hat, norm, px, py):
    """Fills norm, px, py (T, R) for the rows in the box; the others are left as they are.

    px is the log-probability of the next symbol, -inf after the last; py that of the blank.
    """
    s0, t0, s1, t1 = box
    first = 1 if hat else 0
    for t in range(t0, t1):
        for r in range(logits.shape[1]):
            s = begins[t] + r
            if s < s0 or s > s1:
                continue
            row = logits[t, r]
            high = highest(row, first)
            total = high + math.log(_exp_sum(row, first, high))
            if not total < np.inf or (hat and not row[blank] < np.inf):
                total = np.nan
            norm[t, r] = total
            px[t, r] = -np.inf
            if hat:
                py[t, r] = _log_sigmoid(row[blank]) + total * 0
                if s < s1:
                    px[t, r] = row[symbols[s]] - total + _log_sigmoid(-row[blank])
            else:
                py[t, r] = row[blank] - total
                if s < s1:
                    px[t, r] = row[symbols[s]] - total


@njit(cache=True, nogil=True)
def _from_left(p, px, py, t, q, delay, kind):
    """Scores of entering a cell from row q of frame t by a blank, and from row q - 1 by a symbol.

    `delay` is the bonus of a symbol in frame t.
    """
    by_blank, by_symbol = -np.inf, -np.inf
    if 0 <= q < p.shape[1]:
        by_blank = p[t, q] + py[t, q]
    if kind != REGULAR and 0 <= q - 1 < p.shape[1]:
        by_symbol = p[t, q - 1] + px[t, q - 1] + delay
        if kind == CONSTRAINED:  # the blank of the next row comes with it
            by_symbol = by_symbol + py[t, q] if q < p.shape[1] else -np.inf
    return by_blank, by_symbol


@njit(cache=True, nogil=True)
def _forward(px, py, begins, box, kind, delay_penalty, p):
    """Fills p (T, R) with the totals of paths to each cell; returns the total of all."""
    s0, t0, s1, t1 = box
    middle = (t1 - 1) / 2
    for t in range(t0, t1):
        shift = begins[t] - begins[t - 1] if t > t0 else 0
        for r in range(p.shape[1]):
            s = begins[t] + r
            p[t, r] = -np.inf
            if s < s0 or s > s1:
                continue
            if t == t0:
                value = 0.0 if s == s0 else -np.inf
            else:
                delay = delay_penalty * (middle - (t - 1))
                blank, symbol = _from_left(p, px, py, t - 1, r + shift, delay, kind)
                value = log_add(blank, symbol)
            if kind == REGULAR and r > 0 and s > s0:
                below = p[t, r - 1] + px[t, r - 1] + delay_penalty * (middle - t)
                value = log_add(value, below)
            p[t, r] = value
    delay = delay_penalty * (middle - (t1 - 1))
    blank, symbol = _from_left(p, px, py, t1 - 1, s1 - begins[t1 - 1], delay, kind)
    return log_add(blank, symbol)


@njit(cache=True, nogil=True)
def _share_left(p, g, px, py, gx, gy, t, q, delay, kind, mass, total):
    """Hands the occupation `mass` of a cell to the two arcs that `_from_left` says enter it."""
    by_blank, by_symbol = _from_left(p, px, py, t, q, delay, kind)
    if by_blank > -np.inf:
        part = mass * math.exp(by_blank - total)
        gy[t, q] += part
        g[t, q] += part
    if by_symbol > -np.inf:
        part = mass * math.exp(by_symbol - total)
        gx[t, q - 1] += part
        g[t, q - 1] += part
        if kind == CONSTRAINED:
            gy[t, q] += part


@njit(cache=True, nogil=True)
def _occupation(px, py, begins, box, kind, delay_penalty, p, total, gx, gy):
    """Adds the probability that a path uses each arc to gx, gy (T, R)."""
    s0, t0, s1, t1 = box
    middle = (t1 - 1) / 2
    g = np.zeros_like(p)
    delay = delay_penalty * (middle - (t1 - 1))
    end = s1 - begins[t1 - 1]
    _share_left(p, g, px, py, gx, gy, t1 - 1, end, delay, kind, 1.0, total)
    for t in range(t1 - 1, t0 - 1, -1):
        shift = begins[t] - begins[t - 1] if t > t0 else 0
        for r in range(p.shape[1] - 1, -1, -1):
            mass = g[t, r]
            if mass == 0.0:
                continue
            if kind == REGULAR and r > 0 and begins[t] + r > s0:
                below = p[t, r - 1] + px[t, r - 1] + delay_penalty * (middle - t)
                part = mass * math.exp(below - p[t, r])
                gx[t, r - 1] += part
                g[t, r - 1] += part
            if t > t0:
                delay = delay_penalty * (middle - (t - 1))
                _share_left(p, g, px, py, gx, gy, t - 1, r + shift, delay, kind, mass, p[t, r])


@njit(cache=True, nogil=True, fastmath=FAST)
def _softmax_times(row, first, norm, factor, out):
    for c in range(first, len(row)):
        out[c] = factor * exp(row[c] - norm)


@njit(cache=True, nogil=True)
def _logit_gradient(logits, symbols, begins, blank, box, hat, norm, gx, gy, scale, out):
    """Writes all of out (T, R, C): the gradient of scale * total."""
    s0, t0, s1, t1 = box
    for t in range(logits.shape[0]):
        for r in range(logits.shape[1]):
            row, result = logits[t, r], out[t, r]
            s = begins[t] + r
            x, y = gx[t, r] * scale, gy[t, r] * scale
            if t < t0 or t >= t1 or s < s0 or s > s1 or (x == 0.0 and y == 0.0):
                result[:] = 0.0
                continue
            if hat:
                _softmax_times(row, 1, norm[t, r], -x, result)
                emit = 1.0 / (1.0 + math.exp(-row[blank]))
                result[blank] = y * (1.0 - emit) - x * emit
            else:
                _softmax_times(row, 0, norm[t, r], -(x + y), result)
                result[blank] += y
            if s < s1:
                result[symbols[s]] += x


class Pruned(NamedTuple):
    """What the backward pass of one batch needs; arrays of the logits' dtype, see `pruned`."""

    logits: np.ndarray
    symbols: np.ndarray
    begins: np.ndarray
    boundary: np.ndarray
    blank: int
    hat: bool
    norm: np.ndarray
    gx: np.ndarray
    gy: np.ndarray


def pruned(
    logits: np.ndarray,
    symbols: np.ndarray,
    begins: np.ndarray,
    boundary: np.ndarray,
    blank: int,
    kind: int,
    delay_penalty: float = 0.0,
    hat: bool = False,
) -> tuple[np.ndarray, Pruned]:
    """(totals (B,), what `pruned_gradient` wants).

    logits (B, T, R, C) float32 or float64, contiguous; symbols (B, S), begins (B, T) and boundary
    (B, 4) int64, in range; kind REGULAR, MODIFIED or CONSTRAINED. Totals are -inf where no path
    lies in the band, NaN where a row that counts holds NaN or +inf. With `hat` the blank, which is
    0 then, has its own sigmoid.
    """
    dtype = logits.dtype
    totals = np.empty(len(logits), dtype)
    norm, px, py, gx, gy = (np.zeros(logits.shape[:3], dtype) for _ in range(5))

    def utterance(b: int) -> None:
        box = Box(*(int(x) for x in boundary[b]))
        if box.t0 == box.t1:
            totals[b] = 0.0 if box.s0 == box.s1 else -np.inf
            return
        _log_probs(logits[b], symbols[b], begins[b], blank, box, hat, norm[b], px[b], py[b])
        p = np.empty(px.shape[1:])
        total = _forward(px[b], py[b], begins[b], box, kind, delay_penalty, p)
        totals[b] = total
        if np.isfinite(total):
            _occupation(
                px[b], py[b], begins[b], box, kind, delay_penalty, p, total, gx[b], gy[b]
            )  # fmt: skip

    for_each(len(logits), utterance)
    return totals, Pruned(logits, symbols, begins, boundary, blank, hat, norm, gx, gy)


def pruned_gradient(saved: Pruned, grad: np.ndarray) -> np.ndarray:
    """(B, T, R, C): the gradient of sum(grad * totals) with respect to the logits."""
    out = np.empty_like(saved.logits)

    def utterance(b: int) -> None:
        box = Box(*(int(x) for x in saved.boundary[b]))
        _logit_gradient(
            saved.logits[b], saved.symbols[b], saved.begins[b], saved.blank, box, saved.hat,
            saved.norm[b], saved.gx[b], saved.gy[b], grad[b], out[b],
        )  # fmt: skip

    for_each(len(out), utterance)
    return out


@njit(cache=True, nogil=True, fastmath=FAST)
def _exp_row(row, high, out):
    for c in range(len(row)):
        out[c] = exp(row[c] - high)


@njit(cache=True, nogil=True)
def _exp_rows(rows, high, out):
    for i in range(len(rows)):
        high[i] = highest(rows[i], 0)
        _exp_row(rows[i], high[i], out[i])


def exp_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(exp(rows - highest), highest (N, 1)) of contiguous rows (N, C): softmax before its sum."""
    high, out = np.empty(len(rows), rows.dtype), np.empty_like(rows)
    step = 4096

    def part(i: int) -> None:
        block = slice(i * step, (i + 1) * step)
        _exp_rows(rows[block], high[block], out[block])

    for_each(-(-len(rows) // step), part)
    return out, high[:, None]
