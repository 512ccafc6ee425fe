"""Compiling every kernel before it is needed; numba keeps the result on disk."""

import numpy as np

from neve.kernels.best_path import one_best
from neve.kernels.ctc import compose_ctc
from neve.kernels.epsilon import remove_epsilon
from neve.kernels.graph import Graph
from neve.kernels.minimize import minimize
from neve.kernels.search import lattice_search
from neve.kernels.streams import advance, contexts_of
from neve.kernels.structure import arc_sort
from neve.kernels.totals import Arcs, backward_scores, best_paths, forward_scores


def warm_up() -> None:
    """Compiles and caches all kernels by running each on a graph of three states."""
    graph = Graph.from_arcs(3, [0, 0, 1, 1], [1, 1, 0, 2], [1, 2, 0, -1], [0, -1, -1, 0])
    graph, _, _ = remove_epsilon(graph)
    graph = minimize(arc_sort(graph)[0])
    decoding = compose_ctc(graph)
    compose_ctc(graph, modified=True)
    log_probs = np.zeros((1, 2, 3), np.float32)
    one_best(decoding, log_probs, np.array([2]))
    (lattice,) = lattice_search(decoding, log_probs, np.array([2]), 20, 8, 1, 100)
    splits = np.array([[0, lattice.num_states], [0, len(lattice.src)]])
    for dtype in (np.float32, np.float64):
        arcs = Arcs(lattice.src, lattice.dst, lattice.scores.astype(dtype), *splits)
        best_paths(arcs)
        for log_semiring in (False, True):
            forward_scores(arcs, log_semiring)
            backward_scores(arcs, log_semiring)
    keys, key_splits = np.zeros(1, np.int64), np.array([0, 1])
    rows, _, _ = contexts_of(keys, key_splits, np.array([graph.num_states]))
    arrays = (graph.row_splits.astype(np.int64), graph.dst, graph.labels, graph.scores)
    advance(arrays, (keys, np.zeros(1), key_splits, rows), log_probs[0], 3, 3, 20, 4, 4)
