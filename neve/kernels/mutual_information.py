"""The recursion over (symbol, frame) that all RNN-T losses share, and its occupation probabilities.

A path goes from (s0, t0) to (s1, t1). Emitting symbol s in frame t scores px[s, t] and leads to
symbol s + 1, in the same frame (regular) or the next (modified); a blank scores py[s, t] and leads
to the next frame. The total is the log-sum over all paths (Graves, 2012; k2's
mutual_information_recursion). Sums are in float64 whatever the inputs are.
"""

import math

import numpy as np
from numba import njit

from neve.kernels.threads import for_each


@njit(cache=True, nogil=True)
def log_add(a, b):
    """log(exp(a) + exp(b)); -inf if both are."""
    high, low = (a, b) if a > b else (b, a)
    if high == -np.inf:
        return high + low  # NaN stays NaN
    if low == -np.inf:
        return high
    return high + math.log1p(math.exp(low - high))


@njit(cache=True, nogil=True)
def _forward(px, py, s0, t0, s1, t1, p):
    """Fills p[s - s0, t - t0] with the total of the paths from the start to (s, t)."""
    late = 0 if px.shape[1] > py.shape[1] else 1  # frames that a symbol takes
    for s in range(s0, s1 + 1):
        for t in range(t0, t1 + 1):
            if s == s0 and t == t0:
                p[0, 0] = 0.0
                continue
            by_symbol, by_blank = -np.inf, -np.inf
            if s > s0 and t - late >= t0:
                by_symbol = p[s - 1 - s0, t - late - t0] + px[s - 1, t - late]
            if t > t0:
                by_blank = p[s - s0, t - 1 - t0] + py[s, t - 1]
            p[s - s0, t - t0] = log_add(by_symbol, by_blank)


@njit(cache=True, nogil=True)
def _occupation(px, py, s0, t0, s1, t1, p, gx, gy):
    """Fills gx, gy with the probability that a path uses each arc; `p` is what `_forward` made."""
    late = 0 if px.shape[1] > py.shape[1] else 1
    g = np.zeros_like(p)
    g[s1 - s0, t1 - t0] = 1.0
    for s in range(s1, s0 - 1, -1):
        for t in range(t1, t0 - 1, -1):
            here, total = g[s - s0, t - t0], p[s - s0, t - t0]
            if here == 0.0 or total == -np.inf:
                continue
            share = 0.0
            if s > s0 and t - late >= t0:
                share = math.exp(p[s - 1 - s0, t - late - t0] + px[s - 1, t - late] - total)
                share = min(share, 1.0) if t > t0 else 1.0
                gx[s - 1, t - late] = share * here
                g[s - 1 - s0, t - late - t0] += share * here
            if t > t0:
                gy[s, t - 1] = (1.0 - share) * here
                g[s - s0, t - 1 - t0] += (1.0 - share) * here


def mutual_information(
    px: np.ndarray, py: np.ndarray, boundary: np.ndarray, want_grads: bool = True
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """(totals (B,), gx, gy): totals and occupation probabilities, zero outside the boundary.

    px (B, S, T + 1) regular or (B, S, T) modified, py (B, S + 1, T), of one float dtype, which is
    also the results'; boundary (B, 4) int64 rows s0, t0, s1, t1, in range. A row without a path has
    total -inf and zeros. NaN in a used place gives a total that is NaN.
    """
    totals = np.empty(len(px), px.dtype)
    gx = np.zeros_like(px) if want_grads else None
    gy = np.zeros_like(py) if want_grads else None

    def row(b: int) -> None:
        s0, t0, s1, t1 = (int(x) for x in boundary[b])
        p = np.empty((s1 - s0 + 1, t1 - t0 + 1))
        _forward(px[b], py[b], s0, t0, s1, t1, p)
        totals[b] = p[-1, -1]
        if want_grads and np.isfinite(totals[b]):
            _occupation(px[b], py[b], s0, t0, s1, t1, p, gx[b], gy[b])

    for_each(len(px), row)
    return totals, gx, gy
