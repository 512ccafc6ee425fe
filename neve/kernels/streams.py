"""One frame of transducer decoding through a graph, for several streams: FSA-SPEC section 16.

A state of a stream is a context, the last symbols as digits of a number, and a state of the graph;
its key is context * (states of the graph) + graph state. Source: k2's "fast beam search".

With listed phrases, whose bonuses count as the search goes, it is also a state of their automaton
(`neve.kernels.phrases`), which reads what the arcs of the graph say; in the key this comes between
the two. The composition of graph and automaton is made only where the search is.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from neve.kernels.phrases import Phrases, read

BINS = 512  # of the histogram that finds how far down the list of arcs the best states reach


class Frame(NamedTuple):
    """What one frame adds to S streams: its arcs and the states that they lead to.

    keys, scores  (K,) int64, float64: states in the order of their keys, stream by stream
    splits        (S+1,) int64: which of them belong to which stream
    src, dst      (A,) int32: states, numbered within their stream, before and after the frame
    arcs          (A,) int32: arc of the graph, or -1 for the blank that the graph knows nothing of
    arc_scores    (A,) float32: graph score plus log-probability
    arc_splits    (S+1,) int64
    """

    keys: np.ndarray
    scores: np.ndarray
    splits: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    arcs: np.ndarray
    arc_scores: np.ndarray
    arc_splits: np.ndarray


class Listed(NamedTuple):
    """Phrases, and what the arcs of a graph say: arc a values[splits[a]:splits[a + 1]], int32."""

    phrases: Phrases
    splits: np.ndarray
    values: np.ndarray


def advance(
    graph,
    state,
    log_probs,
    vocab_size,
    num_contexts,
    beam,
    max_states,
    max_contexts,
    listed: Listed | None = None,
):
    """The `Frame` that follows `state`.

    graph is (row_splits (G+1,), dst, labels int32, scores float32 (A,)), the graph of all streams;
    state is (keys, scores, splits, rows), the first three as in `Frame`, rows (K,) int64 the row of
    log_probs (N, V) float32 that belongs to each state's context.
    """
    limits = (float(beam), int(max_states), int(max_contexts))
    size = len(listed.phrases.held) if listed else 1
    return Frame(
        *_advance(*graph, *state, log_probs, vocab_size, num_contexts, *limits, listed, size)
    )


@njit(cache=True, nogil=True)
def ended(listed, states, arcs):
    """(n,) float32: what is added where n states of the automaton of phrases are at their end.

    arcs (n,): those of the graph by which they end; -1 for none.
    """
    found = np.empty(len(states), np.float32)
    for i in range(len(states)):
        state, added = states[i], 0.0
        if arcs[i] >= 0:
            begin, end = listed.splits[arcs[i]], listed.splits[arcs[i] + 1]
            state, added = read(listed.phrases, states[i], listed.values, begin, end)
        found[i] = added - listed.phrases.held[state]
    return found


@njit(cache=True, nogil=True)
def contexts_of(keys, splits, graph_states):
    """(rows (K,), context of each row (N,), splits (S+1,)): the contexts of streams' states.

    graph_states (S,) int64: the states of each stream's graph, times those of its phrases.
    """
    rows = np.empty(len(keys), np.int64)
    contexts = np.empty(len(keys), np.int64)
    row_splits = np.zeros(len(splits), np.int64)
    count = 0
    for stream in range(len(splits) - 1):
        for k in range(splits[stream], splits[stream + 1]):
            context = keys[k] // graph_states[stream]
            if k == splits[stream] or context != contexts[count - 1]:
                contexts[count] = context
                count += 1
            rows[k] = count - 1
        row_splits[stream + 1] = count
    return rows, contexts[:count].copy(), row_splits


@njit(cache=True, nogil=True)
def _advance(
    graph_rows,
    graph_dst,
    labels,
    graph_scores,
    keys,
    scores,
    splits,
    rows,
    log_probs,
    vocab_size,
    num_contexts,
    beam,
    max_states,
    max_contexts,
    listed,
    size,
):
    streams = len(splits) - 1
    graph_states = len(graph_rows) - 1
    most = 1
    for stream in range(streams):
        most = max(most, _most_arcs(graph_rows, keys[splits[stream] : splits[stream + 1]]))
    # the arcs that survive the first pruning, of one stream at a time
    to = np.empty(most, np.int64)
    totals = np.empty(most, np.float64)
    found = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float32)
    src, arcs, arc_scores = found
    out = np.empty((4, 4096), np.int32)  # src, dst, arcs, bits of the scores
    bits = arc_scores.view(np.int32)
    new_keys = np.empty(1024, np.int64)
    new_scores = np.empty(1024, np.float64)
    new_splits = np.zeros(streams + 1, np.int64)
    arc_splits = np.zeros(streams + 1, np.int64)
    num_new, num_out = 0, 0
    for stream in range(streams):
        begin, end = splits[stream], splits[stream + 1]
        count = _expand(
            graph_rows,
            graph_dst,
            labels,
            graph_scores,
            keys[begin:end],
            scores[begin:end],
            rows[begin:end],
            log_probs,
            vocab_size,
            num_contexts,
            beam,
            to,
            totals,
            src,
            arcs,
            arc_scores,
            listed,
            size,
        )
        best_keys, best = _best_states(to[:count], totals[:count], beam, max_states)
        kept = _prune(best_keys, best, graph_states * size, beam, max_states, max_contexts)
        best_keys, best = best_keys[kept], best[kept]
        while num_new + len(kept) > len(new_keys):
            new_keys = np.concatenate((new_keys, new_keys))
            new_scores = np.concatenate((new_scores, new_scores))
        new_keys[num_new : num_new + len(kept)] = best_keys
        new_scores[num_new : num_new + len(kept)] = best
        num_new += len(kept)
        new_splits[stream + 1] = num_new
        table = np.full(_table_size(4 * len(kept)), -1, np.int32)
        for i in range(len(kept)):
            table[_slot(table, best_keys, best_keys[i])] = i
        while num_out + count > out.shape[1]:
            out = np.concatenate((out, out), axis=1)
        for i in range(count):
            place = table[_slot(table, best_keys, to[i])]
            if place >= 0:
                out[0, num_out] = src[i]
                out[1, num_out] = place
                out[2, num_out] = arcs[i]
                out[3, num_out] = bits[i]
                num_out += 1
        arc_splits[stream + 1] = num_out
    out = out[:, :num_out].copy()
    return (
        new_keys[:num_new].copy(),
        new_scores[:num_new].copy(),
        new_splits,
        out[0],
        out[1],
        out[2],
        out[3].view(np.float32),
        arc_splits,
    )


@njit(cache=True, nogil=True)
def _most_arcs(graph_rows, keys):
    graph_states = len(graph_rows) - 1
    count = 0
    for key in keys:
        state = key % graph_states
        count += 1 + graph_rows[state + 1] - graph_rows[state]
    return count


@njit(cache=True, nogil=True)
def _expand(
    graph_rows,
    graph_dst,
    labels,
    graph_scores,
    keys,
    scores,
    rows,
    log_probs,
    vocab_size,
    num_contexts,
    beam,
    to,
    totals,
    src,
    arcs,
    arc_scores,
    listed,
    size,
):
    """Fills the five arrays from `to` on with the arcs that survive the first pruning.

    Returns how many they are. size: states of the automaton of phrases, 1 if there is none.
    """
    graph_states = len(graph_rows) - 1
    cutoff = -np.inf
    for score in scores:
        cutoff = max(cutoff, score)
    cutoff -= beam
    count = 0
    for k in range(len(keys)):
        state = keys[k] % graph_states
        context = keys[k] // graph_states // size
        before = keys[k] // graph_states % size
        if state == graph_states - 1:
            continue
        log_prob = log_probs[rows[k]]
        to[count], src[count], arcs[count] = keys[k], k, -1
        arc_scores[count] = log_prob[0]
        totals[count] = scores[k] + arc_scores[count]
        count += 1
        shifted = context % (num_contexts // vocab_size) * vocab_size
        start = scores[k]
        for arc in range(graph_rows[state], graph_rows[state + 1]):
            label = labels[arc]
            after, own = before, graph_scores[arc]
            if label > 0:
                own += log_prob[label]
            if listed is not None:
                begin, end = listed.splits[arc], listed.splits[arc + 1]
                if label > 0 and start + own + (end - begin) * listed.phrases.gain < cutoff:
                    continue
                after, added = read(listed.phrases, before, listed.values, begin, end)
                if label < 0:
                    added -= listed.phrases.held[after]
                    after = np.int64(0)
                own += np.float32(added)
            # a final arc is judged without the blank that it consumes
            if label != 0 and start + own < cutoff:
                continue
            score = own
            if label > 0:
                target = ((shifted + label) * size + after) * graph_states
            else:
                score += log_prob[0]
                target = (context * size + after) * graph_states
            to[count], src[count], arcs[count] = target + graph_dst[arc], k, arc
            arc_scores[count] = score
            totals[count] = start + score
            count += 1
    return count


@njit(cache=True, nogil=True)
def _best_states(to, totals, beam, max_states):
    """(keys in rising order, the best total of each) of at least the best max_states states.

    Most arcs can be far below those, so they are only looked at as far down as is needed. Without
    states that are worse than the best by more than the beam.
    """
    count = len(to)
    top = -np.inf
    for total in totals:
        top = max(top, total)
    if count <= 8 * max_states or not 0 < beam < np.inf or top == -np.inf:
        return _merged(to, totals, top - beam)
    histogram = np.zeros(BINS, np.int64)
    for total in totals:
        place = (top - total) * (BINS / beam)
        if place < BINS:
            histogram[int(place)] += 1
    wanted, taken, used = 4 * max_states, 0, 0
    while True:
        while used < BINS and taken < wanted:
            taken += histogram[used]
            used += 1
        keys, best = _merged(to, totals, top - beam * (used / BINS))
        if used == BINS or len(keys) >= max_states:
            return keys, best
        wanted *= 4


@njit(cache=True, nogil=True)
def _merged(to, totals, floor):
    """(different keys in rising order, best total of each) of the arcs of at least floor."""
    size = np.sum(totals >= floor)
    table = np.full(_table_size(2 * size), -1, np.int32)
    keys = np.empty(size, np.int64)
    best = np.empty(size, np.float64)
    found = 0
    for i in range(len(to)):
        if totals[i] < floor:
            continue
        slot = _slot(table, keys, to[i])
        place = table[slot]
        if place < 0:
            table[slot] = found
            keys[found] = to[i]
            best[found] = totals[i]
            found += 1
        elif totals[i] > best[place]:
            best[place] = totals[i]
    order = _order(keys[:found])
    return keys[order], best[order]


@njit(cache=True, nogil=True)
def _prune(keys, best, graph_states, beam, max_states, max_contexts):
    """The states that the second and third pruning leave, in rising order of keys."""
    ranked = _order(-best)
    stays = np.zeros(len(keys), np.bool_)
    for i in ranked[:max_states]:
        stays[i] = best[i] >= best[ranked[0]] - beam
    kept = np.nonzero(stays)[0]
    count = len(kept)
    # the beam of the third pruning is that of the second: it only limits the number
    of_context = np.empty(count, np.int64)
    context_best = np.empty(count, np.float64)
    contexts, last = 0, np.int64(-1)
    for i in range(count):
        context = keys[kept[i]] // graph_states
        if context != last:
            context_best[contexts] = best[kept[i]]
            contexts += 1
            last = context
        of_context[i] = contexts - 1
        context_best[contexts - 1] = max(context_best[contexts - 1], best[kept[i]])
    if contexts <= max_contexts:
        return kept
    chosen = np.zeros(contexts, np.bool_)
    chosen[_order(-context_best[:contexts])[:max_contexts]] = True
    return kept[chosen[of_context]]


@njit(cache=True, nogil=True)
def _order(values):
    """The indices of values from low to high; equal ones stay in order (merge sort)."""
    count = len(values)
    order = np.arange(count)
    other = np.empty_like(order)
    width = 1
    while width < count:
        for begin in range(0, count, 2 * width):
            middle, end = min(begin + width, count), min(begin + 2 * width, count)
            left, right = begin, middle
            for place in range(begin, end):
                if right >= end or (left < middle and values[order[left]] <= values[order[right]]):
                    other[place] = order[left]
                    left += 1
                else:
                    other[place] = order[right]
                    right += 1
        order, other = other, order
        width *= 2
    return order


@njit(cache=True, nogil=True)
def _table_size(entries):
    size = 16
    while size < entries:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _slot(table, keys, key):
    """Where in a hash table of places in `keys` (-1: free) a key is, or where it belongs."""
    mask = np.uint64(len(table) - 1)
    slot = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & mask
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot
