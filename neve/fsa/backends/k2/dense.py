"""Lattices of the real k2. It prunes in windows only and cuts no path short."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neve.fsa.backends.cpu import dense as _cpu
from neve.fsa.backends.k2.client import on_cpu, real_k2
from neve.fsa.backends.k2.travel import arcs_of, automata
from neve.fsa.backends.structures import Graphs, Lattices


def _automata(graphs: Graphs, sequences: list[int]) -> tuple[dict, np.ndarray]:
    """(the arrays that travel of the graphs of `sequences`, each of their arcs among all)."""
    begins, counts = graphs.begins[sequences], graphs.counts[sequences]
    src = torch.repeat_interleave(torch.arange(len(graphs.rows) - 1), graphs.rows.diff())
    ends = torch.tensor([begin + count for begin, count in zip(begins, counts)])
    pieces = [
        torch.arange(int(graphs.rows[begin]), int(graphs.rows[end]))
        for begin, end in zip(begins, ends)
    ]
    index = torch.cat(pieces)
    sizes = torch.tensor([len(piece) for piece in pieces])
    zero = torch.zeros(1, dtype=torch.int64)
    arcs = arcs_of(
        src[index] - torch.repeat_interleave(begins, sizes),
        *(x[index] for x in (graphs.dst, graphs.labels, graphs.scores)),
    )
    states = torch.cat((zero, counts.cumsum(0)))
    return automata(arcs, states, torch.cat((zero, sizes.cumsum(0)))), index.numpy()


def _lattices(found: dict, index: np.ndarray) -> Lattices:
    arcs = torch.from_numpy(found["arcs"])
    arc_map = found["attributes"]["from_arc"]
    arc_map = np.where(arc_map >= 0, index[arc_map], -1).astype(np.int32)
    return Lattices(
        torch.from_numpy(found["states"]),
        torch.from_numpy(found["splits"]),
        *(arcs[:, i].clone() for i in range(3)),
        arcs[:, 3].clone().view(torch.float32),
        torch.from_numpy(arc_map),
        torch.from_numpy(found["attributes"]["frame"]),
    )


@on_cpu
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
    """The pruned lattice of each sequence; k2.intersect_dense_pruned."""
    beams = (search_beam, output_beam, min_active, max_active)
    if exact or allow_partial or len(lengths) == 0:
        return _cpu.lattice(graphs, log_probs, lengths, *beams, allow_partial, exact)
    same = len(set(zip(graphs.begins.tolist(), graphs.counts.tolist()))) == 1
    arrays, index = _automata(graphs, [0] if same else list(range(len(lengths))))
    rows = torch.arange(len(lengths))
    found = real_k2().call(
        "intersect_dense_pruned",
        graph=arrays,
        log_probs=log_probs,
        segments=torch.stack((rows, torch.zeros_like(rows), lengths), dim=1),
        search_beam=search_beam,
        output_beam=output_beam,
        min_active=min_active,
        max_active=max_active,
    )
    return _lattices(found["lattice"], index)


@on_cpu
def lattice_unpruned(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    segments: Tensor,
    output_beam: float,
    max_states: int,
    max_arcs: int,
) -> Lattices:
    """The lattice of each graph with row `segments` of log_probs; k2.intersect_dense."""
    if len(segments) == 0:
        return _cpu.lattice_unpruned(
            graphs, log_probs, lengths, segments, output_beam, max_states, max_arcs
        )
    arrays, index = _automata(graphs, list(range(len(segments))))
    zeros = torch.zeros_like(segments)
    found = real_k2().call(
        "intersect_dense",
        graphs=arrays,
        log_probs=log_probs,
        segments=torch.stack((segments, zeros, lengths[segments]), dim=1),
        output_beam=output_beam,
        max_states=max_states,
        max_arcs=max_arcs,
    )
    return _lattices(found["lattice"], index)
