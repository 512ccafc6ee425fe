"""The ranges of the pruned loss against loops that do what the specification says; random cases."""

import math

import numpy as np
import torch
from random_graphs import cases

from neve.fsa import do_rnnt_pruning, get_rnnt_prune_ranges


def ranges_by_loops(gx, gy, symbols, frames, width, regular):
    """(T, R) of one utterance of gx (S, T') and gy (S+1, T), numpy."""
    most, num_frames = gx.shape[0], gy.shape[1]
    begins = []
    for t in range(num_frames):
        best, begin = -math.inf, 0
        for s in range(most + 2 - width):
            mass = sum(gy[s + i, t] for i in range(width)) - (gx[s - 1, t] if s else 0)
            if mass > best:
                best, begin = mass, s
        begins.append(begin if t < frames - 1 else max(0, symbols - width + 1))
    step = width - 1 if regular else 1
    for t in reversed(range(num_frames - 1)):
        begins[t] = min(begins[t], begins[t + 1])
    slack = [step * t - begin for t, begin in enumerate(begins)]
    for t in reversed(range(num_frames - 1)):
        slack[t] = min(slack[t], slack[t + 1])
    return [[step * t - max(v, 0) + i for i in range(width)] for t, v in enumerate(slack)]


def test_ranges():
    for rng, where in cases():
        batch, most, num_frames = 2, int(rng.integers(1, 7)), int(rng.integers(1, 9))
        regular = bool(rng.integers(2))
        if not regular:
            num_frames = max(num_frames, most)
        # sums of these are exact, whatever their order
        gx = rng.integers(0, 9, (batch, most, num_frames + regular)).astype(np.float32) / 8
        gy = rng.integers(0, 9, (batch, most + 1, num_frames)).astype(np.float32) / 8
        frames = rng.integers(1, num_frames + 1, batch)
        symbols = np.array([rng.integers(0, min(most, n) + 1) for n in frames])
        boundary = torch.tensor([[0, 0, s, t] for s, t in zip(symbols.tolist(), frames.tolist())])
        width = int(rng.integers(2, 6))
        found = get_rnnt_prune_ranges(torch.from_numpy(gx), torch.from_numpy(gy), boundary, width)
        if regular:
            width = max(width, *(int((s - 1) / t) + 2 for s, t in zip(symbols, frames)))
        width = min(width, most + 1)
        wanted = [
            ranges_by_loops(gx[b], gy[b], symbols[b], frames[b], width, regular)
            for b in range(batch)
        ]
        assert found.tolist() == wanted, where


def test_gathering():
    for rng, where in cases():
        num_frames, most, width = (int(x) for x in rng.integers(1, 5, 3))
        width = min(width, most + 1)
        am, lm = rng.normal(size=(2, num_frames, 3)), rng.normal(size=(2, most + 1, 3))
        begins = np.sort(rng.integers(0, most + 2 - width, (2, num_frames)), axis=1)
        ranges = torch.from_numpy(begins[..., None] + np.arange(width))
        found = do_rnnt_pruning(torch.from_numpy(am), torch.from_numpy(lm), ranges)
        for b in range(2):
            for t in range(num_frames):
                for r in range(width):
                    assert found[0][b, t, r].tolist() == am[b, t].tolist(), where
                    assert found[1][b, t, r].tolist() == lm[b, begins[b, t] + r].tolist(), where
