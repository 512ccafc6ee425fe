"""What kernels of several families compute with."""

from neve.fsa.backends.cuda.launch import tl, triton


@triton.jit
def log_add(a, b, work: tl.constexpr):
    """log(exp(a) + exp(b)), -inf if both are, NaN if one is; the correction is made in `work`.

    With a and b in float64 and `work` float32 long sums keep their digits at float32's price.
    """
    high = tl.where(a > b, a, b)
    low = tl.where(a > b, b, a)
    more = tl.log(1 + tl.exp((low - high).to(work)))
    total = tl.where(low == -float("inf"), high, high + more.to(a.dtype))
    return tl.where(high == -float("inf"), high + low, total)


@triton.jit
def lane_before(values, lanes, step: tl.constexpr):
    """values[lane - step]; lanes below `step` get that of lane 0."""
    return tl.gather(values, tl.maximum(lanes - step, 0), 0)


@triton.jit
def lane_after(values, lanes, step: tl.constexpr, count: tl.constexpr):
    """values[lane + step] of `count` lanes, 0 in the last ones."""
    moved = tl.gather(values, tl.minimum(lanes + step, count - 1), 0)
    return tl.where(lanes + step < count, moved, 0)
