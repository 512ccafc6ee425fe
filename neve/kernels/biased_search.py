"""The searches of `best_path` and `search` with listed phrases, whose bonuses count as they go.

A token is a state of the graph and a state of the automaton of phrases (`neve.kernels.phrases`),
which reads the words that arcs emit: the composition of the two, made only where the search is, as
in Mohri, Pereira and Riley ("Weighted finite-state transducers in speech recognition", Computer
Speech and Language 16, 2002). Where no phrase is begun the automaton is in its start, so that most
tokens are found by the state of the graph alone; the others lie in a table of the frame's size.
"""

import numpy as np
from numba import njit

from neve.kernels.best_path import Path
from neve.kernels.graph import Graph
from neve.kernels.phrases import Phrases, read
from neve.kernels.search import (
    SLACK,
    STEP,
    WINDOW,
    Lattice,
    Trellis,
    as_lattice,
    empty_lattice,
    is_exact,
    prune_tail,
    pruned,
    start_of_search,
)
from neve.kernels.token_passing import (
    arcs_back,
    can_end,
    candidate_arrays,
    checked,
    count_arcs,
    each_row,
    fill_frame,
    next_beam,
    room_for_candidates,
    room_for_tokens,
    room_in_trellis,
)


@njit(cache=True, nogil=True)
def _reads(phrases, aux_splits, aux_values, label, arc, before, partial):
    """(state of the automaton after an arc, what its words add)."""
    if partial:  # the path ends here; the arc only lets it
        return 0, -phrases.held[before]
    after, added = read(phrases, before, aux_values, aux_splits[arc], aux_splits[arc + 1])
    if label < 0:
        added -= phrases.held[after]
        after = 0
    return after, added


@njit(cache=True, nogil=True)
def _candidates(rows, labels, scores, aux_splits, aux_values, phrases, states, begun, forward,
                frame_scores, partial, margin, ends, arcs, tokens, after, added):  # fmt: skip
    """As `token_passing.candidates`, with the bonuses: fills `after` and `added` besides."""
    best = np.float32(-np.inf)
    if len(states) == 0:
        return 0, best
    top = np.argmax(forward)
    for e in range(rows[states[top]], rows[states[top] + 1]):
        _, more = _reads(phrases, aux_splits, aux_values, labels[e], e, begun[top], partial)
        best = max(
            best, forward[top] + (scores[e] + frame_scores[labels[e] + 1]) + np.float32(more)
        )
    cut = best - margin
    n = 0
    for k in range(len(states)):
        s, f, before = states[k], forward[k], begun[k]
        for e in range(rows[s], rows[s + 1]):
            end = f + (scores[e] + frame_scores[labels[e] + 1])
            words = aux_splits[e + 1] - aux_splits[e]
            if not end + words * phrases.gain > cut:
                continue
            now, more = before, 0.0
            if words > 0 or labels[e] < 0 or partial:
                now, more = _reads(phrases, aux_splits, aux_values, labels[e], e, before, partial)
                end += np.float32(more)
            if end > cut:
                ends[n], arcs[n], tokens[n], after[n], added[n] = end, e, k, now, more
                n += 1
                if end > best:
                    best = end
                    cut = best - margin
    return n, best


@njit(cache=True, nogil=True)
def _find(keys, places, key):
    """Where a key is in a table with room, or where it belongs; places of -1 are free."""
    mask = len(keys) - 1
    at = (key * 0x9E3779B1 >> 15) & mask
    while places[at] >= 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _number(graph_dst, final, n, cut, ends, arcs, after, slot, number, states, begun, forward):
    """Numbers the pairs that the n candidates reach above cut; how many there are.

    number (n,) is that of each candidate's pair, -1 for those that nothing reaches; states, begun
    and forward are those of the pairs. All candidates lead to `final` if it is not negative.
    """
    size = 2
    for i in range(n):
        if after[i] != 0:
            size += 2
    power = 1
    while power < size:
        power *= 2
    keys, places = np.empty(power, np.int64), np.full(power, -1, np.int32)
    count = 0
    for i in range(n):
        number[i] = -1
        if ends[i] > cut:
            d = graph_dst[arcs[i]] if final < 0 else final
            j, at = slot[d], 0
            if after[i] != 0:
                key = np.int64(after[i]) * len(slot) + d
                at = _find(keys, places, key)
                j = places[at]
            if j < 0:
                j = count
                count += 1
                if after[i] != 0:
                    keys[at], places[at] = key, j
                else:
                    slot[d] = j
                states[j], begun[j], forward[j] = d, after[i], ends[i]
            elif ends[i] > forward[j]:
                forward[j] = ends[i]
            number[i] = j
    for i in range(n):
        if number[i] < 0:
            d = graph_dst[arcs[i]] if final < 0 else final
            if after[i] == 0:
                number[i] = slot[d]
            else:
                number[i] = places[_find(keys, places, np.int64(after[i]) * len(slot) + d)]
    for j in range(count):
        if begun[j] == 0:
            slot[states[j]] = -1
    return count


@njit(cache=True, nogil=True)
def _best_path(rows, dst, labels, scores, aux_splits, aux_values, phrases, log_probs, length,
               search_beam, min_active, max_active, allow_partial, slot):  # fmt: skip
    """(arcs of the best path, its score). `slot` (S,) int32 is -1 everywhere, and left so."""
    num_frames = length + 1
    states, begun = np.zeros(1, np.int32), np.zeros(1, np.int32)
    forward = np.zeros(1, np.float32)
    frame_scores = np.empty(log_probs.shape[1] + 1, np.float32)
    begin, total = 0, 1  # of the back-pointers, as in `best_path`
    back_arc = np.zeros(1 << 15, np.int32)
    back_token = np.zeros(1 << 15, np.int32)
    ends, arcs, tokens = candidate_arrays()
    added, after, number = candidate_arrays()
    beam = search_beam
    for t in range(num_frames):
        last = t == num_frames - 1
        partial = last and allow_partial and not can_end(rows, labels, states)
        fill_frame(frame_scores, log_probs, t, last, partial)
        beam = next_beam(beam, search_beam, len(states), t, num_frames, min_active, max_active)
        most = count_arcs(rows, states)
        ends, arcs, tokens = room_for_candidates(ends, arcs, tokens, most)
        added, after, number = room_for_candidates(added, after, number, most)
        n, best = _candidates(
            rows, labels, scores, aux_splits, aux_values, phrases, states, begun, forward,
            frame_scores, partial, beam, ends, arcs, tokens, after, added,
        )  # fmt: skip
        back_arc, back_token, begin, total = room_for_tokens(back_arc, back_token, begin, total, n)
        new_states, new_begun = np.empty(n, np.int32), np.empty(n, np.int32)
        new_forward = np.empty(n, np.float32)
        cut = best - beam
        count = _number(
            dst, len(rows) - 2 if partial else -1, n, cut, ends, arcs, after, slot, number,
            new_states, new_begun, new_forward,
        )  # fmt: skip
        for i in range(n):
            j = number[i]
            if j >= 0 and ends[i] > cut and ends[i] == new_forward[j]:
                back_arc[total + j] = arcs[i]
                back_token[total + j] = begin + tokens[i]
        begin = total
        total += count
        states, begun, forward = new_states[:count], new_begun[:count], new_forward[:count]
        if count == 0:
            return np.empty(0, np.int32), np.float32(-np.inf)
    return arcs_back(back_arc, back_token, total - 1, num_frames), forward[0]


@njit(cache=True, nogil=True)
def _trellis(rows, graph_dst, labels, graph_scores, aux_splits, aux_values, phrases, log_probs,
             num_frames, search_beam, output_beam, min_active, max_active, allow_partial, slot,
             first, states, forward, arc_first, src, dst, arcs, scores):  # fmt: skip
    """A trellis of num_frames frames from `start_of_search`, pruned in windows: see `extend`."""
    begun = np.zeros(1, np.int32)
    num_states, num_arcs = len(states), len(src)
    more = np.empty(num_frames, np.int64)
    first = np.concatenate((first, more))
    arc_first = np.concatenate((arc_first, more))
    frame_scores = np.empty(log_probs.shape[1] + 1, np.float32)
    ends, found, tokens = candidate_arrays()
    added, after, number = candidate_arrays()
    reach = output_beam + SLACK
    window = STEP - WINDOW
    beam = search_beam
    for t in range(num_frames):
        last = t == num_frames - 1
        active = states[first[t] : num_states]
        partial = last and allow_partial and not can_end(rows, labels, active)
        fill_frame(frame_scores, log_probs, t, last, partial)
        beam = next_beam(beam, search_beam, len(active), t, num_frames, min_active, max_active)
        most = count_arcs(rows, active)
        ends, found, tokens = room_for_candidates(ends, found, tokens, most)
        added, after, number = room_for_candidates(added, after, number, most)
        n, best = _candidates(
            rows, labels, graph_scores, aux_splits, aux_values, phrases, active, begun,
            forward[first[t] : num_states], frame_scores, partial, beam + reach, ends, found,
            tokens, after, added,
        )  # fmt: skip
        states, forward, src, dst, arcs, scores = room_in_trellis(
            states, forward, num_states, src, dst, arcs, scores, num_arcs, n
        )
        new_begun = np.empty(n, np.int32)
        count = _number(
            graph_dst, len(rows) - 2 if partial else -1, n, best - beam, ends, found, after, slot,
            number, states[num_states:], new_begun, forward[num_states:],
        )  # fmt: skip
        for i in range(n):
            j = number[i]
            if j >= 0 and ends[i] >= forward[num_states + j] - reach:
                src[num_arcs], dst[num_arcs] = first[t] + tokens[i], num_states + j
                arcs[num_arcs] = found[i]
                own = graph_scores[found[i]] + frame_scores[labels[found[i]] + 1]
                scores[num_arcs] = own + added[i]
                num_arcs += 1
        begun = new_begun[:count]
        num_states += count
        first[t + 2], arc_first[t + 1] = num_states, num_arcs
        if last or t + 1 == window + WINDOW:
            num_states, num_arcs = prune_tail(
                first, max(window, 0), t + 1, forward, states, arc_first, src, dst, arcs, scores,
                output_beam,
            )  # fmt: skip
            window += STEP
    return (
        first, states[:num_states], forward[:num_states], arc_first, src[:num_arcs],
        dst[:num_arcs], arcs[:num_arcs], scores[:num_arcs],
    )  # fmt: skip


def biased_one_best(
    graph: Graph,
    phrases: Phrases,
    log_probs: np.ndarray,
    lengths: np.ndarray,
    search_beam: float = 20.0,
    min_active: int = 30,
    max_active: int = 10000,
    allow_partial: bool = False,
    threads: int | None = None,
) -> list[Path]:
    """The best path of each row with what its words earn by `phrases`; see `one_best`.

    Its score has the bonuses, its arc_scores have not.
    """
    log_probs, lengths = checked(
        graph.max_label, log_probs, lengths, search_beam=search_beam, max_active=max_active
    )

    def search(row, slot):
        if graph.num_states < 2:
            return Path(np.empty(0, np.int32), -np.inf, np.empty(0, np.float32))
        arcs, score = _best_path(
            graph.row_splits, graph.dst, graph.labels, graph.scores, graph.aux_splits,
            graph.aux_values, phrases, log_probs[row], int(lengths[row]), np.float32(search_beam),
            int(min_active), int(max_active), bool(allow_partial), slot,
        )  # fmt: skip
        return Path.of(graph, arcs, float(score), log_probs[row, : lengths[row]])

    return each_row(search, len(log_probs), graph.num_states, threads)


def biased_lattice_search(
    graph: Graph,
    phrases: Phrases,
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
    """The pruned lattice of each row, in whose scores is what words earn; see `lattice_search`.

    A state of the graph is there once for each state of the automaton that it is reached in.
    """
    exact = is_exact(pruning)
    log_probs, lengths = checked(
        graph.max_label, log_probs, lengths, search_beam=search_beam, output_beam=output_beam,
        max_active=max_active,
    )  # fmt: skip

    def search(row, slot):
        if graph.num_states < 2:
            return empty_lattice()
        trellis = Trellis(
            *_trellis(
                graph.row_splits, graph.dst, graph.labels, graph.scores, graph.aux_splits,
                graph.aux_values, phrases, log_probs[row], int(lengths[row]) + 1,
                np.float32(search_beam), np.float32(output_beam), int(min_active),
                int(max_active), bool(allow_partial), slot, *start_of_search(),
            )
        )  # fmt: skip
        trellis = pruned(trellis, 0, output_beam) if exact else trellis.copy()
        return as_lattice(graph, trellis, exact)

    return each_row(search, len(log_probs), graph.num_states, threads)
