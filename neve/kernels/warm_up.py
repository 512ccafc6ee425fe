"""Compiling every kernel before it is needed; numba keeps the result on disk."""

import time
from collections.abc import Callable

import numpy as np

from neve.kernels.bayes_risk import WordLattice
from neve.kernels.best_path import one_best
from neve.kernels.biased_search import biased_lattice_search, biased_one_best
from neve.kernels.ctc import compose_ctc
from neve.kernels.ctc_loss import ctc
from neve.kernels.ctc_prefix import align_ctc, prefix_beam_search
from neve.kernels.dense_total import dense_totals
from neve.kernels.dense_trellis import intersect_dense
from neve.kernels.epsilon import remove_epsilon
from neve.kernels.graph import Graph
from neve.kernels.listed_paths import listed_paths
from neve.kernels.minimize import minimize
from neve.kernels.mutual_information import mutual_information
from neve.kernels.phrases import connect as connect_phrases
from neve.kernels.phrases import fill_rows, no_phrases, steps
from neve.kernels.product import product
from neve.kernels.rnnt import REGULAR, exp_rows, pruned, pruned_gradient
from neve.kernels.search import lattice_search
from neve.kernels.streams import Listed, advance, contexts_of, ended
from neve.kernels.structure import arc_sort, connect
from neve.kernels.top_sort import top_order
from neve.kernels.totals import (
    Arcs,
    backward_gradient,
    backward_scores,
    best_paths,
    forward_gradient,
    forward_scores,
    sample_paths,
)


def warm_up(report: Callable[[str, float], None] | None = None) -> None:
    """Compiles and caches all kernels by running each on a graph of three states.

    `report` is told the name of each group of kernels and the seconds that it took.
    """

    def run(name: str, function: Callable, *args):
        begin = time.perf_counter()
        result = function(*args)
        if report is not None:
            report(name, time.perf_counter() - begin)
        return result

    graph = Graph.from_arcs(3, [0, 0, 1, 1], [1, 1, 0, 2], [1, 2, 0, -1], [0, -1, -1, 0])
    run("connect", connect, graph)
    graph, _, _ = run("epsilon removal", remove_epsilon, graph)
    graph = run("minimisation", lambda: minimize(arc_sort(graph)[0]))
    decoding = run("composition with CTC", compose_ctc, graph)
    run("composition with CTC, modified", compose_ctc, graph, True)
    arrays = (graph.row_splits, graph.dst, graph.labels)
    run("products", product, *arrays, *arrays, True)
    run("topological order", top_order, graph.row_splits, graph.dst)
    log_probs, lengths = np.zeros((1, 2, 3), np.float32), np.array([2])
    run("best paths of dense scores", one_best, decoding, log_probs, lengths)
    beams = (20, 8, 1, 100)
    (lattice,) = run("lattices", lattice_search, decoding, log_probs, lengths, *beams)
    run("best paths with phrases", biased_one_best, decoding, no_phrases(), log_probs, lengths)
    favoured = (decoding, no_phrases(), log_probs, lengths, *beams)
    run("lattices with phrases", biased_lattice_search, *favoured)
    run("phrases", _phrases)
    run("lattices without pruning", intersect_dense, [decoding], [log_probs[0]], 8.0, 99, 99)
    words = WordLattice([0, 2, 3, 3], [1, 1, 2], np.zeros(3), [1, 2, 0])
    run("minimum Bayes risk", lambda: (words.least_risk([1]), words.path_through(0)))
    run("CTC prefix beam search", prefix_beam_search, log_probs, lengths, 2)
    run("CTC alignment", align_ctc, log_probs[0], [1])
    for dtype in (np.float32, np.float64):
        run(f"totals, {dtype.__name__}", _totals, lattice, dtype)
        px, py = np.zeros((1, 1, 3), dtype), np.zeros((1, 2, 2), dtype)
        box = np.array([[0, 0, 1, 2]])
        run(f"RNN-T recursion, {dtype.__name__}", mutual_information, px, py, box)
        run(f"RNN-T loss, {dtype.__name__}", _rnnt, box, dtype)
        scores, target = log_probs.astype(dtype), np.array([[1]])
        counts = np.array([1])
        run(f"CTC loss, {dtype.__name__}", ctc, scores, lengths, target, counts)
        own = [decoding.scores.astype(dtype)]
        run(f"totals of graphs, {dtype.__name__}", dense_totals, [decoding], own, scores, lengths)
    run("transducer streams", _streams, graph, log_probs[0])
    arc = (np.array([0, 1, 1]), np.array([1]), np.zeros(1))
    run("paths of sequences", listed_paths, arc, *[(np.array([0, 1]), np.array([1]))] * 2)


def _totals(lattice, dtype) -> None:
    splits = np.array([[0, lattice.num_states], [0, len(lattice.src)]])
    arcs = Arcs(lattice.src, lattice.dst, lattice.scores.astype(dtype), *splits)
    best_paths(arcs)
    sample_paths(arcs, 1)
    for log_semiring in (False, True):
        for scores, gradient in (
            (forward_scores, forward_gradient),
            (backward_scores, backward_gradient),
        ):
            totals, chosen = scores(arcs, log_semiring)
            gradient(arcs, totals, chosen, np.ones_like(totals))


def _rnnt(box, dtype) -> None:
    logits = np.zeros((1, 2, 2, 3), dtype)
    begins = np.zeros((1, 2), np.int64)
    _, saved = pruned(logits, np.array([[1]]), begins, box, 0, REGULAR)
    pruned_gradient(saved, np.ones(1, dtype))
    exp_rows(logits.reshape(-1, 3))


def _streams(graph: Graph, log_probs: np.ndarray) -> None:
    keys, splits = np.zeros(1, np.int64), np.array([0, 1])
    rows, _, _ = contexts_of(keys, splits, np.array([graph.num_states]))
    arrays = (graph.row_splits.astype(np.int64), graph.dst, graph.labels, graph.scores)
    state = (keys, np.zeros(1), splits, rows)
    listed = Listed(no_phrases(), graph.aux_splits, graph.aux_values)
    for phrases in (None, listed):
        advance(arrays, state, log_probs, 3, 3, 20, 4, 4, phrases)
    ended(listed, keys, np.zeros(1, np.int32))


def _phrases() -> None:
    none, one = no_phrases(), np.ones(1, np.int64)
    connect_phrases(none.first, none.symbol, none.root, one[:0], one[:0], np.zeros(0))
    steps(none, one - 1, one, np.zeros(1, np.int64), np.zeros(1))
    fill_rows(none, one - 1, np.zeros((1, 2), np.float32))
