"""Forward and backward scores of acyclic automata, their gradients, and best paths.

Automata lie after one another: automaton i has the arcs arc_splits[i]..arc_splits[i+1], sorted by
source and leading to higher states only, and the states state_splits[i]..state_splits[i+1], the
first of which is the start and the last the final one; src and dst (A,) int32 are numbered within
each automaton. In the log semiring scores add up as probabilities do, in the tropical the best
counts. All float arrays are of one dtype.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.kernels.mutual_information import log_add
from neve.kernels.threads import for_each, num_threads


class Arcs(NamedTuple):
    """The arcs of several automata; see above."""

    src: np.ndarray
    dst: np.ndarray
    scores: np.ndarray
    state_splits: np.ndarray
    arc_splits: np.ndarray


def _over_automata(arcs: Arcs, compute) -> None:
    """compute(first, last) over ranges of automata with about equally many arcs, on threads."""
    count = len(arcs.arc_splits) - 1
    num_arcs = int(arcs.arc_splits[-1])
    parts = min(count, 1 if num_arcs < 10_000 else 4 * num_threads())
    cuts = np.searchsorted(arcs.arc_splits, np.linspace(0, num_arcs, parts + 1)[1:-1])
    cuts = np.concatenate(([0], cuts, [count]))
    for_each(parts, lambda i: compute(cuts[i], cuts[i + 1]))


@njit(cache=True, nogil=True)
def _forward(arcs, first, last, log_semiring, forward, entering):
    src, dst, scores, state_splits, arc_splits = arcs
    for i in range(first, last):
        base = state_splits[i]
        if state_splits[i + 1] > base:
            forward[base] = 0
        for e in range(arc_splits[i], arc_splits[i + 1]):
            score = forward[base + src[e]] + scores[e]
            d = base + dst[e]
            if log_semiring:
                forward[d] = log_add(forward[d], score)
            elif score >= forward[d] and score > -np.inf:
                forward[d] = score
                entering[d] = e


@njit(cache=True, nogil=True)
def _backward(arcs, first, last, log_semiring, backward, leaving):
    src, dst, scores, state_splits, arc_splits = arcs
    for i in range(first, last):
        base = state_splits[i]
        if state_splits[i + 1] > base:
            backward[state_splits[i + 1] - 1] = 0
        for e in range(arc_splits[i + 1] - 1, arc_splits[i] - 1, -1):
            score = backward[base + dst[e]] + scores[e]
            s = base + src[e]
            if log_semiring:
                backward[s] = log_add(backward[s], score)
            elif score > backward[s]:
                backward[s] = score
                leaving[s] = e


def _scores(kernel, arcs: Arcs, log_semiring: bool) -> tuple[np.ndarray, np.ndarray | None]:
    num_states = int(arcs.state_splits[-1])
    totals = np.full(num_states, -np.inf, arcs.scores.dtype)
    chosen = np.full(0 if log_semiring else num_states, -1, np.int32)
    _over_automata(arcs, lambda i, j: kernel(arcs, i, j, log_semiring, totals, chosen))
    return totals, None if log_semiring else chosen


def forward_scores(arcs: Arcs, log_semiring: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(scores (S,), arcs (S,) int32): of each state the total over the paths from the start.

    -inf where there is none. In the tropical semiring also the arc by which the best path enters
    the state, -1 where there is none; of equally good ones it is that with the largest index, as in
    k2. In the log semiring None.
    """
    return _scores(_forward, arcs, log_semiring)


def backward_scores(arcs: Arcs, log_semiring: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(scores (S,), arcs (S,) int32): of each state the total over the paths to the final state.

    In the tropical semiring also the arc by which the best path leaves (of equal ones, that with
    the largest index).
    """
    return _scores(_backward, arcs, log_semiring)


@njit(cache=True, nogil=True)
def _forward_gradient(arcs, first, last, forward, entering, state_grad, arc_grad):
    src, dst, scores, state_splits, arc_splits = arcs
    for i in range(first, last):
        base = state_splits[i]
        for e in range(arc_splits[i + 1] - 1, arc_splits[i] - 1, -1):
            s, d = base + src[e], base + dst[e]
            if state_grad[d] == 0 or forward[d] == -np.inf:
                continue
            if len(entering) > 0:
                share = 1.0 if entering[d] == e else 0.0
            else:
                share = math.exp(forward[s] + scores[e] - forward[d])
            arc_grad[e] = share * state_grad[d]
            state_grad[s] += arc_grad[e]


@njit(cache=True, nogil=True)
def _backward_gradient(arcs, first, last, backward, leaving, state_grad, arc_grad):
    src, dst, scores, state_splits, arc_splits = arcs
    for i in range(first, last):
        base = state_splits[i]
        for e in range(arc_splits[i], arc_splits[i + 1]):
            s, d = base + src[e], base + dst[e]
            if state_grad[s] == 0 or backward[s] == -np.inf:
                continue
            if len(leaving) > 0:
                share = 1.0 if leaving[s] == e else 0.0
            else:
                share = math.exp(backward[d] + scores[e] - backward[s])
            arc_grad[e] = share * state_grad[s]
            state_grad[d] += arc_grad[e]


def _gradient(kernel, arcs: Arcs, totals, chosen, state_grad) -> np.ndarray:
    chosen = np.empty(0, np.int32) if chosen is None else chosen
    state_grad = np.array(state_grad, totals.dtype)
    arc_grad = np.zeros(len(arcs.src), totals.dtype)
    _over_automata(arcs, lambda i, j: kernel(arcs, i, j, totals, chosen, state_grad, arc_grad))
    return arc_grad


def forward_gradient(
    arcs: Arcs, totals: np.ndarray, chosen: np.ndarray | None, state_grad: np.ndarray
) -> np.ndarray:
    """(A,): gradient of the arc scores, given that of what `forward_scores` returned."""
    return _gradient(_forward_gradient, arcs, totals, chosen, state_grad)


def backward_gradient(
    arcs: Arcs, totals: np.ndarray, chosen: np.ndarray | None, state_grad: np.ndarray
) -> np.ndarray:
    """(A,): gradient of the arc scores, given that of what `backward_scores` returned."""
    return _gradient(_backward_gradient, arcs, totals, chosen, state_grad)


@njit(cache=True, nogil=True)
def _trace(src, state_splits, entering, lengths, path):
    """Writes best paths into `path` from its end; returns where they begin."""
    n = len(path)
    for i in range(len(lengths) - 1, -1, -1):
        base = state_splits[i]
        state = state_splits[i + 1] - 1 - base
        lengths[i] = 0
        if state <= 0 or entering[base + state] < 0:
            continue
        while state > 0:
            e = entering[base + state]
            n -= 1
            path[n] = e
            lengths[i] += 1
            state = src[e]
    return n


def best_paths(arcs: Arcs) -> tuple[np.ndarray, np.ndarray]:
    """(lengths (N,), arcs int32): the best path of each automaton, none where there is none."""
    _, entering = forward_scores(arcs, log_semiring=False)
    lengths = np.zeros(len(arcs.arc_splits) - 1, np.int64)
    path = np.empty(int(arcs.state_splits[-1]), np.int32)
    begin = _trace(arcs.src, arcs.state_splits, entering, lengths, path)
    return lengths, path[begin:]


@njit(cache=True, nogil=True)
def _sample(arcs, backward, automaton, num_paths, lengths, path):
    """The paths of one automaton, one after another in `path`; returns what is filled of it."""
    src, dst, scores, state_splits, arc_splits = arcs
    base, first = state_splits[automaton], arc_splits[automaton]
    num_states = state_splits[automaton + 1] - base
    rows = np.zeros(num_states + 1, np.int64)
    for e in range(first, arc_splits[automaton + 1]):
        rows[src[e] + 1] += 1
    rows[0] = first
    for s in range(num_states):
        rows[s + 1] += rows[s]
    # where the share of each arc ends, among those that leave its state; found when first needed
    upper = np.full(arc_splits[automaton + 1] - first if num_paths > 0 else 0, -1.0)
    n = 0
    for j in range(num_paths):
        p = (j + 0.5) / num_paths
        state = 0
        begin = n
        while state != num_states - 1:
            here, end = rows[state], rows[state + 1]
            if upper[here - first] < 0:
                mass = 0.0
                for e in range(here, end):
                    mass += math.exp(scores[e] + backward[base + dst[e]] - backward[base + state])
                    upper[e - first] = mass
                for e in range(here, end):
                    upper[e - first] /= mass
            low, high, chosen, bound = 0.0, 0.0, -1, 0.0
            for e in range(here, end):
                if upper[e - first] > bound:  # an arc without a share is never taken
                    low, high, chosen = bound, upper[e - first], e
                    if p < high:
                        break
                    bound = high
            if n == len(path):
                larger = np.empty(2 * len(path), path.dtype)
                larger[:n] = path
                path = larger
            path[n] = chosen
            n += 1
            p = min(max((p - low) / (high - low), 0.0), 1.0)
            state = dst[chosen]
        lengths[j] = n - begin
    return path[:n]


def sample_paths(arcs: Arcs, num_paths: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(paths of each automaton (N,), length of each path, arcs int32): FSA-SPEC section 13.

    The paths are spread evenly over the probability mass, without random numbers; an automaton
    without any path has none, the others num_paths each, with repetitions.
    """
    backward, _ = backward_scores(arcs, log_semiring=True)
    starts, ends = arcs.state_splits[:-1], arcs.state_splits[1:]
    alive = np.zeros(len(starts), bool)
    alive[ends > starts] = backward[starts[ends > starts]] > -np.inf
    lengths = np.zeros((len(starts), num_paths), np.int64)

    def automaton(i: int) -> np.ndarray:
        room = np.empty(1024, np.int32)
        return _sample(arcs, backward, i, num_paths if alive[i] else 0, lengths[i], room)

    paths = for_each(len(starts), automaton)
    flat = np.concatenate([*paths, np.empty(0, np.int32)])
    return alive * num_paths, lengths[alive].reshape(-1), flat
