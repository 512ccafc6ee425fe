"""Balancers, whitening and limits: outputs unchanged, gradients as the formulas say."""

import math
from statistics import NormalDist

import pytest
import torch

from neve.models.balance import Balancer, LimitParameter, ScaleGradient, Whiten
from neve.models.scheduled import Schedule
from neve.models.zipformer_attention import AttentionWeights, relative_positions


def gradient(module, x, upstream):
    """What comes back through `module` for gradient `upstream` of its output."""
    x = x.detach().requires_grad_()
    y = module(x)
    assert torch.equal(y, x)
    return torch.autograd.grad((y * upstream).sum(), x)[0]


def test_balancer_adds_the_derivative_of_its_penalty():
    torch.manual_seed(0)
    shift = torch.tensor([0.0, 3.0, -3.0, 0.2, 0.0, 0.0])
    size = torch.tensor([1.0, 1.0, 1.0, 1.0, 20.0, 0.05])
    x = ((torch.randn(40, 5, 6) + shift) * size).double()
    upstream = torch.randn_like(x)
    module = Balancer(0.3, 0.7, 0.2, 4.0, grad_scale=0.1, prob=1.0).train()
    found = gradient(module, x, upstream)

    x.requires_grad_()
    channels = x.flatten(0, 1)
    mean, rms = channels.mean(0), channels.square().mean(0).sqrt()
    ratio = mean / (rms**2 - mean**2).sqrt()
    low, high = (NormalDist().inv_cdf(share) for share in (0.3, 0.7))
    smallest, largest = (math.sqrt(math.pi / 2) * bound for bound in (0.2, 4.0))
    penalty = (ratio - ratio.clamp(low, high)).abs() + (
        rms.log() - rms.clamp(smallest, largest).log()
    ).abs()
    (slope,) = torch.autograd.grad(penalty.sum(), x)
    slope = slope / slope.square().mean((0, 1)).sqrt().clamp(min=1e-30)
    assert torch.allclose(found, upstream + 0.1 * upstream.abs() * slope, atol=1e-9)
    outside = slope.abs().amax((0, 1)) > 0
    assert outside.tolist() == [False, True, True, False, True, True]


def test_balancer_stays_finite_for_channels_that_do_not_change():
    x = torch.tensor([0.0, 1.0, 1e-20, 3e4]).expand(50, 4)
    for kind in (torch.float32, torch.bfloat16):
        found = gradient(Balancer(prob=1.0).train(), x.to(kind), torch.ones(50, 4, dtype=kind))
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("groups", [1, 3])
def test_whitening_adds_the_derivative_of_its_measure(groups):
    torch.manual_seed(1)
    x = torch.randn(30, 4, 12).double() @ torch.randn(12, 12).double() + 1.0
    upstream = torch.randn_like(x)

    def measure(x):
        eigenvalues = []
        for part in x.flatten(0, 1).chunk(groups, dim=1):
            part = part - part.mean(0)
            eigenvalues.append(torch.linalg.eigvalsh(part.T @ part / len(part)))
        eigenvalues = torch.cat(eigenvalues)
        return eigenvalues.square().mean() / eigenvalues.mean() ** 2

    value = measure(x.requires_grad_())
    (slope,) = torch.autograd.grad(value, x)
    value = float(value.detach())
    above = Whiten(value + 0.01, groups, 0.05, prob=1.0).train()
    assert torch.equal(gradient(above, x, upstream), upstream)
    below = Whiten(value - 0.01, groups, 0.05, prob=1.0).train()
    expected = upstream + 0.05 * upstream.norm() / slope.norm() * slope
    assert torch.allclose(gradient(below, x, upstream), expected, atol=1e-9)


def test_limited_parameters_turn_gradients_that_lead_away():
    x = torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0])
    upstream = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    found = gradient(LimitParameter(0.0, 1.0, prob=1.0).train(), x, upstream)
    assert found.tolist() == [-1.0, -1.0, 1.0, 1.0, 1.0]


def test_scaled_gradient():
    found = gradient(lambda x: ScaleGradient.apply(x, 0.2), torch.ones(3), torch.ones(3))
    assert torch.allclose(found, torch.tensor(0.2))


@pytest.mark.parametrize(
    "module", [Balancer(prob=1.0), Whiten(1.0, prob=1.0), LimitParameter(5.0, 6.0, prob=1.0)]
)
def test_nothing_happens_in_evaluation(module):
    x = 9 + torch.randn(20, 8)
    assert torch.equal(gradient(module.eval(), x, torch.ones_like(x)), torch.ones_like(x))


def test_how_often_batches_are_looked_at():
    torch.manual_seed(2)
    module = Balancer(prob=Schedule((0, 0.5), (100, 0.1)))
    for batches, expected in ((0, 0.5), (50, 0.3), (1000, 0.1)):
        module.batches = batches
        share = sum(module.chance(module.prob) for _ in range(3000)) / 3000
        assert share == pytest.approx(expected, abs=0.04)


def test_large_scores_of_attention_are_pushed_back(monkeypatch):
    torch.manual_seed(3)
    module = AttentionWeights(16, 8, 2, 4, 2).train()
    monkeypatch.setattr(module, "chance", lambda probability: probability == 0.1)
    positions = relative_positions(6, 0, 8, torch.device("cpu"))
    with torch.no_grad():
        module.in_proj.weight.mul_(20)
    x = torch.randn(3, 6, 16)
    query, key, place = module.project(x)
    query.retain_grad()
    for part in (module.balance_keys, module.whiten_keys):
        part.eval()
    weights = module.weights(query, key, place, positions, None)
    chosen = torch.randn_like(weights)
    (with_push,) = torch.autograd.grad((weights * chosen).sum(), query, retain_graph=True)
    monkeypatch.setattr(module, "chance", lambda probability: False)
    plain = module.weights(query, key, place, positions, None)
    (without,) = torch.autograd.grad((plain * chosen).sum(), query, retain_graph=True)
    push = (with_push - without).detach()
    # A step along the push makes the scores that were too large smaller.
    split = lambda y: y.unflatten(2, (2, 4)).permute(2, 0, 1, 3)  # noqa: E731
    scores = split(query) @ split(key).transpose(2, 3)
    change = split(-push) @ split(key).transpose(2, 3)
    assert push.abs().max() > 0
    over = (scores.abs() > 30).float()
    assert (change * scores.sign() * over).sum() < 0
