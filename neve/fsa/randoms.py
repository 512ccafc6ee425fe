"""Random automata, for trying things out."""

from __future__ import annotations

import numpy as np
import torch

from neve.fsa.fsa import Fsa, FsaVec


def random_fsa(
    acyclic: bool = True, max_symbol: int = 50, min_num_arcs: int = 0, max_num_arcs: int = 1000
) -> Fsa:
    """A random automaton with arcs between the limits, labels 0..max_symbol; for tests."""
    rng = np.random.default_rng()
    count = int(rng.integers(min_num_arcs, max_num_arcs + 1))
    states = int(rng.integers(2, max(3, count // 2 + 3)))
    src = rng.integers(0, states - 1, count)
    dst = rng.integers(0, states, count)
    if acyclic:
        dst = rng.integers(src + 1, states)
    labels = np.where(dst == states - 1, -1, rng.integers(0, max_symbol + 1, count))
    order = np.argsort(src, kind="stable")
    scores = rng.normal(size=count).astype(np.float32)
    table = np.column_stack((src, dst, labels, scores.view(np.int32)))[order].astype(np.int32)
    return Fsa(torch.from_numpy(table), num_states=states if count else 0)


def random_fsa_vec(
    min_num_fsas: int = 1,
    max_num_fsas: int = 1000,
    acyclic: bool = True,
    max_symbol: int = 50,
    min_num_arcs: int = 0,
    max_num_arcs: int = 1000,
) -> FsaVec:
    """Several of `random_fsa`."""
    count = int(np.random.default_rng().integers(min_num_fsas, max_num_fsas + 1))
    options = (acyclic, max_symbol, min_num_arcs, max_num_arcs)
    return FsaVec([random_fsa(*options) for _ in range(count)])
