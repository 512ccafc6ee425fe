"""Totals and best paths of acyclic graphs, given as arcs sorted by source."""

import numpy as np
from numba import njit


def is_top_sorted(src: np.ndarray, dst: np.ndarray) -> bool:
    """Whether every arc leads to a state of a higher number (so that there is no cycle)."""
    return bool(np.all(src < dst))


@njit(cache=True, nogil=True)
def _forward(src, dst, scores, forward, log_semiring):
    for e in range(len(src)):
        d = dst[e]
        score = forward[src[e]] + scores[e]
        if not log_semiring:
            if score > forward[d]:
                forward[d] = score
        elif score > -np.inf:
            high, low = max(score, forward[d]), min(score, forward[d])
            forward[d] = high + np.log1p(np.exp(low - high))


def forward_scores(
    num_states: int,
    src: np.ndarray,
    dst: np.ndarray,
    scores: np.ndarray,
    log_semiring: bool,
    dtype=np.float64,
) -> np.ndarray:
    """(S,) of `dtype`: for each state the best (tropical) or the log-sum-exp (log) of the scores of
    the paths from the start; -inf where there is none.

    Arcs must be sorted by source and topologically (`is_top_sorted`).
    """
    forward = np.full(num_states, -np.inf, dtype)
    forward[:1] = 0
    _forward(src, dst, scores.astype(dtype, copy=False), forward, log_semiring)
    return forward


@njit(cache=True, nogil=True)
def _enter(src, dst, scores, forward, entering):
    for e in range(len(src)):
        score = forward[src[e]] + scores[e]
        if score >= forward[dst[e]] and score > -np.inf:
            forward[dst[e]] = score
            entering[dst[e]] = e


def best_path(
    num_states: int, src: np.ndarray, dst: np.ndarray, scores: np.ndarray, dtype=np.float64
) -> np.ndarray:
    """The arcs (int32) of the best path from the start to the last state, none if there is none.

    Of arcs that are equally good for a state the one with the largest index wins, as in k2. Arcs
    must be sorted by source and topologically.
    """
    forward = np.full(num_states, -np.inf, dtype)
    forward[:1] = 0
    entering = np.full(num_states, -1, np.int32)
    _enter(src, dst, scores.astype(dtype, copy=False), forward, entering)
    path = []
    state = num_states - 1
    while state > 0:
        arc = entering[state]
        if arc < 0:
            return np.empty(0, np.int32)
        path.append(arc)
        state = src[arc]
    return np.array(path[::-1], np.int32)
