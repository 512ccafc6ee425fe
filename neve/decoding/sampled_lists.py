"""N-best lists of lattices: the different sequences that sampled paths say.

So do k2's and icefall's decoders: paths are sampled, equal sequences are taken once, and of each
the best path of the whole lattice is looked up. What arcs say are words, or tokens: a ragged list
(splits, values) of symbols.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neve.fsa import FsaVec, random_paths
from neve.kernels.listed_paths import listed_paths
from neve.kernels.structure import gather_ragged

Ragged = tuple[np.ndarray, np.ndarray]


class Candidate(NamedTuple):
    """A sequence of symbols, the arcs of its best path, that path's score and the log of the sum of
    all its paths."""

    said: tuple[int, ...]
    arcs: np.ndarray
    score: float
    total: float


def sampled_paths(fsas: FsaVec, num_paths: int, scale: float) -> list[Ragged]:
    """Of each lattice `num_paths` paths, its scores multiplied by `scale`: arcs from 0 of each."""
    spread = fsas.detach().clone()
    spread.scores = spread.scores * scale
    sampled = random_paths(spread, True, num_paths)
    of_lattice, of_path = (sampled.shape.row_splits(axis).tolist() for axis in (1, 2))
    arcs = sampled.values.numpy()
    paths = []
    for begin, end, first in zip(of_lattice, of_lattice[1:], fsas.arc_splits.tolist()):
        splits = np.array(of_path[begin : end + 1])
        paths.append((splits - splits[0], arcs[splits[0] : splits[-1]] - first))
    return paths


def sequences_of(said: Ragged, paths: Ragged, best: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sequence of the best path, and the others that paths say, as they are met."""
    splits, arcs = paths
    spoken_splits, spoken = gather_ragged(*said, arcs)
    ends, spoken = spoken_splits[splits].tolist(), spoken.tolist()
    return list(dict.fromkeys((best, *(tuple(spoken[a:b]) for a, b in zip(ends, ends[1:])))))


def best_candidates(
    lattice, said: Ragged, sequences: list[tuple[int, ...]], by_total: bool = False
) -> list[Candidate]:
    """Sequences that the lattice has, that with the best path (or sum) first.

    lattice, said: as `neve.kernels.listed_paths.listed_paths` takes them.
    """
    symbols = np.array([symbol for each in sequences for symbol in each], np.int64)
    listed = listed_paths(lattice, said, (np.cumsum([0, *map(len, sequences)]), symbols))
    order = np.argsort(-(listed.totals if by_total else listed.scores), kind="stable")
    scores, totals, ends = listed.scores.tolist(), listed.totals.tolist(), listed.splits.tolist()
    return [
        Candidate(sequences[i], listed.arcs[ends[i] : ends[i + 1]], scores[i], totals[i])
        for i in order.tolist()
    ]
