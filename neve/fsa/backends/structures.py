"""What the searches over dense scores take and return, in every backend."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Graphs(NamedTuple):
    """Graphs on a device: rows (S+1,) int64 says which of the arcs leave each state of all.

    dst (numbered within each graph) and labels (A,) int32, scores (A,) float32; begins and counts
    (N,) int64: the states of each sequence's graph, which may be the same for all.
    """

    rows: Tensor
    dst: Tensor
    labels: Tensor
    scores: Tensor
    begins: Tensor
    counts: Tensor


class Paths(NamedTuple):
    """Best paths: counts (N,) int64 arcs each, 0 if there is none; scores (N,) float32, -inf then.

    arcs int32 are numbers of the graphs' arcs, one path after another, and arc_scores float32 graph
    score plus log-probability. A path that was cut short (allow_partial) has no arc labelled -1.
    """

    counts: Tensor
    scores: Tensor
    arcs: Tensor
    arc_scores: Tensor


class Lattices(NamedTuple):
    """Lattices one after another, fields as in neve.kernels.search.Lattice.

    state_splits, arc_splits (N+1,) int64 on the CPU; src and dst are numbered within each.
    """

    state_splits: Tensor
    arc_splits: Tensor
    src: Tensor
    dst: Tensor
    labels: Tensor
    scores: Tensor
    arc_map: Tensor
    frames: Tensor
