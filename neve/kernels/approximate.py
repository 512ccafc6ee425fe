"""exp, log and maxima for float32 that the compiler can vectorise; float64 gets exact exp and log.

The polynomials are Cephes's expf and an artanh series; relative errors are below 3e-7.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

# What may be assumed of sums over finite numbers: their order does not matter. Nothing is assumed
# of infinities and NaN, which stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz"}

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)


def exp(x):
    """exp(x) of x <= 0 (in float32 1e-38 instead of less); NaN of NaN."""
    return math.exp(x)


@overload(exp, inline="always")
def _exp(x):
    if x is not types.float32:
        return lambda x: math.exp(x)

    def exp32(x):
        x = np.float32(-87.0) if x < np.float32(-87.0) else x
        n = np.floor(x * _LOG2E + np.float32(0.5))
        f = x - n * _LN2_HIGH
        f = f - n * _LN2_LOW
        y = np.float32(1.9875691500e-4)
        y = y * f + np.float32(1.3981999507e-3)
        y = y * f + np.float32(8.3334519073e-3)
        y = y * f + np.float32(4.1665795894e-2)
        y = y * f + np.float32(1.6666665459e-1)
        y = y * f + np.float32(5.0000001201e-1)
        y = y * f * f + f + np.float32(1.0)
        power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return y * power

    return exp32


def highest(row, first):
    """The greatest of row[first:]; a NaN there may count as more, or less, than all numbers."""
    return row[first:].max()


@overload(highest)
def _highest(row, first):
    # The bits of a float, those of a negative one turned over, are ordered as the floats are. The
    # compiler takes maxima of integers several at a time; of floats it must not, for NaN's sake.
    kind, bits = (np.int32, 31) if row.dtype is types.float32 else (np.int64, 63)
    real = np.float32 if row.dtype is types.float32 else np.float64
    sign, rest, least = kind(bits), kind(2**bits - 1), kind(-(2**bits))

    def by_bits(row, first):
        numbers = row[first:].view(kind)
        high = least
        for c in range(len(numbers)):
            x = numbers[c]
            high = max(high, kind(x ^ ((x >> sign) & rest)))
        return kind(high ^ ((high >> sign) & rest)).view(real)

    return by_bits
