"""Searches through a graph in which listed phrases earn their bonuses; on the CPU."""

from __future__ import annotations

import numpy as np

from neve.fsa.backends.cpu.dense import joined
from neve.fsa.decode import as_array
from neve.fsa.fsa_vec import FsaVec
from neve.kernels import Graph, biased_lattice_search
from neve.kernels.phrases import Phrases


def biased_lattices(
    graph: Graph,
    phrases: Phrases,
    log_probs,
    lengths,
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
    allow_partial: bool = False,
    pruning: str = "exact",
    threads: int | None = None,
) -> FsaVec:
    """The lattice of each row of `log_probs`, with what its words earn by `phrases` in the scores.

    As `intersect_dense_pruned` otherwise, and as `bias_lattice` of a lattice from which no phrase
    was pruned: a phrase that earns enough is in it, however bad it is without. A state of the graph
    is there once for each state of phrases that it is reached in. The map to the arcs of the graph
    is the attribute `arc_map_a`.

    Args:
        graph: emits the words.
        phrases: over these words (`neve.graphs.BiasingGraph.automaton`).
        log_probs: (N, T, C), a tensor or an array.
        lengths: (N,) frames of each row.
        search_beam, output_beam, min_active_states, max_active_states, allow_partial, pruning: as
            of `intersect_dense_pruned`.
        threads: None for as many as there are.
    """
    found = biased_lattice_search(
        graph,
        phrases,
        as_array(log_probs, np.float32, "log_probs"),
        as_array(lengths, None, "lengths"),
        search_beam,
        output_beam,
        min_active_states,
        max_active_states,
        allow_partial,
        pruning,
        threads,
    )
    lattices = joined(found, [0] * len(found))
    return FsaVec._make(
        lattices.src,
        lattices.dst,
        lattices.labels,
        lattices.scores,
        lattices.state_splits,
        lattices.arc_splits,
        {"arc_map_a": lattices.arc_map},
    )
