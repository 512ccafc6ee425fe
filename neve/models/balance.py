"""Devices that keep activations and parameters in a good range while a model is trained.

They change gradients, never outputs, and do nothing in evaluation mode. Described for Zipformer
(Yao et al., 2023, arXiv:2310.11230, section 3.5 and appendix A).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from neve.models.scheduled import Schedule, Scheduled


class Balancer(Scheduled):
    """Pushes channels whose statistics leave given limits back.

    Limits on the share of positive values become limits on mean / standard deviation, and limits
    on the mean absolute value become limits on the root mean square, both as they are for normally
    distributed values. Where a channel is outside, the gradient g of each of its values x gets
    grad_scale * |g| * d added, where d is the derivative of a penalty by x, scaled to a root mean
    square of 1 over the channel. The penalty is the distance of mean / deviation from its limits
    plus that of log(root mean square).

    Args:
        min_positive, max_positive: limits on the share of positive values.
        min_abs, max_abs: limits on the mean absolute value.
        grad_scale: size of the correction relative to the gradient.
        prob: probability that a batch is looked at.
        dim: the channels' dimension.
    """

    def __init__(
        self,
        min_positive: float | Schedule = 0.05,
        max_positive: float | Schedule = 0.95,
        min_abs: float | Schedule = 0.2,
        max_abs: float | Schedule = 100.0,
        grad_scale: float = 0.04,
        prob: float | Schedule = Schedule((0, 0.5), (8000, 0.125)),  # noqa: B008
        dim: int = -1,
    ):
        super().__init__()
        self.positive = (min_positive, max_positive)
        self.size = (min_abs, max_abs)
        self.grad_scale, self.prob, self.dim = grad_scale, prob, dim

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.requires_grad and self.chance(self.prob)):
            return x
        means = [_standard_mean(self.now(share)) for share in self.positive]
        sizes = [math.sqrt(math.pi / 2) * self.now(size) for size in self.size]
        return _Balance.apply(x, means, sizes, self.grad_scale, self.dim)


def _standard_mean(share: float) -> float:
    """mean / deviation of a normal variable that is positive with probability `share`."""
    if 0.0 < share < 1.0:
        return NormalDist().inv_cdf(share)
    return math.copysign(math.inf, share - 0.5)


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, means, sizes, grad_scale, dim):
        ctx.save_for_backward(x)
        ctx.settings = means, sizes, grad_scale, dim % x.ndim
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        means, sizes, grad_scale, dim = ctx.settings
        others = [i for i in range(x.ndim) if i != dim]
        kind = torch.promote_types(x.dtype, torch.float32)
        mean = x.mean(others, keepdim=True, dtype=kind)
        rms = x.square().mean(others, keepdim=True, dtype=kind).sqrt().clamp_min(1e-6)
        # A channel that hardly changes: its variance is lost in rounding, its cube would overflow.
        deviation = (rms**2 - mean**2).clamp_min(1e-5 * rms**2).sqrt()
        ratio = mean / deviation
        high = (ratio > means[1]).to(kind) - (ratio < means[0]).to(kind)
        large = (rms > sizes[1]).to(kind) - (rms < sizes[0]).to(kind)
        # The penalty's derivative by a value x is at_mean + slope * (x - mean), but for a common
        # factor: its root mean square has no cancelling terms so.
        at_mean = high / deviation + large * mean / rms**2
        slope = large / rms**2 - high * mean / deviation**3
        steep = (at_mean**2 + (slope * deviation) ** 2).clamp_min(1e-20)
        scale = grad_scale * steep**-0.5
        constant, slope = (at_mean - slope * mean) * scale, slope * scale
        change = torch.addcmul(constant.to(x.dtype), x, slope.to(x.dtype))
        return change.mul_(grad.abs()).add_(grad), None, None, None, None


def length(x: Tensor) -> Tensor:
    """The Euclidean norm in at least 32 bits (torch's own is slow for 16)."""
    return x.square().sum(dtype=torch.promote_types(x.dtype, torch.float32)).sqrt()


class Whiten(Scheduled):
    """Keeps the channels of each group from becoming too alike.

    The measure is mean(e^2) / mean(e)^2 over the eigenvalues e of the channels' covariances, 1 for
    white signals. Above `limit` its derivative is added to the gradient with `grad_scale` times
    the gradient's norm.

    Args:
        limit: the largest measure without correction.
        groups: groups of channels (the heads of an attention), each with a covariance of its own.
        grad_scale: size of the correction relative to the gradient.
        prob: probability that a batch is looked at.
    """

    def __init__(
        self,
        limit: float | Schedule,
        groups: int = 1,
        grad_scale: float = 0.01,
        prob: float = 0.1,
    ):
        super().__init__()
        self.limit, self.groups, self.grad_scale, self.prob = limit, groups, grad_scale, prob

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C)."""
        if not (self.training and x.requires_grad and self.chance(self.prob)):
            return x
        return _Whitening.apply(x, self.groups, self.now(self.limit), self.grad_scale)


def whitening_limit(limit: float, ratio: float = 2.0) -> Schedule:
    """A limit that is relaxed to `ratio` times its first value."""
    return Schedule((0, limit), (20000, ratio * limit))


class _Whitening(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, groups, limit, grad_scale):
        ctx.save_for_backward(x)
        ctx.settings = groups, limit, grad_scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        groups, limit, grad_scale = ctx.settings
        values = x.reshape(-1, groups, x.shape[-1] // groups).transpose(0, 1)
        values = values.to(torch.promote_types(x.dtype, torch.float32))
        values = values - values.mean(dim=1, keepdim=True)
        covariance = values.transpose(1, 2) @ values
        mean = covariance.diagonal(dim1=1, dim2=2).mean()
        square = covariance.square().sum() / x.shape[-1]
        if float(square) <= limit * float(mean) ** 2:
            return grad, None, None, None
        covariance.diagonal(dim1=1, dim2=2).sub_(square / mean)
        push = (values @ covariance).transpose(0, 1).reshape(x.shape)
        scale = grad_scale * length(grad) / (length(push) + 1e-20)
        return torch.addcmul(grad, push.to(grad.dtype), scale.to(grad.dtype)), None, None, None


class LimitParameter(Scheduled):
    """A parameter that is pushed back where it left its limits.

    Where it is too small (large) and the gradient would make it smaller (larger) still, the
    gradient's sign is turned; this with probability `prob`.
    """

    def __init__(self, low: float | Schedule, high: float | Schedule, prob: float = 0.6):
        super().__init__()
        self.low, self.high, self.prob = low, high, prob

    def forward(self, parameter: Tensor) -> Tensor:
        if not (self.training and parameter.requires_grad and self.chance(self.prob)):
            return parameter
        return _Limit.apply(parameter, self.now(self.low), self.now(self.high))


class _Limit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.limits = low, high
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        low, high = ctx.limits
        wrong = ((x < low) & (grad > 0)) | ((x > high) & (grad < 0))
        return torch.where(wrong, -grad, grad), None, None


class ScaleGradient(torch.autograd.Function):
    """The identity, with the gradient times a constant: `ScaleGradient.apply(x, factor)`."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None
