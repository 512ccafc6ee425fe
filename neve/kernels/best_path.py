"""Best paths of dense scores through a graph, with a back-pointer a state instead of a lattice.

Back-pointers that no active state leads to any more are thrown away as the search goes on, so that
what it holds does not grow with the recording, but for the path itself.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from neve.kernels.graph import Graph
from neve.kernels.token_passing import (
    arcs_back,
    can_end,
    candidate_arrays,
    candidates,
    checked,
    count_arcs,
    each_row,
    fill_frame,
    next_beam,
    room_for_candidates,
    room_for_tokens,
)


class Path(NamedTuple):
    """A best path; no arcs and score -inf if there is none.

    arcs (T+1,) int32: indices into the graph's arcs, one a frame and the final one, labelled -1. A
      path that was cut short (allow_partial) has T arcs.
    score: the sum of the arc scores as it was made, in float32; of a path that was cut short, with
      the best graph score by which it could have gone on, as in k2.
    arc_scores, as long as arcs, float32: graph score plus log-probability.
    """

    arcs: np.ndarray
    score: float
    arc_scores: np.ndarray

    @classmethod
    def of(cls, graph: Graph, arcs: np.ndarray, score: float, log_probs: np.ndarray) -> "Path":
        """The path of an arc for each of (T, C) log-probabilities and one more, or of none."""
        if len(arcs) and graph.labels[arcs[-1]] != -1:
            arcs = arcs[:-1]  # cut short
        arc_scores = graph.scores[arcs]
        frames = np.arange(min(len(arcs), len(log_probs)))
        arc_scores[frames] += log_probs[frames, graph.labels[arcs[frames]]]
        return cls(arcs, score, arc_scores)


@njit(cache=True, nogil=True)
def _best_path(
    rows,
    dst,
    labels,
    scores,
    log_probs,
    length,
    search_beam,
    min_active,
    max_active,
    allow_partial,
    slot,
):
    """(arcs of the best path, its score). `slot` (S,) int32 is -1 everywhere, and left so."""
    num_frames = length + 1
    states = np.zeros(1, np.int32)
    forward = np.zeros(1, np.float32)
    frame_scores = np.empty(log_probs.shape[1] + 1, np.float32)
    # back-pointers of the tokens; those of the frame begin..total-1 are active, 0 is the start
    begin, total = 0, 1
    back_arc = np.zeros(1 << 15, np.int32)
    back_token = np.zeros(1 << 15, np.int32)
    ends, arcs, tokens = candidate_arrays()
    final = len(rows) - 2
    beam = search_beam
    for t in range(num_frames):
        last = t == num_frames - 1
        partial = last and allow_partial and not can_end(rows, labels, states)
        fill_frame(frame_scores, log_probs, t, last, partial)
        beam = next_beam(beam, search_beam, len(states), t, num_frames, min_active, max_active)
        ends, arcs, tokens = room_for_candidates(ends, arcs, tokens, count_arcs(rows, states))
        n, best = candidates(
            rows, labels, scores, states, forward, frame_scores, beam, ends, arcs, tokens
        )
        cut = best - beam
        back_arc, back_token, begin, total = room_for_tokens(back_arc, back_token, begin, total, n)
        new_states = np.empty(n, np.int32)
        new_forward = np.empty(n, np.float32)
        num_new = 0
        for i in range(n):
            if ends[i] > cut:
                d = final if partial else dst[arcs[i]]
                j = slot[d]
                if j < 0:
                    j = num_new
                    num_new += 1
                    slot[d] = j
                    new_states[j] = d
                elif ends[i] < new_forward[j]:
                    continue
                new_forward[j] = ends[i]
                back_arc[total + j] = arcs[i]
                back_token[total + j] = begin + tokens[i]
        for j in range(num_new):
            slot[new_states[j]] = -1
        begin = total
        total += num_new
        states, forward = new_states[:num_new], new_forward[:num_new]
        if num_new == 0:
            return np.empty(0, np.int32), np.float32(-np.inf)
    return arcs_back(back_arc, back_token, total - 1, num_frames), forward[0]


def one_best(
    graph: Graph,
    log_probs: np.ndarray,
    lengths: np.ndarray,
    search_beam: float = 20.0,
    min_active: int = 30,
    max_active: int = 10000,
    allow_partial: bool = False,
    threads: int | None = None,
) -> list[Path]:
    """The best path of each row through `graph`: what shortest_path finds in the whole lattice.

    log_probs (N, T, C) float32; lengths (N,) are frames used, 0..T. min_active and max_active are
    numbers of states between which the beam, search_beam at first, tries to keep each frame.
    allow_partial ends a path anywhere if none is at an end in the last frame.

    Raises NeveError for NaN, shapes that do not fit, and labels that log_probs has no class for.
    """
    log_probs, lengths = checked(
        graph.max_label, log_probs, lengths, search_beam=search_beam, max_active=max_active
    )

    def search(row, slot):
        if graph.num_states < 2:
            return Path(np.empty(0, np.int32), -np.inf, np.empty(0, np.float32))
        arcs, score = _best_path(
            graph.row_splits,
            graph.dst,
            graph.labels,
            graph.scores,
            log_probs[row],
            int(lengths[row]),
            np.float32(search_beam),
            int(min_active),
            int(max_active),
            bool(allow_partial),
            slot,
        )
        return Path.of(graph, arcs, float(score), log_probs[row, : lengths[row]])

    return each_row(search, len(log_probs), graph.num_states, threads)
