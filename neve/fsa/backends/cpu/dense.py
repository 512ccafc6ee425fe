"""Graphs intersected with dense scores; see neve.kernels.search and dense_trellis."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neve.fsa.backends.structures import Graphs, Lattices
from neve.kernels import Graph, Lattice, lattice_search
from neve.kernels import dense_trellis as _dense_trellis


def _graph(graphs: Graphs, sequence: int) -> tuple[Graph, int]:
    """(the graph of a sequence, its first arc among those of all)."""
    begin, count = int(graphs.begins[sequence]), int(graphs.counts[sequence])
    rows = graphs.rows[begin : begin + count + 1].numpy()
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, 0)
    arcs = slice(first, last)
    splits = np.zeros(last - first + 1, np.int32)
    return (
        Graph(
            (rows - first).astype(np.int32),
            *(x[arcs].numpy() for x in (graphs.dst, graphs.labels, graphs.scores)),
            splits,
            splits[:0],
        ),
        first,
    )


def _each_graph(graphs: Graphs) -> tuple[list[Graph], list[int]]:
    """The graph of each sequence, made once where they are the same, and their first arcs."""
    made: dict[tuple[int, int], tuple[Graph, int]] = {}
    keys = list(zip(graphs.begins.tolist(), graphs.counts.tolist()))
    for sequence, key in enumerate(keys):
        if key not in made:
            made[key] = _graph(graphs, sequence)
    return [made[key][0] for key in keys], [made[key][1] for key in keys]


def joined(lattices: list[Lattice], firsts: list[int]) -> Lattices:
    """Lattices one after another; arc maps count from the first arc of each one's graph."""

    def column(name: str, dtype) -> Tensor:
        parts = [getattr(lattice, name) for lattice in lattices]
        return torch.from_numpy(np.concatenate([*parts, np.empty(0, dtype)]).astype(dtype))

    states = np.array([lattice.num_states for lattice in lattices], np.int64)
    arcs = np.array([len(lattice.src) for lattice in lattices], np.int64)
    splits = [torch.from_numpy(np.concatenate(([0], np.cumsum(x)))) for x in (states, arcs)]
    arc_map = column("arc_map", np.int32)
    shift = torch.from_numpy(np.repeat(np.array(firsts, np.int32), arcs))
    return Lattices(
        *splits,
        column("src", np.int32),
        column("dst", np.int32),
        column("labels", np.int32),
        column("scores", np.float32),
        torch.where(arc_map >= 0, arc_map + shift, arc_map).to(torch.int32),
        column("frames", np.int32),
    )


def lattice(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    search_beam: float,
    output_beam: float,
    min_active: int,
    max_active: int,
    allow_partial: bool,
    exact: bool,
) -> Lattices:
    """The pruned lattice of each sequence; log_probs (N, T, C) float32, lengths (N,) int64.

    See neve.kernels.search.lattice_search; `exact` prunes as "exact" there does, else as "k2".
    """
    each, firsts = _each_graph(graphs)
    found = lattice_search(
        each, log_probs.numpy(), lengths.numpy(), search_beam, output_beam, min_active, max_active,
        allow_partial, "exact" if exact else "k2",
    )  # fmt: skip
    return joined(found, firsts)


def lattice_unpruned(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    segments: Tensor,
    output_beam: float,
    max_states: int,
    max_arcs: int,
) -> Lattices:
    """The lattice of each graph with the row `segments` (graphs,) int64 of log_probs (K, T, C).

    See neve.kernels.dense_trellis.intersect_dense.
    """
    each, firsts = _each_graph(graphs)
    values = log_probs.numpy()
    scores = [values[k, : int(lengths[k])] for k in segments.tolist()]
    found = _dense_trellis.intersect_dense(each, scores, output_beam, max_states, max_arcs)
    return joined(found, firsts)
