"""Pruned lattices of dense scores through a graph: whole recordings at once.

All arcs between active states are kept (see `token_passing`) and pruned backwards: exactly, or with
k2's windows. `neve.kernels.online_search` goes on from chunk to chunk with the same steps.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import Graph
from neve.kernels.token_passing import (
    can_end,
    candidate_arrays,
    candidates,
    checked,
    count_arcs,
    each_row,
    fill_frame,
    next_beam,
    room_for_candidates,
    room_in_trellis,
)

# Backward pruning runs over windows of this many frames, each STEP frames after the one before.
WINDOW, STEP = 30, 20
# What is dropped before the whole is known may be off by rounding, so it is dropped later by this.
SLACK = np.float32(1.0)


@dataclasses.dataclass
class Lattice:
    """The arcs of a pruned search, numbered so that they are sorted by source and topologically.

    src, dst (A,) int32: states; 0 is the start, num_states - 1 the final state
    labels (A,) int32, scores (A,) float32: graph score plus log-probability
    arc_map (A,) int32: the graph's arc, -1 for the added end of a partial path
    frames (A,) int32: the frame that each arc consumes; the last, T, is that of the arcs -1
    """

    num_states: int
    src: np.ndarray
    dst: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    arc_map: np.ndarray
    frames: np.ndarray


class Trellis(NamedTuple):
    """What a search has kept up to frame F; states are numbered by frame, arcs by theirs.

    first (F+2,) int64: the states of frame t begin at first[t]; arc_first (F+1,) int64 likewise the
    arcs that leave frame t. states int32 are the graph's, forward float32 their best scores; src,
    dst, arcs int32 and scores float32 are the arcs: from and to, the graph's arc, and the sum of
    graph score and log-probability.
    """

    first: np.ndarray
    states: np.ndarray
    forward: np.ndarray
    arc_first: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    arcs: np.ndarray
    scores: np.ndarray

    def copy(self) -> "Trellis":
        return Trellis(*map(np.copy, self))


def start_of_search() -> Trellis:
    """The start state, before any frame."""
    none = np.zeros(0, np.int32)
    return Trellis(
        np.array([0, 1]), np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1, np.int64),
        none, none, none, np.zeros(0, np.float32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def prune_tail(first, begin, end, forward, states, arc_first, src, dst, arcs, scores, beam):
    """Backward pruning of the frames begin..end-1, where `end` is the last frame there is.

    Every state of frame `end` counts as though it lay on the best path. An arc is dropped if the
    best path through it, from frame `begin`'s states on, is worse by more than `beam`; states
    without arcs go, but for those of frame `begin`. Arrays are compacted in place. Returns
    (states, arcs) that there are then.
    """
    lo, hi = first[begin], first[end + 1]
    backward = np.full(hi - lo, -np.inf, np.float32)
    keep = np.zeros(arc_first[end] - arc_first[begin], np.bool_)
    for k in range(first[end], hi):
        backward[k - lo] = -forward[k]
    for t in range(end - 1, begin - 1, -1):
        for e in range(arc_first[t], arc_first[t + 1]):
            b = scores[e] + backward[dst[e] - lo]
            if b + forward[src[e]] >= -beam:
                keep[e - arc_first[begin]] = True
                if b > backward[src[e] - lo]:
                    backward[src[e] - lo] = b
    number = np.empty(hi - lo, np.int32)
    n = lo
    for t in range(begin, end + 1):
        k0, k1 = first[t], first[t + 1]
        first[t] = n
        for k in range(k0, k1):
            number[k - lo] = -1
            if t == begin or t == end or backward[k - lo] > -np.inf:
                number[k - lo] = n
                states[n], forward[n] = states[k], forward[k]
                n += 1
    num_states = n
    first[end + 1] = n
    m = arc_first[begin]
    offset = m
    for t in range(begin, end):
        e0, e1 = arc_first[t], arc_first[t + 1]
        arc_first[t] = m
        for e in range(e0, e1):
            if keep[e - offset]:
                src[m], dst[m] = number[src[e] - lo], number[dst[e] - lo]
                arcs[m], scores[m] = arcs[e], scores[e]
                m += 1
    arc_first[end] = m
    return num_states, m


@njit(cache=True, nogil=True)
def _connect(graph_dst, labels, graph_scores, frame_scores, end_state, cut, reach, slot, begin,
             ends, found, tokens, n, num_states, states, forward, num_arcs, src, dst, arcs,
             scores):  # fmt: skip
    """Adds the states that the n candidates (ends, found, tokens) reach above cut, and their arcs.

    All of them lead to end_state if it is not negative. Arcs that are worse by more than `reach`
    than the best into their state are left out. The arrays have room. Returns (states, arcs).
    """
    first_new = num_states
    for i in range(n):
        if ends[i] > cut:
            d = graph_dst[found[i]] if end_state < 0 else end_state
            j = slot[d]
            if j < 0:
                slot[d] = num_states
                states[num_states], forward[num_states] = d, ends[i]
                num_states += 1
            elif ends[i] > forward[j]:
                forward[j] = ends[i]
    for i in range(n):
        e = found[i]
        j = slot[graph_dst[e] if end_state < 0 else end_state]
        if j >= 0 and ends[i] >= forward[j] - reach:
            src[num_arcs], dst[num_arcs], arcs[num_arcs] = begin + tokens[i], j, e
            scores[num_arcs] = graph_scores[e] + frame_scores[labels[e] + 1]
            num_arcs += 1
    for k in range(first_new, num_states):
        slot[states[k]] = -1
    return num_states, num_arcs


@njit(cache=True, nogil=True)
def extend(rows, graph_dst, labels, graph_scores, log_probs, count, num_frames, search_beam,
           output_beam, min_active, max_active, allow_partial, in_windows, beam, slot,
           first, states, forward, arc_first, src, dst, arcs, scores):  # fmt: skip
    """(beam, and the trellis with `count` more frames), pruned in windows if so wanted.

    The last of all num_frames frames is that of the arcs labelled -1; log_probs begins with the
    first of the new ones. `slot` (S,) int32 is -1 everywhere, and left so.
    """
    t0 = len(arc_first) - 1
    num_states, num_arcs = len(states), len(src)
    more = np.empty(count, np.int64)
    first = np.concatenate((first, more))
    arc_first = np.concatenate((arc_first, more))
    frame_scores = np.empty(log_probs.shape[1] + 1, np.float32)
    ends, found, tokens = candidate_arrays()
    reach = output_beam + SLACK
    window = STEP - WINDOW
    for t in range(t0, t0 + count):
        last = t == num_frames - 1
        active = states[first[t] : num_states]
        partial = last and allow_partial and not can_end(rows, labels, active)
        fill_frame(frame_scores, log_probs, t - t0, last, partial)
        beam = next_beam(beam, search_beam, len(active), t, num_frames, min_active, max_active)
        ends, found, tokens = room_for_candidates(ends, found, tokens, count_arcs(rows, active))
        # what is worse than the beam may still enter a state that something better reaches
        n, best = candidates(
            rows, labels, graph_scores, active, forward[first[t] : num_states], frame_scores,
            beam + reach, ends, found, tokens,
        )  # fmt: skip
        states, forward, src, dst, arcs, scores = room_in_trellis(
            states, forward, num_states, src, dst, arcs, scores, num_arcs, n
        )
        num_states, num_arcs = _connect(
            graph_dst, labels, graph_scores, frame_scores, len(rows) - 2 if partial else -1,
            best - beam, reach, slot, first[t], ends, found, tokens, n, num_states, states,
            forward, num_arcs, src, dst, arcs, scores,
        )  # fmt: skip
        first[t + 2], arc_first[t + 1] = num_states, num_arcs
        if in_windows and (last or t + 1 == window + WINDOW):
            num_states, num_arcs = prune_tail(
                first, max(window, 0), t + 1, forward, states, arc_first, src, dst, arcs, scores,
                output_beam,
            )  # fmt: skip
            window += STEP
    return (
        beam, first, states[:num_states], forward[:num_states], arc_first, src[:num_arcs],
        dst[:num_arcs], arcs[:num_arcs], scores[:num_arcs],
    )  # fmt: skip


def pruned(trellis: Trellis, begin: int, beam: float) -> Trellis:
    """What remains when the frames from `begin` on are pruned; the arrays given are used up."""
    first, states, forward, arc_first, src, dst, arcs, scores = trellis
    num_states, num_arcs = prune_tail(
        first, begin, len(arc_first) - 1, forward, states, arc_first, src, dst, arcs, scores,
        np.float32(beam),
    )  # fmt: skip
    return Trellis(
        first, *(x[:num_states].copy() for x in (states, forward)), arc_first,
        *(x[:num_arcs].copy() for x in (src, dst, arcs, scores)),
    )  # fmt: skip


def as_lattice(graph: Graph, trellis: Trellis, exact: bool) -> Lattice:
    """The lattice of a trellis whose last frame is that of the arcs labelled -1."""
    num_states = len(trellis.states)
    if num_states == 0 or trellis.states[-1] != graph.num_states - 1:
        if exact:
            return empty_lattice()
        num_states += 1  # a final state that nothing enters
    counts = np.diff(trellis.arc_first)
    frames = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    labels, arc_map = graph.labels[trellis.arcs], trellis.arcs.copy()
    partial = (frames == len(counts) - 1) & (labels != -1)
    labels[partial] = -1
    arc_map[partial] = -1
    return Lattice(num_states, trellis.src, trellis.dst, labels, trellis.scores, arc_map, frames)


def empty_lattice() -> Lattice:
    none = np.empty(0, np.int32)
    return Lattice(0, none, none, none, np.empty(0, np.float32), none, none)


def is_exact(pruning: str) -> bool:
    """Whether `pruning` is "exact"; NeveError if it is not "k2" either."""
    if pruning not in ("exact", "k2"):
        raise NeveError(f"pruning: must be exact or k2, not {pruning!r}")
    return pruning == "exact"


def lattice_search(
    graphs: Graph | Sequence[Graph],
    log_probs: np.ndarray,
    lengths: np.ndarray,
    search_beam: float,
    output_beam: float,
    min_active: int,
    max_active: int,
    allow_partial: bool = False,
    pruning: str = "exact",
    threads: int | None = None,
) -> list[Lattice]:
    """The pruned lattice of each row through the graph, or its own of several; see `one_best`.

    pruning "exact" keeps the arcs on paths within output_beam of the best one. "k2" prunes window
    by window as k2 does, which keeps many more arcs, some of them dead ends. A row without any path
    gives 0 states ("exact"), or a lattice whose final state cannot be reached ("k2").
    """
    exact = is_exact(pruning)
    if isinstance(graphs, Graph):
        graphs = [graphs] * len(log_probs)
    log_probs, lengths = checked(
        max((graph.max_label for graph in graphs), default=0),
        log_probs,
        lengths,
        search_beam=search_beam,
        output_beam=output_beam,
        max_active=max_active,
    )

    def search(row, slot):
        graph = graphs[row]
        if graph.num_states < 2:
            return empty_lattice()
        num_frames = int(lengths[row]) + 1
        _, *trellis = extend(
            graph.row_splits, graph.dst, graph.labels, graph.scores, log_probs[row], num_frames,
            num_frames, np.float32(search_beam), np.float32(output_beam), int(min_active),
            int(max_active), bool(allow_partial), True, np.float32(search_beam), slot,
            *start_of_search(),
        )  # fmt: skip
        trellis = Trellis(*trellis)
        # either way what is cut out of larger arrays is copied, to let those go
        trellis = pruned(trellis, 0, output_beam) if exact else trellis.copy()
        return as_lattice(graph, trellis, exact)

    most_states = max((graph.num_states for graph in graphs), default=0)
    return each_row(search, len(log_probs), most_states, threads)
