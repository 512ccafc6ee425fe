"""Best paths of dense scores through a graph, without making a lattice."""

from __future__ import annotations

import numpy as np

from neve.fsa.arguments import with_data
from neve.kernels import Graph, Path, biased_one_best
from neve.kernels import one_best as _one_best
from neve.kernels.phrases import Phrases


def one_best(
    graph: Graph,
    log_probs,
    lengths,
    search_beam: float = 20.0,
    min_active: int = 30,
    max_active: int = 10000,
    allow_partial: bool = False,
    threads: int | None = None,
    phrases: Phrases | None = None,
) -> list[Path]:
    """The best path of each row of `log_probs` through `graph`, as `neve.kernels.one_best` says.

    log_probs (N, T, C) and lengths (N,) are torch tensors or numpy arrays. It equals
    shortest_path(intersect_dense_pruned(...)) in a fraction of its time and memory. The scores are
    with what `phrases` (`neve.graphs.BiasingGraph.automaton`, over the words of the graph) add.
    """
    searched = (graph,) if phrases is None else (graph, phrases)
    search = _one_best if phrases is None else biased_one_best
    return search(
        *searched,
        as_array(log_probs, np.float32, "log_probs"),
        as_array(lengths, None, "lengths"),
        search_beam,
        min_active,
        max_active,
        allow_partial,
        threads,
    )


def as_array(values, dtype, name: str) -> np.ndarray:
    """A numpy array of a tensor on any device, or of what numpy takes; dtype float32 or None."""
    if hasattr(values, "detach"):
        values = with_data(values.detach(), name).cpu()
        if dtype is np.float32:
            values = values.float()
        return values.numpy()
    return np.asarray(values, dtype)
