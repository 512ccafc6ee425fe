"""Dense scores intersected with a graph, keeping what is near the best path.

All states of the graph are followed through all frames, forwards and backwards (tropical, float32);
nothing is pruned on the way. It is k2's intersect_dense: FSA-SPEC section 10.
"""

import math

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import Graph
from neve.kernels.search import Lattice
from neve.kernels.threads import for_each


@njit(cache=True, nogil=True)
def _score(label, score, log_probs, t):
    if t == len(log_probs):
        return score if label < 0 else np.float32(-np.inf)
    return score + log_probs[t, label] if label >= 0 else np.float32(-np.inf)


@njit(cache=True, nogil=True)
def _trellis(rows, dst, labels, scores, log_probs):
    """(forward, backward), both (T + 2, S): best scores to and from each state in each frame."""
    length, states = len(log_probs), len(rows) - 1
    forward = np.full((length + 2, states), np.float32(-np.inf), np.float32)
    backward = np.full((length + 2, states), np.float32(-np.inf), np.float32)
    forward[0, 0] = 0.0
    backward[length + 1, states - 1] = 0.0
    for t in range(length + 1):
        for s in range(states):
            if forward[t, s] == -np.inf:
                continue
            for e in range(rows[s], rows[s + 1]):
                end = forward[t, s] + _score(labels[e], scores[e], log_probs, t)
                if end > forward[t + 1, dst[e]]:
                    forward[t + 1, dst[e]] = end
    for t in range(length, -1, -1):
        for s in range(states):
            best = np.float32(-np.inf)
            for e in range(rows[s], rows[s + 1]):
                best = max(
                    best, backward[t + 1, dst[e]] + _score(labels[e], scores[e], log_probs, t)
                )
            backward[t, s] = best
    return forward, backward


@njit(cache=True, nogil=True)
def _kept(rows, dst, labels, scores, log_probs, forward, backward, beam, write, src_out, dst_out,
          arc_out, score_out, frame_out, number):  # fmt: skip
    """(states kept, arcs kept) within the beam; written down if `write`."""
    length, states = len(log_probs), len(rows) - 1
    cut = min(forward[length + 1, states - 1], backward[0, 0]) - beam
    num_states, num_arcs = 0, 0
    for t in range(length + 2):
        for s in range(states):
            number[t % 2, s] = -1
            if forward[t, s] + backward[t, s] > cut:
                number[t % 2, s] = num_states
                num_states += 1
        if t == 0:
            continue
        for s in range(states):
            if number[(t - 1) % 2, s] < 0:
                continue
            for e in range(rows[s], rows[s + 1]):
                d = dst[e]
                if number[t % 2, d] < 0:
                    continue
                score = _score(labels[e], scores[e], log_probs, t - 1)
                if forward[t - 1, s] + score + backward[t, d] > cut:
                    if write:
                        src_out[num_arcs] = number[(t - 1) % 2, s]
                        dst_out[num_arcs] = number[t % 2, d]
                        arc_out[num_arcs] = e
                        score_out[num_arcs] = score
                        frame_out[num_arcs] = t - 1
                    num_arcs += 1
    return num_states, num_arcs


def intersect_dense(
    graphs: list[Graph],
    log_probs: list[np.ndarray],
    output_beam: float,
    max_states: int,
    max_arcs: int,
) -> list[Lattice]:
    """The lattice of each graph and its (T, C) float32 scores: what lies within output_beam.

    States are kept whose best path is less than output_beam worse than the best of all, and arcs
    alike. If there are more than max_states or max_arcs in all lattices together, the beam is made
    narrower until there are not.
    """
    trellises = for_each(
        len(graphs),
        lambda n: _trellis(*_arrays(graphs[n]), log_probs[n]) if graphs[n].num_states > 1 else None,
    )
    none = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32),
            np.empty(0, np.float32), np.empty(0, np.int32))  # fmt: skip

    def kept(n: int, beam: float, out=None) -> tuple[int, int]:
        if trellises[n] is None:
            return 0, 0
        number = np.empty((2, graphs[n].num_states), np.int32)
        return _kept(
            *_arrays(graphs[n]), log_probs[n], *trellises[n], np.float32(beam), out is not None,
            *(out or none), number,
        )  # fmt: skip

    beam = output_beam
    while True:
        counts = for_each(len(graphs), lambda n, beam=beam: kept(n, beam))
        states, arcs = (sum(column) for column in zip(*counts)) if counts else (0, 0)
        excess = max(states / max_states, arcs / max_arcs)
        if excess <= 1:
            break
        beam *= min(max(math.sqrt(1 / excess), 0.25), 0.75)
        if beam < 0.01:  # rounding would break the best paths themselves
            raise NeveError(
                f"max_states, max_arcs: even the best paths have {states} states and {arcs} arcs"
            )

    def lattice(n: int) -> Lattice:
        num_states, num_arcs = counts[n]
        out = tuple(np.empty(num_arcs, array.dtype) for array in none)
        kept(n, beam, out)
        src, dst, arc_map, scores, frames = out
        return Lattice(num_states, src, dst, graphs[n].labels[arc_map], scores, arc_map, frames)

    return for_each(len(graphs), lattice)


def _arrays(graph: Graph) -> tuple[np.ndarray, ...]:
    return graph.row_splits, graph.dst, graph.labels, graph.scores
