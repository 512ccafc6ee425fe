"""Functions of 16-bit numbers by table, and gradients of depthwise convolutions' weights."""

import numpy as np
from numba import njit

from neve.kernels.approximate import FAST
from neve.kernels.threads import for_each


@njit(cache=True, nogil=True)
def _look_up(x, table, out):
    for i in range(len(x)):
        out[i] = table[x[i]]


def look_up(x: np.ndarray, table: np.ndarray, threads: int = 1) -> np.ndarray:
    """table[x] for x (n,) of uint16 and a table of 65536 entries."""
    out = np.empty(len(x), table.dtype)
    edges = np.linspace(0, len(x), threads + 1).astype(np.int64)
    for_each(
        threads,
        lambda i: _look_up(x[edges[i] : edges[i + 1]], table, out[edges[i] : edges[i + 1]]),
        threads,
    )
    return out


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_products(x, grad, out):
    """Adds to out[k, l, c] the sum of x[t + k, f + l, c] * grad[t, f, c] over t and f."""
    frames, bins, channels = grad.shape
    for t in range(frames):
        for k in range(out.shape[0]):
            for f in range(bins):
                for i in range(out.shape[1]):
                    for c in range(channels):
                        out[k, i, c] += x[t + k, f + i, c] * grad[t, f, c]


def depthwise_gradient(x: np.ndarray, grad: np.ndarray, threads: int = 1) -> np.ndarray:
    """The gradient of a depthwise convolution's weights.

    Args:
        x: (N, H + K - 1, W + L - 1, C), the convolution's input with its padding.
        grad: (N, H, W, C), the gradient of its output.
        threads: most threads to use.

    Returns:
        (K, L, C): the sum of x[n, h + k, w + l, c] * grad[n, h, w, c] over n, h and w.
    """
    count, height, width, channels = grad.shape
    shape = (x.shape[1] - height + 1, x.shape[2] - width + 1, channels)
    threads = min(threads, count)

    def part(i: int) -> np.ndarray:
        out = np.zeros(shape, x.dtype)
        for n in range(i, count, threads):
            _add_products(x[n], grad[n], out)
        return out

    return sum(for_each(threads, part, threads))
