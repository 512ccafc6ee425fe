"""Activations and normalisation of Zipformer (Yao et al., 2023, arXiv:2310.11230, section 3)."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.kernels.elementwise import look_up
from neve.models.balance import LimitParameter

SLOPE = 0.08


def swoosh_l(x: Tensor) -> Tensor:
    """log(1 + exp(x - 4)) - 0.08 x - 0.035: nearly linear around 0, for modules that may be off."""
    return _swoosh(x, 4.0, 0.035)


def swoosh_r(x: Tensor) -> Tensor:
    """log(1 + exp(x - 1)) - 0.08 x - 0.313261687: 0 at 0."""
    return _swoosh(x, 1.0, 0.313261687)


def _swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        return _Swoosh.apply(x, shift, offset)
    return F.softplus(x - shift) - SLOPE * x - offset


class _Swoosh(torch.autograd.Function):
    """Keeps the input alone for the gradient, and writes each result once."""

    @staticmethod
    def forward(ctx, x, shift, offset):
        ctx.save_for_backward(x)
        ctx.shift = shift
        if _by_table(x):
            return _look_up(x, _table(shift, offset))
        return F.softplus(x - shift).sub_(x, alpha=SLOPE).sub_(offset)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        if _by_table(x):
            slope = _look_up(x, _table(ctx.shift, None))
        else:
            slope = (x - ctx.shift).sigmoid_().sub_(SLOPE)
        return slope.mul_(grad), None, None


def _by_table(x: Tensor) -> bool:
    """bfloat16 has 65536 values: on the CPU a table is several times faster than arithmetic."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.numel() >= 1 << 16


@functools.cache
def _table(shift: float, offset: float | None) -> np.ndarray:
    """The function with this offset, its derivative for None, of all values of bfloat16."""
    x = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).float()
    if offset is None:
        y = (x - shift).sigmoid() - SLOPE
    else:
        y = F.softplus(x - shift) - SLOPE * x - offset
    return y.bfloat16().view(torch.uint16).numpy()


def _look_up(x: Tensor, table: np.ndarray) -> Tensor:
    flat = x.contiguous().view(torch.uint16).flatten().numpy()
    found = torch.from_numpy(look_up(flat, table, torch.get_num_threads()))
    return found.view(torch.bfloat16).view_as(x)


class BiasNorm(nn.Module):
    """x * exp(log_scale) / rms(x - bias) over the channels, for x (..., C).

    In place of layer normalisation: one scale for all channels, and a bias that only the norm
    sees, so that a vector's length is not wholly lost.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.empty(dim).normal_(std=1e-4))
        self.limit = LimitParameter(-1.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        log_scale = self.limit(self.log_scale)
        if torch.is_grad_enabled() and x.requires_grad:
            return _BiasNorm.apply(x, self.bias, log_scale)
        x = x.to(self.bias.dtype)
        return x * ((x - self.bias).square().mean(-1, keepdim=True) ** -0.5 * log_scale.exp())


class _BiasNorm(torch.autograd.Function):
    """Keeps the input and one number per frame for the gradient."""

    @staticmethod
    def forward(ctx, x, bias, log_scale):
        wide = x.to(bias.dtype)
        inverse = (wide - bias).square_().mean(-1, keepdim=True).pow_(-0.5)
        ctx.save_for_backward(x, bias, log_scale, inverse)
        return wide * (inverse * log_scale.exp())

    @staticmethod
    def backward(ctx, grad):
        x, bias, log_scale, inverse = ctx.saved_tensors
        x, grad = x.to(bias.dtype), grad.to(bias.dtype)
        gain = inverse * log_scale.exp()
        along = (grad * x).sum(-1, keepdim=True).mul_(gain)  # of each frame: grad . output
        pull = (x - bias).mul_(along * inverse.square() / x.shape[-1])
        grad_bias = pull.sum(tuple(range(pull.ndim - 1)))
        grad_x = torch.addcmul(pull.neg_(), grad, gain)
        return grad_x.to(ctx.saved_tensors[0].dtype), grad_bias, along.sum()
