"""What the searches that pass tokens from frame to frame have in common: the beam, scores, threads.

At frame t every active state sends its forward score along its arcs; an arc's own score is graph
score + log-probability of its label in frame t. A state is active at t+1 if an arc reaches it with
more than the frame's best minus a beam that adapts to the number of active states. After the last
frame come the arcs labelled -1. Arithmetic is float32. It is k2's intersect_dense_pruned.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.threads import num_threads

# The pruning beam of the frame after the last: everything that can end may end.
NO_BEAM = np.float32(1e10)


@njit(cache=True, nogil=True)
def grown(array, size):
    if size > 2**31 - 1:
        raise OverflowError("more than 2**31 - 1 tokens or arcs")
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def candidate_arrays():
    """Room for the first candidates: (ends, arcs, tokens), see `candidates`."""
    size = 1 << 12
    return np.empty(size, np.float32), np.empty(size, np.int32), np.empty(size, np.int32)


@njit(cache=True, nogil=True)
def room_for_candidates(ends, arcs, tokens, most):
    """The arrays as they are, or larger ones, so that there is room for `most`."""
    if most > len(ends):
        ends, arcs, tokens = grown(ends, most), grown(arcs, most), grown(tokens, most)
    return ends, arcs, tokens


@njit(cache=True, nogil=True)
def room_for_tokens(back_arc, back_token, begin, total, more):
    """(back_arc, back_token, begin, total) with room for `more` tokens after the first `total`.

    The back-pointers of the active tokens are begin..total-1; what does not lead to one of these is
    dropped first, and only if that gives too little are the arrays larger.
    """
    if total + more > len(back_arc):
        begin, total = _collect(back_arc, back_token, begin, total)
        if 2 * (total + more) > len(back_arc):
            back_arc = grown(back_arc, 2 * (total + more))
            back_token = grown(back_token, 2 * (total + more))
    return back_arc, back_token, begin, total


@njit(cache=True, nogil=True)
def _collect(back_arc, back_token, begin, total):
    """Drops the tokens that none of begin..total-1 leads back to; returns (begin, total) anew."""
    number = np.zeros(total, np.int32)
    number[begin:] = 1
    for i in range(total - 1, 0, -1):
        if number[i]:
            number[back_token[i]] = 1
    n = 0
    for i in range(total):
        if number[i]:
            number[i] = n
            back_arc[n] = back_arc[i]
            back_token[n] = number[back_token[i]]
            n += 1
    return n - (total - begin), n


@njit(cache=True, nogil=True)
def arcs_back(back_arc, back_token, token, count):
    """The `count` arcs by which a token was reached, from the start on."""
    path = np.empty(count, np.int32)
    for place in range(count - 1, -1, -1):
        path[place] = back_arc[token]
        token = back_token[token]
    return path


@njit(cache=True, nogil=True)
def room_in_trellis(states, forward, num_states, src, dst, arcs, scores, num_arcs, more):
    """The arrays of a trellis with room for `more` states and as many arcs."""
    if num_arcs + more > len(src):
        src, dst = grown(src, num_arcs + more), grown(dst, num_arcs + more)
        arcs, scores = grown(arcs, num_arcs + more), grown(scores, num_arcs + more)
    if num_states + more > len(states):
        states, forward = grown(states, num_states + more), grown(forward, num_states + more)
    return states, forward, src, dst, arcs, scores


@njit(cache=True, nogil=True)
def next_beam(beam, search_beam, active, frame, num_frames, min_active, max_active):
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
def can_end(rows, labels, states):
    for s in states:
        for e in range(rows[s], rows[s + 1]):
            if labels[e] < 0:
                return True
    return False


@njit(cache=True, nogil=True)
def fill_frame(frame_scores, log_probs, t, last, partial):
    """Scores of the labels -1, 0, ... in a frame: what an arc adds to its own, -inf for none.

    In the frame after the last only arcs labelled -1 have one; where paths end anywhere
    (`partial`), all arcs do.
    """
    if last:
        frame_scores[:] = np.float32(0.0 if partial else -np.inf)
        frame_scores[0] = 0.0
    else:
        frame_scores[0] = -np.inf
        frame_scores[1:] = log_probs[t]


@njit(cache=True, nogil=True)
def count_arcs(rows, states):
    n = 0
    for s in states:
        n += rows[s + 1] - rows[s]
    return n


@njit(cache=True, nogil=True)
def candidates(rows, labels, scores, states, forward, frame_scores, margin, ends, arcs, tokens):
    """Arcs that may end above best - margin: fills (ends, arcs, tokens) and returns (count, best).

    The best token goes first, for its best arc only, so that few others have to be remembered.
    """
    best = np.float32(-np.inf)
    if len(states) == 0:
        return 0, best
    top = np.argmax(forward)
    for e in range(rows[states[top]], rows[states[top] + 1]):
        best = max(best, forward[top] + (scores[e] + frame_scores[labels[e] + 1]))
    cut = best - margin
    n = 0
    for k in range(len(states)):
        s = states[k]
        f = forward[k]
        for e in range(rows[s], rows[s + 1]):
            end = f + (scores[e] + frame_scores[labels[e] + 1])
            if end > cut:
                ends[n], arcs[n], tokens[n] = end, e, k
                n += 1
                if end > best:
                    best = end
                    cut = best - margin
    return n, best


def checked(max_label, log_probs, lengths, **beams):
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


def each_row(search, num_rows: int, num_states: int, threads: int | None):
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
