"""Family scores of backend cuda against that of cpu; `test_cuda.py` runs this file."""

import os

import pytest
import torch

from neve.fsa.backends.cpu import scores as cpu
from neve.fsa.backends.cuda import scores as cuda

DEVICE = os.environ["NEVE_TEST_DEVICE"]


def random_automata(count, dtype):
    """Arcs of acyclic automata of up to 7 states, some without any, with scores that often tie."""
    states, arcs, src, dst = [], [], [], []
    for _ in range(count):
        n = int(torch.randint(0, 8, ()))
        pairs = []
        if n > 1:
            for _ in range(int(torch.randint(0, 3 * n, ()))):
                a, b = torch.randperm(n)[:2].tolist()
                pairs.append((min(a, b), max(a, b)))
        pairs.sort(key=lambda pair: pair[0])
        states.append(n)
        arcs.append(len(pairs))
        src += [a for a, _ in pairs]
        dst += [b for _, b in pairs]
    scores = torch.randint(-3, 4, (len(src),)).to(dtype)
    scores[torch.rand(len(src)) < 0.05] = -torch.inf
    splits = (torch.tensor([0, *x]).cumsum(0) for x in (states, arcs))
    return (
        torch.tensor(src, dtype=torch.int32),
        torch.tensor(dst, dtype=torch.int32),
        scores,
        *splits,
    )


def on_device(arcs):
    return [x.to(DEVICE) for x in arcs[:3]] + list(arcs[3:])


def close(found, wanted, where):
    assert (found is None) == (wanted is None), where
    if wanted is not None:
        tolerance = 1e-5 if wanted.dtype == torch.float32 else 1e-9
        torch.testing.assert_close(found.cpu(), wanted, rtol=tolerance, atol=tolerance, msg=where)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_semiring", [True, False])
def test_scores_and_gradients(dtype, log_semiring, seed, monkeypatch):
    for case, lanes in enumerate((2, 4, 8)):
        monkeypatch.setattr(cuda, "LANES", lanes)  # so that blocks end within states
        arcs = random_automata(14, dtype)
        there = on_device(arcs)
        for name in ("forward", "backward"):
            where = f"seed {seed}, case {case}, {name}"
            wanted, chosen = getattr(cpu, name)(*arcs, log_semiring)
            found, found_chosen = getattr(cuda, name)(*there, log_semiring)
            close(found, wanted, where)
            close(found_chosen, chosen, where)
            grad = torch.randn(len(wanted), dtype=dtype)
            gradient = getattr(cpu, f"{name}_gradient")(*arcs, wanted, chosen, grad)
            saved = (found, found_chosen, grad.to(DEVICE))
            close(getattr(cuda, f"{name}_gradient")(*there, *saved), gradient, f"{where}, gradient")
    lengths, paths = cpu.best_paths(*arcs)
    found_lengths, found_paths = cuda.best_paths(*there)
    close(found_lengths, lengths, f"seed {seed}")
    close(found_paths, paths, f"seed {seed}")


def test_wide_and_deep(monkeypatch):
    """A chain of frames with all arcs between one and the next, and arcs that leap over some."""
    monkeypatch.setattr(cuda, "LANES", 16)
    width, frames = 5, 6
    pairs = [(0, 1 + j) for j in range(width)]
    for t in range(frames):
        first = 1 + t * width
        pairs += [(first + i, first + width + j) for i in range(width) for j in range(width)]
    last = 1 + (frames + 1) * width
    pairs += [(last - width + j, last) for j in range(width)] + [(3, 30), (17, last)]
    pairs.sort(key=lambda pair: pair[0])
    src, dst = torch.tensor(pairs, dtype=torch.int32).T.contiguous()
    splits = torch.tensor([0, last + 1]), torch.tensor([0, len(pairs)])
    arcs = (src, dst, torch.randn(len(pairs)), *splits)
    for name in ("forward", "backward"):
        found, _ = getattr(cuda, name)(*on_device(arcs), True)
        close(found, getattr(cpu, name)(*arcs, True)[0], name)


def test_nothing_at_all():
    empty = torch.zeros(0, dtype=torch.int32)
    for splits in (torch.zeros(1).long(), torch.zeros(4).long()):
        arcs = on_device((empty, empty, torch.zeros(0), splits, splits))
        for semiring in (True, False):
            assert len(cuda.forward(*arcs, semiring)[0]) == 0
        lengths, paths = cuda.best_paths(*arcs)
        assert len(lengths) == len(splits) - 1 and not lengths.any() and len(paths) == 0
