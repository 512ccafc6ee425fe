"""Depthwise convolution of what lies channel by channel: frames (N, T, C), images (N, H, W, C).

On the CPU its input and output stay where they are (torch's channels last), and the weights'
gradient, for which torch has no fast way, is a kernel of our own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neve.kernels.elementwise import depthwise_gradient


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Convolve each channel over time with its own filter.

    Args:
        x: (N, T, C).
        weight: (C, 1, K).
        bias: (C,) or None.
        padding: zeros on both sides.

    Returns:
        (N, T + 2 * padding - K + 1, C).
    """
    y = depthwise_images(x.unsqueeze(1), weight.unsqueeze(2), bias, (0, padding))
    return y.squeeze(1)


def depthwise_images(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> Tensor:
    """The same for images (N, H, W, C) and filters (C, 1, K, L).

    Returns:
        (N, H + 2 * padding[0] - K + 1, W + 2 * padding[1] - L + 1, C).
    """
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(kind), weight.to(kind)
        bias = None if bias is None else bias.to(kind)
    own = x.device.type == "cpu" and torch.is_grad_enabled()
    if not own or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return _convolve(x, weight, bias, padding)
    return _Depthwise.apply(x, weight, bias, padding)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    x = x.contiguous().permute(0, 3, 1, 2)
    if torch.compiler.is_compiling():  # which fails on channels last with sizes that change
        x = x.contiguous()
    return F.conv2d(x, weight, bias, padding=padding, groups=x.shape[1]).permute(0, 2, 3, 1)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, padding):
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _convolve(x, weight, bias, padding)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        (rows, columns), (high, wide) = ctx.padding, weight.shape[2:]
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            rest = (high - 1 - rows, wide - 1 - columns)
            grad_x = _convolve(grad, weight.flip(2, 3), None, rest)
        if ctx.needs_input_grad[1]:
            kind = torch.promote_types(x.dtype, torch.float32)
            padded = F.pad(x.to(kind), (0, 0, columns, columns, rows, rows)).contiguous()
            grad_weight = depthwise_gradient(
                padded.numpy(), grad.to(kind).contiguous().numpy(), torch.get_num_threads()
            )
            grad_weight = torch.from_numpy(grad_weight).permute(2, 0, 1).unsqueeze(1)
            grad_weight = grad_weight.to(weight.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 1, 2))
        return grad_x, grad_weight, grad_bias, None
