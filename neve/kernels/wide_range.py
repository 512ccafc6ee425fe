"""Positive numbers of any size: a float from 1 to below 2, kept as its bits, and a power of two.

Products and sums of them need neither logarithms nor exponentials, and lose neither the smallest
nor the largest. float32's bits and powers are int32, float64's int64, so that the compiler can work
on several at a time; `unit` is any number of the float type meant.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4
_LOG2E_32, _LN2_HIGH_32, _LN2_LOW_32 = (np.float32(x) for x in (_LOG2E, _LN2_HIGH, _LN2_LOW))


def lowest(unit):
    """The power of two that stands for zero; larger ones by far are zero for all purposes."""


def value(bits, unit):
    """The float whose bits these are."""


def power(d, unit):
    """2**d as a float for d <= 0; 0 where it is too small for one."""


def split(x, unit):
    """(bits, power) of a positive float."""


def exp_parts(x, unit):
    """(bits, power) of exp(x), -1e8 <= x <= 1e8, the float being from 0.7 to 1.5."""


@overload(lowest, inline="always")
def _lowest(unit):
    if unit is types.float32:
        return lambda unit: np.int32(-(1 << 30))
    return lambda unit: np.int64(-(1 << 60))


@overload(value, inline="always")
def _value(bits, unit):
    if unit is types.float32:
        return lambda bits, unit: np.int32(bits).view(np.float32)
    return lambda bits, unit: np.int64(bits).view(np.float64)


@overload(power, inline="always")
def _power(d, unit):
    if unit is types.float32:

        def power32(d, unit):
            biased = np.int32(max(np.int32(d), np.int32(-127)) + np.int32(127))
            return np.int32(biased << np.int32(23)).view(np.float32)

        return power32

    def power64(d, unit):
        return np.int64((max(d, np.int64(-1023)) + 1023) << 52).view(np.float64)

    return power64


@overload(split, inline="always")
def _split(x, unit):
    if unit is types.float32:

        def split32(x, unit):
            bits = np.float32(x).view(np.int32)
            fraction = np.int32(np.int32(bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000))
            return fraction, np.int32(np.int32(bits >> np.int32(23)) - np.int32(127))

        return split32

    def split64(x, unit):
        bits = np.float64(x).view(np.int64)
        return (bits & ((1 << 52) - 1)) | (1023 << 52), (bits >> 52) - 1023

    return split64


@overload(exp_parts, inline="always")
def _exp_parts(x, unit):
    if unit is types.float32:
        # Cephes's expf; where a float32 is coarser than 1/512, the power alone is as good

        def exp32(x, unit):
            x = min(max(x, np.float32(-1e8)), np.float32(1e8))
            n = np.floor(x * _LOG2E_32 + np.float32(0.5))
            f = x - n * _LN2_HIGH_32
            f = f - n * _LN2_LOW_32
            f = f if abs(x) < np.float32(16384.0) else np.float32(0.0)
            y = np.float32(1.9875691500e-4)
            y = y * f + np.float32(1.3981999507e-3)
            y = y * f + np.float32(8.3334519073e-3)
            y = y * f + np.float32(4.1665795894e-2)
            y = y * f + np.float32(1.6666665459e-1)
            y = y * f + np.float32(5.0000001201e-1)
            y = y * f * f + f + np.float32(1.0)
            return np.float32(y).view(np.int32), np.int32(n)

        return exp32

    def exp64(x, unit):
        x = min(max(x, -1e8), 1e8)
        n = np.floor(x * _LOG2E + 0.5)
        f = x - n * _LN2_HIGH - n * _LN2_LOW
        y = math.exp(f)
        return np.float64(y).view(np.int64), np.int64(n)

    return exp64


def zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """(2 * count,) zeros, each its bits and then its power, for floats of `dtype`."""
    kind, one, least = (np.int32, 127 << 23, -(1 << 30))
    if dtype == np.float64:
        kind, one, least = (np.int64, 1023 << 52, -(1 << 60))
    return np.tile(np.array([one, least], kind), count)
