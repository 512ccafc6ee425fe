"""Balancers on channels that are constant, dead or huge."""

import pytest
import torch

from neve.models.balance import Balancer


@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-8, 3.0, -300.0, 1e8])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 1.0])
def test_the_gradient_is_finite_whatever_a_channel_holds(value, noise):
    torch.manual_seed(0)
    x = (value + value * noise * torch.randn(50, 4)).requires_grad_()
    balancer = Balancer(0.3, 0.7, 0.75, 5.0, prob=1.0).train()
    balancer(x).backward(torch.randn(50, 4))
    assert torch.isfinite(x.grad).all()
