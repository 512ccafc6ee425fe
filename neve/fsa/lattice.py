"""Lattices: the arcs of a graph that a pruned search over dense scores has found worth keeping."""

from __future__ import annotations

import torch

from neve.errors import NeveError
from neve.fsa.dense import DenseFsaVec
from neve.fsa.fsa import Fsa, FsaVec, take
from neve.kernels import Graph, lattice_search


def intersect_dense_pruned(
    a_fsas: Fsa | Graph,
    b_fsas: DenseFsaVec,
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
    frame_idx_name: str | None = None,
    allow_partial: bool = False,
    pruning: str = "exact",
) -> FsaVec:
    """The lattice of each segment of `b_fsas` through the graph `a_fsas`, pruned by beams.

    `a_fsas` is one epsilon-free graph for all segments or an FsaVec of one for each; its arcs of
    label 0 consume the blank. Lattice arcs carry the graph's attributes and their score is graph
    score plus log-probability. States are sorted by frame. `frame_idx_name` names an attribute
    that gets the frame of each arc. The maps to the arcs of `a_fsas` and to the flat index of
    b_fsas.scores are the attributes `arc_map_a` and `arc_map_b`.

    search_beam bounds the search, between min_active_states and max_active_states a frame;
    output_beam bounds what is kept. pruning "exact" keeps the arcs on paths within output_beam of
    the best; "k2" keeps the looser superset that k2.intersect_dense_pruned keeps. A segment without
    a path gives an automaton that accepts nothing, unless allow_partial lets paths end anywhere.

    Raises NeveError for a graph with labels that b_fsas has no class for, and bad beams.
    """
    graphs, fsa = _graphs(a_fsas, len(b_fsas))
    log_probs, lengths = b_fsas.padded().cpu().numpy(), b_fsas.lengths.numpy()
    options = (search_beam, output_beam, min_active_states, max_active_states)
    options = (*options, allow_partial, pruning)
    if len(graphs) == 1:
        lattices = lattice_search(graphs[0], log_probs, lengths, *options)
        offsets = [0] * len(lattices)
    else:
        lattices = [
            lattice_search(graph, log_probs[k : k + 1], lengths[k : k + 1], *options)[0]
            for k, graph in enumerate(graphs)
        ]
        offsets = fsa.arc_splits.tolist()

    def joined(name: str) -> torch.Tensor:
        parts = [torch.from_numpy(getattr(lattice, name)) for lattice in lattices]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int32)

    labels, frames, arc_map = joined("labels"), joined("frames"), joined("arc_map")
    arc_counts = torch.tensor([len(lattice.src) for lattice in lattices], dtype=torch.int64)
    from_graph = arc_map >= 0
    shift = torch.repeat_interleave(torch.tensor(offsets[: len(lattices)]).long(), arc_counts)
    arc_map = torch.where(from_graph, arc_map + shift, -1).to(torch.int32)
    first = torch.repeat_interleave(b_fsas.frame_splits[:-1], arc_counts)
    dense_map = (first + frames) * (b_fsas.num_classes + 1) + labels + 1
    scores = joined("scores").float()
    if fsa.scores.requires_grad or b_fsas.log_probs.requires_grad:
        # the same sums, of tensors that know where they come from
        graph_part = torch.where(from_graph, fsa.scores[arc_map.long()], scores.detach())
        scores = graph_part + b_fsas.scores.reshape(-1)[dense_map]
    index = arc_map.long()
    attributes = {name: take(value, index) for name, value in fsa.arc_attributes().items()}
    attributes.update(fsa.other_attributes())
    attributes["arc_map_a"] = arc_map
    attributes["arc_map_b"] = dense_map
    if frame_idx_name is not None:
        attributes[frame_idx_name] = frames
    zero = torch.zeros(1, dtype=torch.int64)
    states = torch.tensor([lattice.num_states for lattice in lattices], dtype=torch.int64)
    return FsaVec._make(
        joined("src"),
        joined("dst"),
        labels,
        scores,
        torch.cat((zero, states.cumsum(0))),
        torch.cat((zero, arc_counts.cumsum(0))),
        attributes,
    )


def _graphs(a_fsas: Fsa | Graph, num_segments: int) -> tuple[list[Graph], Fsa]:
    """The graphs to search, one for all or one for each segment; and the same as an Fsa."""
    if isinstance(a_fsas, Graph):
        return [a_fsas], Fsa.from_graph(a_fsas)
    if a_fsas.num_fsas == 1:
        return [a_fsas.to_graph()], a_fsas
    if a_fsas.num_fsas != num_segments:
        raise NeveError(
            f"a_fsas: {a_fsas.num_fsas} graphs for {num_segments} segments; one, or one for each, "
            "is needed"
        )
    return [graph.to_graph() for graph in a_fsas], a_fsas
