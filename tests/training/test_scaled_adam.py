"""ScaledAdam against the paper's formulas, written one parameter at a time."""

import math
import statistics

import numpy as np
import pytest
import torch

from neve.training import ScaledAdam
from neve.training.scaled_adam import _Stack


class Plain:
    """The same optimizer on a list of float64 numpy arrays, without stacks or torch."""

    def __init__(self, arrays, lr, betas, eps, scale_rate, min_rms, max_rms, limit, clip, history):
        self.arrays = arrays
        self.lr, (self.b1, self.b2), self.eps, self.eta = lr, betas, eps, scale_rate
        self.min, self.max, self.limit = min_rms, max_rms, limit
        self.clip, self.history, self.norms = clip, history, []
        self.state = [[0, 0 * a, 0 * a, 0.0, 0.0] for a in arrays]

    def step(self, gradients):
        sizes = [max(self.min, math.sqrt((a**2).mean())) for a in self.arrays]
        shares = [self.eta if a.size == 1 else r for a, r in zip(self.arrays, sizes)]
        pairs = [(g, share) for g, share in zip(gradients, shares) if g is not None]
        norm = math.sqrt(sum(((g * share) ** 2).sum() for g, share in pairs))
        self.norms = [*self.norms, norm][-self.history :]
        factor = 1.0
        if self.clip and len(self.norms) >= max(1, self.history // 10):
            ordered = sorted(self.norms)
            factor = min(1.0, self.clip * ordered[(len(ordered) - 1) // 2] / norm)
        for i, (g, r) in enumerate(zip(gradients, sizes)):
            if g is not None:
                self.arrays[i] = self.moved(self.arrays[i], g * factor, r, self.state[i])

    def moved(self, p, g, r, state):
        state[0] += 1
        t = state[0]
        state[1] = self.b1 * state[1] + (1 - self.b1) * g
        state[2] = self.b2 * state[2] + (1 - self.b2) * g**2
        c = math.sqrt(1 - self.b2**t) / (1 - self.b1**t)
        change = -self.lr * c * state[1] / (np.sqrt(state[2]) + self.eps)
        if p.size == 1:
            return np.clip(p + self.eta * change, -self.limit, self.limit)
        h = float((g * p).sum())
        state[3] = self.b1 * state[3] + (1 - self.b1) * h
        state[4] = self.b2 * state[4] + (1 - self.b2) * h**2
        growth = -self.eta * self.lr * c * state[3] / (math.sqrt(state[4]) + self.eps)
        growth = max(growth, self.min / r - 1)
        growth = min(growth, max(self.max / r - 1, -self.lr))
        return p + min(r, self.max) * change + growth * p


SHAPES = [(3, 4), (5,), (), (3, 4), (2, 3, 2), (5,), (1,), (1, 1), (3, 4), ()]


def make(generator, shapes=SHAPES, dtype=torch.float64, **options):
    scales = 10.0 ** generator.uniform(-6, 1, len(shapes))
    arrays = [np.asarray(scale * generator.normal(size=s)) for scale, s in zip(scales, shapes)]
    arrays[0] = arrays[0] * 0  # initialised with zeros
    parameters = [torch.nn.Parameter(torch.tensor(a, dtype=dtype)) for a in arrays]
    return arrays, parameters, ScaledAdam(parameters, **options)


def set_gradients(parameters, gradients):
    for p, g in zip(parameters, gradients):
        p.grad = None if g is None else torch.tensor(g, dtype=p.dtype)


def test_it_follows_its_formulas():
    seed = int(np.random.default_rng().integers(1 << 32))
    for case in range(200):
        generator = np.random.default_rng((seed, case))
        clip = float(generator.choice([0.0, 1.1, 2.0]))
        history = int(generator.choice([1, 5, 30]))
        options = {"lr": 0.05, "clip_scale": clip, "clip_history": history}
        arrays, parameters, optimizer = make(generator, **options)
        plain = Plain(arrays, 0.05, (0.9, 0.98), 1e-8, 0.1, 1e-5, 3.0, 10.0, clip, history)
        for _ in range(8):
            size = 10.0 ** generator.uniform(-4, 2)
            gradients = [np.asarray(size * generator.normal(size=s)) for s in SHAPES]
            for i in generator.choice(len(SHAPES), 2):  # not all are used in every step
                if generator.random() < 0.3:
                    gradients[i] = None
            set_gradients(parameters, gradients)
            plain.step(gradients)
            optimizer.step()
        for i, (mine, p) in enumerate(zip(plain.arrays, parameters)):
            assert np.allclose(mine, p.detach().numpy(), rtol=1e-9, atol=1e-14), (seed, case, i)


def test_clipping_uses_the_running_median():
    p = torch.nn.Parameter(torch.full((4,), 2.0, dtype=torch.float64))
    optimizer = ScaledAdam([p], lr=0.0, clip_scale=2.0, clip_history=10)
    norms = []
    for size in (1.0, 3.0, 2.0, 100.0, 4.0):
        p.grad = torch.full((4,), size, dtype=torch.float64)
        optimizer.step()
        norms.append(2.0 * size * 2.0)  # rms times norm
        expected = 2.0 * statistics.median_low(norms)
        assert optimizer.clip_threshold() == pytest.approx(expected)


def test_scales_stay_in_their_range():
    generator = torch.Generator().manual_seed(1)
    p = torch.nn.Parameter(torch.randn(50, generator=generator))
    s = torch.nn.Parameter(torch.tensor(9.0))
    optimizer = ScaledAdam([p, s], lr=0.1, clip_scale=0.0)
    for _ in range(300):  # a gradient that always asks for more of the same
        p.grad, s.grad = -p.detach().clone(), torch.tensor(-1.0)
        optimizer.step()
    assert 2.5 < float(p.detach().square().mean().sqrt()) < 3.5 and float(s.detach()) == 10.0


def test_state_survives_a_file_bit_for_bit(tmp_path):
    generator = np.random.default_rng(3)
    arrays, parameters, optimizer = make(generator, dtype=torch.float32, clip_history=7)
    runs = [[np.asarray(generator.normal(size=s)) for s in SHAPES] for _ in range(20)]
    runs[3][2] = runs[11][5] = None
    for gradients in runs[:9]:
        set_gradients(parameters, gradients)
        optimizer.step()
    path = tmp_path / "state.pt"
    torch.save({"weights": parameters, "state": optimizer.state_dict()}, path)
    saved = torch.load(path, weights_only=True)
    copies = [torch.nn.Parameter(p.detach().clone()) for p in saved["weights"]]
    other = ScaledAdam(copies, clip_history=7)
    other.load_state_dict(saved["state"])
    for gradients in runs[9:]:
        for ps, opt in ((parameters, optimizer), (copies, other)):
            set_gradients(ps, gradients)
            opt.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies))
    one, two = (opt.state_dict()["state"] for opt in (optimizer, other))
    assert one.keys() == two.keys()
    for i in one:
        for name, value in one[i].items():
            same = torch.equal(value, two[i][name]) if name != "norms_seen" else value == 20
            assert same, (i, name)


def test_equal_shapes_are_updated_together():
    _, parameters, optimizer = make(np.random.default_rng(0))
    set_gradients(parameters, [np.ones(s) for s in SHAPES])
    optimizer.step()
    (stacks,) = optimizer._stacks
    assert len(stacks) == len(set(SHAPES)) and all(isinstance(s, _Stack) for s in stacks)
    for p in parameters:  # what state_dict() shows is what the stacks hold
        assert float(optimizer.state[p]["step"]) == 1.0
        assert optimizer.state[p]["exp_avg"].shape == p.shape


def test_it_minimises():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(20, 20, generator=generator)
    p = torch.nn.Parameter(0.1 * torch.randn(20, 20, generator=generator))
    optimizer = ScaledAdam([p], lr=0.05)
    for i in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - i / 400)
        optimizer.zero_grad()
        (p - target).square().sum().backward()
        optimizer.step()
    assert float((p - target).detach().square().mean()) < 1e-4
