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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("spread", [1e-4, 1e-3, 1e-2, 0.1])
def test_the_correction_stays_small_where_a_channel_hardly_changes(dtype, spread):
    torch.manual_seed(0)
    x = (1.0 + spread * torch.randn(5000, 16)).to(dtype).requires_grad_()
    grad = torch.randn(5000, 16).to(dtype)
    Balancer(0.05, 0.7, 0.2, 100.0, prob=1.0, grad_scale=0.04).train()(x).backward(grad)
    change = (x.grad - grad).float()
    size = float(change.square().mean().sqrt() / grad.float().square().mean().sqrt())
    assert size < 0.2 and (size > 0.0 or spread < 1e-2)
