"""The activation functions of the Zipformer (Yao et al., 2023), under the names they have in k2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neve.errors import NeveError

# name: (shift, constant) of log(1 + exp(x - shift)) - 0.08 x - constant; SwooshR(0) is 0
_CURVES = {"l": (4.0, 0.035), "r": (1.0, 0.313261687)}


def _value(x: Tensor, curve: str) -> Tensor:
    shift, constant = _CURVES[curve]
    return F.softplus(x - shift, threshold=88.0) - 0.08 * x - constant


def _slope(x: Tensor, curve: str) -> Tensor:
    return torch.sigmoid(x - _CURVES[curve][0]) - 0.08


class _Swoosh(torch.autograd.Function):
    """Keeps the derivative in 8 bits for the backward pass, as k2 does."""

    @staticmethod
    def forward(ctx, x: Tensor, curve: str) -> Tensor:
        # slopes lie in -0.08..0.92
        ctx.save_for_backward(((_slope(x, curve).float() + 0.08) * 255).round().to(torch.uint8))
        return _value(x, curve)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grad * (slope.to(grad.dtype) / 255 - 0.08), None


def _swoosh(x: Tensor, dropout_prob: float, curve: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise NeveError(f"x: a tensor is needed, not {type(x).__name__}")
    if not x.requires_grad:
        return _value(x, curve)
    if x.dtype == torch.float64:  # exact, for checking gradients
        return F.dropout(_value(x, curve), dropout_prob)
    return F.dropout(_Swoosh.apply(x, curve), dropout_prob)


def swoosh_l(x: Tensor, dropout_prob: float = 0.0) -> Tensor:
    """log(1 + exp(x - 4)) - 0.08 x - 0.035, of any shape; with dropout if x needs a gradient."""
    return _swoosh(x, dropout_prob, "l")


def swoosh_r(x: Tensor, dropout_prob: float = 0.0) -> Tensor:
    """log(1 + exp(x - 1)) - 0.08 x - 0.313261687; with dropout if x needs a gradient."""
    return _swoosh(x, dropout_prob, "r")


def swoosh_l_forward(x: Tensor) -> Tensor:
    """`swoosh_l` without a gradient."""
    return _value(x.detach(), "l")


def swoosh_r_forward(x: Tensor) -> Tensor:
    """`swoosh_r` without a gradient."""
    return _value(x.detach(), "r")


def swoosh_l_forward_and_deriv(x: Tensor) -> tuple[Tensor, Tensor]:
    """`swoosh_l` and its derivative, both without a gradient."""
    return _value(x.detach(), "l"), _slope(x.detach(), "l")


def swoosh_r_forward_and_deriv(x: Tensor) -> tuple[Tensor, Tensor]:
    """`swoosh_r` and its derivative, both without a gradient."""
    return _value(x.detach(), "r"), _slope(x.detach(), "r")
