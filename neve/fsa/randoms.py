"""Random automata, and the comparison of two by random strings; for trying things out."""

from __future__ import annotations

import numpy as np
import torch

from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.operations import connect, top_sort
from neve.fsa.products import intersect
from neve.fsa.topologies import linear_fsa


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


def is_rand_equivalent(
    a: Fsa,
    b: Fsa,
    log_semiring: bool,
    beam: float = float("inf"),
    treat_epsilons_specially: bool = True,
    delta: float = 1e-6,
    npath: int = 100,
) -> bool:
    """Whether random strings have the same total in two acyclic automata; a chance test.

    Strings are those of npath random paths of each side whose score is within `beam` of its best
    (log_semiring: total) one. Totals may differ by delta. Two FsaVecs are compared one by one.
    With treat_epsilons_specially strings are without label 0, which allows log_semiring only
    for paths that do not differ in where their epsilons are.
    """
    if isinstance(a, FsaVec) or isinstance(b, FsaVec):
        options = (log_semiring, beam, treat_epsilons_specially, delta, npath)
        both = isinstance(a, FsaVec) and isinstance(b, FsaVec) and len(a) == len(b)
        return both and all(is_rand_equivalent(x, y, *options) for x, y in zip(a, b))
    a, b = (top_sort(connect(fsa.detach())) for fsa in (a, b))
    if a.num_states == 0 or b.num_states == 0:
        return a.num_states == b.num_states
    rng = np.random.default_rng()
    for fsa in (a, b):
        worst = float(fsa.get_tot_scores(True, log_semiring)) - beam
        strings = []
        for _ in range(npath):
            string, score = _random_path(fsa, rng)
            if treat_epsilons_specially:
                string = [label for label in string if label != 0]
            if score >= worst:
                strings.append(string)
        if not strings:
            continue
        chains = linear_fsa(strings)
        meetings = [
            top_sort(connect(intersect(side, chains, treat_epsilons_specially))) for side in (a, b)
        ]
        totals = [found.get_tot_scores(True, log_semiring) for found in meetings]
        if not bool(torch.isclose(totals[0], totals[1], rtol=0.0, atol=delta).all()):
            return False
    return True


def _random_path(fsa: Fsa, rng: np.random.Generator) -> tuple[list[int], float]:
    """The labels, without the last, and the score of a path that takes any arc at each state."""
    src, dst, labels = (x.numpy() for x in (fsa.src, fsa.dst, fsa.labels))
    rows = np.searchsorted(src, np.arange(fsa.num_states + 1))
    state, string, score = 0, [], 0.0
    while state != fsa.num_states - 1:
        arc = int(rng.integers(rows[state], rows[state + 1]))
        string.append(int(labels[arc]))
        score += float(fsa.scores[arc])
        state = int(dst[arc])
    return string[:-1], score
