"""Token passing: dense scores (log-probabilities a frame) intersected with a graph, under beams.

Implements k2's intersect_dense_pruned. At frame t every active state sends its forward score along
its arcs; an arc's own score is graph score + log-probability of its label in frame t. A state is
active at t+1 if an arc reaches it with more than the frame's best minus a beam that adapts to the
number of active states. After the last frame come the arcs labelled -1. Arithmetic is float32.

`one_best` keeps a back-pointer a state and returns best paths. `lattice_search` keeps all arcs
between active states and prunes them backwards, exactly or with k2's windows.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import Graph
from neve.kernels.threads import num_threads

# Backward pruning runs over windows of this many frames, each STEP frames after the one before.
WINDOW, STEP = 30, 20
# The pruning beam of the frame after the last: everything that can end may end.
NO_BEAM = np.float32(1e10)


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


@njit(cache=True, nogil=True)
def _grown(array, size):
    if size > 2**31 - 1:
        raise OverflowError("more than 2**31 - 1 tokens or arcs")
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _next_beam(beam, search_beam, active, frame, num_frames, min_active, max_active):
    """The beam for the arcs that leave `frame`, given the number of its active states.

    Narrow beams recover slowly towards search_beam, too few states widen it and too many narrow it;
    near the end max_active gives way, so that a path to the final state is not lost.
    """
    near_end = frame + 5 >= num_frames
    if frame == num_frames - 1:
        return NO_BEAM
    if near_end:
        min_active = max(min_active, max_active // 2)
    if active > max_active:
        return beam if near_end else np.float32(0.8) * min(beam, search_beam)
    if active >= min_active or active == 0:
        return np.float32(0.8) * beam + np.float32(0.2) * search_beam
    return np.float32(1.25) * max(beam, search_beam)


@njit(cache=True, nogil=True)
def _arc_score(label, score, frame_scores, last, partial):
    """Score of an arc in a frame; in the frame after the last only arcs labelled -1 have one."""
    if last:
        return score if label < 0 or partial else np.float32(-np.inf)
    return score + frame_scores[label] if label >= 0 else np.float32(-np.inf)


@njit(cache=True, nogil=True)
def _can_end(rows, labels, states):
    for s in states:
        for e in range(rows[s], rows[s + 1]):
            if labels[e] < 0:
                return True
    return False


@njit(cache=True, nogil=True)
def _candidates(
    rows, labels, scores, states, forward, frame_scores, last, partial, beam, ends, arcs, tokens
):
    """Arcs that may end above best - beam: fills (ends, arcs, tokens) and returns (count, best).

    The best token goes first, for its best arc only, so that few others have to be remembered.
    """
    best = np.float32(-np.inf)
    top = np.argmax(forward)
    for e in range(rows[states[top]], rows[states[top] + 1]):
        best = max(
            best, forward[top] + _arc_score(labels[e], scores[e], frame_scores, last, partial)
        )
    cut = best - beam
    n = 0
    for k in range(len(states)):
        s = states[k]
        f = forward[k]
        for e in range(rows[s], rows[s + 1]):
            end = f + _arc_score(labels[e], scores[e], frame_scores, last, partial)
            if end > cut:
                ends[n], arcs[n], tokens[n] = end, e, k
                n += 1
                if end > best:
                    best = end
                    cut = best - beam
    return n, best


@njit(cache=True, nogil=True)
def _count_arcs(rows, states):
    n = 0
    for s in states:
        n += rows[s + 1] - rows[s]
    return n


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
    # back-pointers of the tokens of all frames; tokens of frame t begin at first[t]
    first = np.zeros(num_frames + 2, np.int64)
    first[1] = 1
    total = 1
    back_arc = np.empty(1 << 15, np.int32)
    back_token = np.empty(1 << 15, np.int32)
    ends = np.empty(1 << 12, np.float32)
    arcs = np.empty(1 << 12, np.int32)
    tokens = np.empty(1 << 12, np.int32)
    final = len(rows) - 2
    beam = search_beam
    for t in range(num_frames):
        last = t == num_frames - 1
        frame_scores = log_probs[min(t, len(log_probs) - 1)]
        partial = last and allow_partial and not _can_end(rows, labels, states)
        beam = _next_beam(beam, search_beam, len(states), t, num_frames, min_active, max_active)
        most = _count_arcs(rows, states)
        if most > len(ends):
            ends, arcs, tokens = _grown(ends, most), _grown(arcs, most), _grown(tokens, most)
        n, best = _candidates(
            rows, labels, scores, states, forward, frame_scores, last, partial, beam, ends, arcs,
            tokens,
        )  # fmt: skip
        cut = best - beam
        if total + n > len(back_arc):
            back_arc = _grown(back_arc, total + n)
            back_token = _grown(back_token, total + n)
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
                back_token[total + j] = first[t] + tokens[i]
        for j in range(num_new):
            slot[new_states[j]] = -1
        total += num_new
        first[t + 2] = total
        states, forward = new_states[:num_new], new_forward[:num_new]
        if num_new == 0:
            return np.empty(0, np.int32), np.float32(-np.inf)
    path = np.empty(num_frames, np.int32)
    token = total - 1
    for t in range(num_frames - 1, -1, -1):
        path[t] = back_arc[token]
        token = back_token[token]
    return path, forward[0]


@njit(cache=True, nogil=True)
def _prune_tail(first, begin, end, forward, states, arc_first, src, dst, arcs, scores, beam):
    """Backward pruning of the frames begin..end-1, where `end` is the last frame there is.

    Every state of frame `end` counts as though it lay on the best path. An arc is dropped if the
    best path through it, from frame `begin`'s states on, is worse by more than `beam`; states
    without arcs go, but for those of frame `begin`. Arrays are compacted in place. Returns
    (arcs dropped, states dropped).
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
    dropped_states = hi - n
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
    dropped_arcs = arc_first[end] - m
    arc_first[end] = m
    return dropped_arcs, dropped_states


@njit(cache=True, nogil=True)
def _lattice(
    rows,
    graph_dst,
    labels,
    graph_scores,
    log_probs,
    length,
    search_beam,
    output_beam,
    min_active,
    max_active,
    allow_partial,
    exact,
    slot,
):
    """(first (F+2,), states, arc_first (F+1,), src, dst, arcs, scores) of the pruned lattice.

    States are numbered by frame, those of frame t from first[t]; arcs that leave frame t begin at
    arc_first[t].
    """
    num_frames = length + 1
    final = len(rows) - 2
    first = np.zeros(num_frames + 2, np.int64)
    arc_first = np.zeros(num_frames + 1, np.int64)
    states = np.empty(1 << 12, np.int32)
    forward = np.empty(1 << 12, np.float32)
    states[0], forward[0] = 0, 0.0
    first[1] = 1
    src = np.empty(1 << 14, np.int32)
    dst = np.empty(1 << 14, np.int32)
    arcs = np.empty(1 << 14, np.int32)
    scores = np.empty(1 << 14, np.float32)
    num_states, num_arcs = 1, 0
    beam = search_beam
    window = STEP - WINDOW
    for t in range(num_frames):
        last = t == num_frames - 1
        frame_scores = log_probs[min(t, len(log_probs) - 1)]
        active = states[first[t] : first[t + 1]]
        partial = last and allow_partial and not _can_end(rows, labels, active)
        beam = _next_beam(beam, search_beam, len(active), t, num_frames, min_active, max_active)
        most = _count_arcs(rows, active)
        if num_arcs + most > len(src):
            src, dst = _grown(src, num_arcs + most), _grown(dst, num_arcs + most)
            arcs, scores = _grown(arcs, num_arcs + most), _grown(scores, num_arcs + most)
        if num_states + most > len(states):
            states = _grown(states, num_states + most)
            forward = _grown(forward, num_states + most)
        best = np.float32(-np.inf)
        e0 = num_arcs
        for k in range(first[t], first[t + 1]):
            s = states[k]
            for e in range(rows[s], rows[s + 1]):
                score = _arc_score(labels[e], graph_scores[e], frame_scores, last, partial)
                if score > -np.inf:
                    src[num_arcs], arcs[num_arcs], scores[num_arcs] = k, e, score
                    num_arcs += 1
                    best = max(best, forward[k] + score)
        cut = best - beam
        for i in range(e0, num_arcs):
            end = forward[src[i]] + scores[i]
            if end > cut:
                d = final if partial else graph_dst[arcs[i]]
                j = slot[d]
                if j < 0:
                    slot[d] = num_states
                    states[num_states], forward[num_states] = d, end
                    num_states += 1
                elif end > forward[j]:
                    forward[j] = end
        m = e0
        for i in range(e0, num_arcs):
            j = slot[final if partial else graph_dst[arcs[i]]]
            if j >= 0:
                src[m], dst[m], arcs[m], scores[m] = src[i], j, arcs[i], scores[i]
                m += 1
        num_arcs = m
        for k in range(first[t + 1], num_states):
            slot[states[k]] = -1
        first[t + 2], arc_first[t + 1] = num_states, num_arcs
        if last or t + 1 == window + WINDOW:
            dropped_arcs, dropped_states = _prune_tail(
                first, max(window, 0), t + 1, forward, states, arc_first, src, dst, arcs, scores,
                output_beam,
            )  # fmt: skip
            num_arcs -= dropped_arcs
            num_states -= dropped_states
            window += STEP
    if exact:
        dropped_arcs, dropped_states = _prune_tail(
            first, 0, num_frames, forward, states, arc_first, src, dst, arcs, scores, output_beam,
        )  # fmt: skip
        num_arcs -= dropped_arcs
        num_states -= dropped_states
    return (
        first,
        states[:num_states].copy(),
        arc_first,
        src[:num_arcs].copy(),
        dst[:num_arcs].copy(),
        arcs[:num_arcs].copy(),
        scores[:num_arcs].copy(),
    )


def _checked(max_label, log_probs, lengths, **beams):
    """`log_probs` and `lengths` as the kernels want them; NeveError if they cannot be searched."""
    log_probs = np.ascontiguousarray(log_probs, np.float32)
    if log_probs.ndim != 3:
        raise NeveError(f"log_probs has shape {log_probs.shape}, (N, T, C) is needed")
    lengths = np.asarray(lengths)
    if lengths.shape != log_probs.shape[:1] or lengths.dtype.kind not in "iu":
        raise NeveError(
            f"lengths must be {len(log_probs)} whole numbers, one for each row of log_probs"
        )
    if lengths.size and (lengths.min() < 0 or lengths.max() > log_probs.shape[1]):
        raise NeveError(
            f"lengths: {lengths.min()}..{lengths.max()} is not within the "
            f"{log_probs.shape[1]} frames of log_probs"
        )
    if max_label >= log_probs.shape[2]:
        raise NeveError(
            f"log_probs has {log_probs.shape[2]} classes, but the graph has label {max_label}; "
            "were model and graph made with the same lang directory?"
        )
    if log_probs.shape[1] == 0:  # the kernels want a frame to point at
        log_probs = np.zeros((len(log_probs), 1, log_probs.shape[2]), np.float32)
    for row, length in enumerate(lengths):
        if not (log_probs[row, :length] < np.inf).all():
            raise NeveError(f"log_probs: row {row} holds NaN or +inf")
    for name, value in beams.items():
        if not value > 0:
            raise NeveError(f"{name} must be positive, not {value}")
    return log_probs, lengths


def _each_row(search, num_rows: int, num_states: int, threads: int | None):
    """search(row, slot) of every row, over threads that each own one `slot` array."""
    threads = max(1, min(threads or num_threads(), num_rows))
    results = [None] * num_rows
    rows = iter(range(num_rows))

    def work(_):
        slot = np.full(num_states, -1, np.int32)
        for row in rows:  # a range iterator hands each number to one thread only
            try:
                results[row] = search(row, slot)
            except (MemoryError, OverflowError) as error:
                raise NeveError(
                    f"row {row} of log_probs is too long for these beams ({error}); cut the "
                    "recording into segments, or lower search_beam or max_active"
                ) from error

    if threads == 1:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    return results


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
    log_probs, lengths = _checked(
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
        if len(arcs) and graph.labels[arcs[-1]] != -1:
            arcs = arcs[:-1]  # cut short
        arc_scores = graph.scores[arcs]
        frames = np.arange(min(len(arcs), lengths[row]))
        arc_scores[frames] += log_probs[row, frames, graph.labels[arcs[frames]]]
        return Path(arcs, float(score), arc_scores)

    return _each_row(search, len(log_probs), graph.num_states, threads)


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
    if pruning not in ("exact", "k2"):
        raise NeveError(f"pruning must be exact or k2, not {pruning!r}")
    if isinstance(graphs, Graph):
        graphs = [graphs] * len(log_probs)
    log_probs, lengths = _checked(
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
            return _empty_lattice()
        first, states, arc_first, src, dst, arcs, arc_scores = _lattice(
            graph.row_splits,
            graph.dst,
            graph.labels,
            graph.scores,
            log_probs[row],
            int(lengths[row]),
            np.float32(search_beam),
            np.float32(output_beam),
            int(min_active),
            int(max_active),
            bool(allow_partial),
            pruning == "exact",
            slot,
        )
        num_states = len(states)
        ended = num_states > 0 and states[-1] == graph.num_states - 1
        if not ended:
            if pruning == "exact":
                return _empty_lattice()
            num_states += 1  # a final state that nothing enters
        frames = np.repeat(np.arange(len(arc_first) - 1, dtype=np.int32), np.diff(arc_first))
        labels = graph.labels[arcs]
        last = frames == lengths[row]
        partial = last & (labels != -1)
        labels[partial] = -1
        arcs[partial] = -1
        return Lattice(num_states, src, dst, labels, arc_scores, arcs, frames)

    most_states = max((graph.num_states for graph in graphs), default=0)
    return _each_row(search, len(log_probs), most_states, threads)


def _empty_lattice() -> Lattice:
    none = np.empty(0, np.int32)
    return Lattice(0, none, none, none, np.empty(0, np.float32), none, none)
