"""Depthwise convolutions: outputs and gradients are torch's; activations by table are exact."""

import pytest
import torch
from torch.nn import functional as F

from neve.models.depthwise import depthwise, depthwise_images
from neve.models.swoosh import swoosh_l, swoosh_r


@pytest.mark.parametrize("padding", [0, 3, 6])
def test_over_time(padding):
    x, weight, bias = inputs(2, 11, 5), inputs(5, 1, 7), inputs(5)
    y = depthwise(x, weight, bias, padding)
    expected = F.conv1d(x.transpose(1, 2), weight, bias, padding=padding, groups=5)
    same(y, expected.transpose(1, 2), (x, weight, bias))


@pytest.mark.parametrize("padding", [(0, 3), (3, 3), (2, 0)])
def test_over_images(padding):
    x, weight, bias = inputs(3, 9, 8, 6), inputs(6, 1, 7, 7), inputs(6)
    y = depthwise_images(x, weight, bias, padding)
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=padding, groups=6)
    same(y, expected.permute(0, 2, 3, 1), (x, weight, bias))


def test_several_threads_give_the_same_gradient():
    x, weight = inputs(5, 9, 4), inputs(4, 1, 3)
    gradients = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = depthwise(x, weight, None, 1)
            gradients.append(torch.autograd.grad(y.square().sum(), weight)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(*gradients, rtol=1e-12)


@pytest.mark.parametrize(
    "swoosh, shift, offset", [(swoosh_l, 4, 0.035), (swoosh_r, 1, 0.313261687)]
)
def test_activations_of_bfloat16_are_the_rounded_exact_ones(swoosh, shift, offset):
    x = (20 * torch.randn(300, 300)).bfloat16().requires_grad_()
    y = swoosh(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    wide = x.detach().double().requires_grad_()
    exact = torch.log1p(torch.exp(wide - shift)) - 0.08 * wide - offset
    (exact_slope,) = torch.autograd.grad(exact.sum(), wide)
    assert ((y - exact).abs() <= 2**-8 * exact.abs() + 1e-6).all()
    assert ((slope - exact_slope).abs() <= 2**-8 * exact_slope.abs() + 1e-6).all()


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def same(y, expected, parameters):
    assert torch.allclose(y, expected, atol=1e-12)
    weights = torch.randn_like(y)
    ours = torch.autograd.grad((y * weights).sum(), parameters)
    theirs = torch.autograd.grad((expected * weights).sum(), parameters)
    for one, other in zip(ours, theirs):
        assert torch.allclose(one, other, atol=1e-12)
