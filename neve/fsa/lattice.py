"""Lattices: the arcs of a graph that dense scores make worth keeping."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import whole_numbers
from neve.fsa.backends import kernel
from neve.fsa.backends.structures import Graphs, Lattices
from neve.fsa.dense import DenseFsaVec
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.kernels import Graph


def intersect_dense_pruned(
    a_fsas: Fsa | Graph,
    b_fsas: DenseFsaVec,
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = None,
    allow_partial: bool = False,
    pruning: str = "exact",
) -> FsaVec:
    """The lattice of each segment of `b_fsas` through the graph `a_fsas`, pruned by beams.

    `a_fsas` is one epsilon-free graph for all segments or an FsaVec of one for each; its arcs of
    label 0 consume the blank. Lattice arcs carry the graph's attributes and their score is graph
    score plus log-probability. States are sorted by frame. frame_idx_name names an attribute that
    gets the frame of each arc, seqframe_idx_name one that gets the row of b_fsas.scores. The maps
    to the arcs of `a_fsas` and to the flat index of b_fsas.scores are the attributes `arc_map_a`
    and `arc_map_b`.

    search_beam bounds the search, between min_active_states and max_active_states a frame;
    output_beam bounds what is kept. pruning "exact" keeps the arcs on paths within output_beam of
    the best; "k2" keeps the looser superset that k2.intersect_dense_pruned keeps. A segment without
    a path gives an automaton that accepts nothing, unless allow_partial lets paths end anywhere.

    Raises NeveError for a graph with labels that b_fsas has no class for, and bad beams.
    """
    if pruning not in ("exact", "k2"):
        raise NeveError(f"pruning: must be exact or k2, not {pruning!r}")
    for name, value in (
        ("search_beam", search_beam),
        ("output_beam", output_beam),
        ("max_active_states", max_active_states),
    ):
        if not value > 0:
            raise NeveError(f"{name} must be positive, not {value}")
    fsa, graphs, which = _graphs(a_fsas, b_fsas, None)
    lattices = kernel("dense", "lattice", b_fsas.device)(
        graphs,
        b_fsas.segments().detach().float(),
        b_fsas.lengths.to(b_fsas.device),
        float(search_beam),
        float(output_beam),
        int(min_active_states),
        int(max_active_states),
        bool(allow_partial),
        pruning == "exact",
    )
    return _fsas(lattices, fsa, which, b_fsas, seqframe_idx_name, frame_idx_name)


def intersect_dense(
    a_fsas: Fsa | Graph,
    b_fsas: DenseFsaVec,
    output_beam: float,
    max_states: int = 15_000_000,
    max_arcs: int = 1 << 30,
    a_to_b_map: Tensor | None = None,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = None,
) -> FsaVec:
    """The lattice of each graph of `a_fsas`: what lies within output_beam of its best path.

    No search beam: every state of a graph is looked at in every frame, so it is for graphs of one
    utterance. a_to_b_map (graphs,) int32 says which segment each graph goes with, by default the
    one of its number. Otherwise as `intersect_dense_pruned`. Where there would be more than
    max_states or max_arcs in all, output_beam is made narrower. (FSA-SPEC section 10.)
    """
    for name, value in (
        ("output_beam", output_beam),
        ("max_states", max_states),
        ("max_arcs", max_arcs),
    ):
        if not value > 0:
            raise NeveError(f"{name} must be positive, not {value}")
    count = 1 if isinstance(a_fsas, Graph) else a_fsas.num_fsas
    if a_to_b_map is None:
        if count != len(b_fsas):
            raise NeveError(
                f"a_fsas: {count} graphs for {len(b_fsas)} segments; give a_to_b_map to say which "
                "goes with which"
            )
        a_to_b_map = torch.arange(count)
    segments = whole_numbers(a_to_b_map, "a_to_b_map")
    if segments.shape != (count,) or (
        count and not 0 <= int(segments.min()) <= int(segments.max()) < len(b_fsas)
    ):
        raise NeveError(f"a_to_b_map: {count} numbers in 0..{len(b_fsas) - 1} are needed")
    fsa, graphs, which = _graphs(a_fsas, b_fsas, segments)
    lattices = kernel("dense", "lattice_unpruned", b_fsas.device)(
        graphs,
        b_fsas.segments().detach().float(),
        b_fsas.lengths.to(b_fsas.device),
        segments.to(b_fsas.device),
        float(output_beam),
        int(max_states),
        int(max_arcs),
    )
    return _fsas(lattices, fsa, which, b_fsas, seqframe_idx_name, frame_idx_name, segments)


def _graphs(
    a_fsas: Fsa | Graph, b_fsas: DenseFsaVec, segments: Tensor | None
) -> tuple[Fsa, Graphs, Tensor]:
    """(the graphs, the same as the kernels want them, the first arc of each sequence's graph)."""
    if not isinstance(b_fsas, DenseFsaVec):
        raise NeveError(f"b_fsas: a DenseFsaVec is needed, not {type(b_fsas).__name__}")
    fsa = Fsa.from_graph(a_fsas) if isinstance(a_fsas, Graph) else a_fsas
    if not isinstance(fsa, Fsa):
        raise NeveError(f"a_fsas: an Fsa or a Graph is needed, not {type(fsa).__name__}")
    if fsa.device != b_fsas.device:
        if not isinstance(a_fsas, Graph):
            raise NeveError(f"a_fsas: on {fsa.device}, but b_fsas is on {b_fsas.device}")
        fsa = fsa.to(b_fsas.device)
    count = len(b_fsas) if segments is None else len(segments)
    if fsa.num_fsas not in (1, count):
        raise NeveError(
            f"a_fsas: {fsa.num_fsas} graphs for {count} segments; one, or one for each, is needed"
        )
    highest = int(fsa.labels.max()) if fsa.num_arcs else 0
    if highest >= b_fsas.num_classes:
        raise NeveError(
            f"log_probs has {b_fsas.num_classes} classes, but the graph has label {highest}; were "
            "model and graph made with the same lang directory?"
        )
    sequence = torch.zeros(count, dtype=torch.int64)
    if fsa.num_fsas == count:
        sequence = torch.arange(count)
    src = torch.from_numpy(fsa.flat_states()[0]).long()
    rows = torch.bincount(src, minlength=fsa.num_states).cumsum(0)
    states = torch.diff(fsa.state_splits)
    begins = fsa.state_splits[:-1]
    tensors = (
        torch.cat((rows.new_zeros(1), rows)),
        fsa.dst,
        fsa.labels,
        fsa.scores.detach().float(),
        begins[sequence],
        states[sequence],
    )
    graphs = Graphs(*(x.to(fsa.device).contiguous() for x in tensors))
    return fsa, graphs, sequence


def _fsas(
    lattices: Lattices,
    fsa: Fsa,
    which: Tensor,
    dense: DenseFsaVec,
    seqframe_idx_name: str | None,
    frame_idx_name: str | None,
    segments: Tensor | None = None,
) -> FsaVec:
    """Lattices as automata: attributes, maps, and scores that know where they come from."""
    device = dense.device
    segments = torch.arange(len(dense)) if segments is None else segments
    counts = torch.diff(lattices.arc_splits)
    arc_map = lattices.arc_map.long()
    from_graph = arc_map >= 0
    first = torch.repeat_interleave(dense.frame_splits[segments], counts).to(device)
    seqframe = first + lattices.frames
    dense_map = seqframe * (dense.num_classes + 1) + lattices.labels + 1
    scores = lattices.scores
    if (
        fsa.scores.requires_grad
        or dense.log_probs.requires_grad
        or scores.dtype != (dense.log_probs.dtype)
    ):
        # the same sums, of tensors that know where they come from
        present = from_graph if len(fsa.scores) else arc_map[:0]
        graph_part = torch.where(from_graph, fsa.scores[arc_map * present], scores.detach())
        scores = graph_part + dense.scores.reshape(-1)[dense_map]
    attributes = fsa.attributes_at(arc_map)
    attributes["arc_map_a"] = lattices.arc_map
    attributes["arc_map_b"] = dense_map
    if seqframe_idx_name is not None:
        attributes[seqframe_idx_name] = seqframe.to(torch.int32)
    if frame_idx_name is not None:
        attributes[frame_idx_name] = lattices.frames
    return FsaVec._make(
        lattices.src,
        lattices.dst,
        lattices.labels,
        scores,
        lattices.state_splits,
        lattices.arc_splits,
        attributes,
    )
