"""The log-sum over all paths of a graph through dense scores, with gradients, and no lattice.

A path takes one arc of the graph in each frame, which scores graph score + log-probability of its
label, and an arc labelled -1 after the last. Totals are in float64.
"""

import math

import numpy as np
from numba import njit

from neve.kernels.graph import Graph
from neve.kernels.structure import group_by, splits_of
from neve.kernels.threads import for_each


@njit(cache=True, nogil=True)
def _score(e, labels, scores, bonus, log_probs, t, delay):
    """Score of arc e in frame t; in the frame after the last only arcs labelled -1 have one."""
    if t == len(log_probs):
        return scores[e] if labels[e] < 0 else -np.inf
    if labels[e] < 0:
        return -np.inf
    return scores[e] + log_probs[t, labels[e]] + bonus[e] * delay


@njit(cache=True, nogil=True)
def _total(
    splits, order, src, dst, labels, scores, bonus, log_probs, delay_penalty, want, grad, arc_grad
):
    """The total; if wanted, its gradients are added to grad (T, C) and arc_grad (A,).

    `order` has the arcs sorted by destination, those of state s from splits[s].
    """
    length, states = len(log_probs), len(splits) - 1
    forward = np.full((length + 2, states), -np.inf)
    forward[0, 0] = 0.0
    middle = length // 2
    for t in range(length + 1):
        delay = delay_penalty * (middle - t)
        for s in range(states):
            high = -np.inf
            for k in range(splits[s], splits[s + 1]):
                e = order[k]
                if forward[t, src[e]] > -np.inf:
                    end = forward[t, src[e]] + _score(e, labels, scores, bonus, log_probs, t, delay)
                    if end != end:
                        return np.nan
                    high = max(high, end)
            if high == -np.inf:
                continue
            if high == np.inf:
                return np.nan
            mass = 0.0
            for k in range(splits[s], splits[s + 1]):
                e = order[k]
                if forward[t, src[e]] > -np.inf:
                    end = forward[t, src[e]] + _score(e, labels, scores, bonus, log_probs, t, delay)
                    mass += math.exp(end - high)
            forward[t + 1, s] = high + math.log(mass)
    total = forward[length + 1, states - 1]
    if not want or total == -np.inf:
        return total
    occupied = np.zeros(states)
    occupied[states - 1] = 1.0
    for t in range(length, -1, -1):
        delay = delay_penalty * (middle - t)
        earlier = np.zeros(states)
        for s in range(states):
            if occupied[s] == 0.0:
                continue
            for k in range(splits[s], splits[s + 1]):
                e = order[k]
                if forward[t, src[e]] > -np.inf:
                    end = forward[t, src[e]] + _score(e, labels, scores, bonus, log_probs, t, delay)
                    share = occupied[s] * math.exp(end - forward[t + 1, s])
                    earlier[src[e]] += share
                    arc_grad[e] += share
                    if t < length:
                        grad[t, labels[e]] += share
        occupied = earlier
    return total


def dense_totals(
    graphs: list[Graph],
    scores: list[np.ndarray],
    log_probs: np.ndarray,
    lengths: np.ndarray,
    delay_penalty: float = 0.0,
    want_grad: bool = True,
) -> tuple[np.ndarray, np.ndarray | None, list[np.ndarray]]:
    """(totals (N,), gradient of their sum (N, T, C) or None, gradient of each graph's scores).

    One graph for each row of log_probs (N, T, C), of which lengths (N,) frames count; `scores` are
    those of its arcs, float32 or float64, and take the place of the graph's own. Arcs that emit a
    label above 0 get delay_penalty * (length // 2 - frame). A row without a path has total -inf and
    gradient 0; NaN or +inf where it counts gives NaN.
    """
    totals = np.empty(len(log_probs), log_probs.dtype)
    grad = np.zeros_like(log_probs) if want_grad else None
    none = np.empty((0, 0), log_probs.dtype)
    arc_grads = [np.zeros(graph.num_arcs) for graph in graphs]

    def row(n: int) -> None:
        graph = graphs[n]
        if graph.num_states < 2:
            totals[n] = -np.inf
            return
        order = group_by(graph.dst, graph.num_states)
        splits = splits_of(graph.dst, graph.num_states)
        emits = np.concatenate(([0], np.cumsum(graph.aux_values > 0)))[graph.aux_splits]
        totals[n] = _total(
            splits, order, graph.src, graph.dst, graph.labels, scores[n],
            (np.diff(emits) > 0).astype(np.float64), log_probs[n, : lengths[n]],
            float(delay_penalty), want_grad, grad[n] if want_grad else none, arc_grads[n],
        )  # fmt: skip

    for_each(len(totals), row)
    return totals, grad, arc_grads
