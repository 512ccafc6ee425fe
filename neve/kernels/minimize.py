"""Merging of states that go on alike.

Two states are merged if their arcs, one by one in order, have the same label, score and auxiliary
labels and lead to the same (merged) state. Merging starts from what is equal at once and goes on
with the predecessors of what was merged, so that its cost is about that of reading the graph. On
graphs whose states have their arcs sorted and one arc a label this finds what partition refinement
(Hopcroft) finds, except for cycles that are equal only as wholes, which a decoding graph has none
of: all of its cycles pass through the states of the language model.
"""

import numpy as np
from numba import njit

from neve.kernels.graph import Graph
from neve.kernels.structure import connect, group_by, select_arcs, splits_of


@njit(cache=True, nogil=True)
def _mix(hashed, number):
    """`hashed` (uint64) with one more number stirred in (the finaliser of splitmix64)."""
    x = (hashed ^ np.uint64(number)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(27))


@njit(cache=True, nogil=True)
def _hash(state, rows, dst, labels, scores, aux_splits, aux_values, merged):
    hashed = np.uint64(rows[state + 1] - rows[state])
    for e in range(rows[state], rows[state + 1]):
        hashed = _mix(_mix(_mix(hashed, labels[e]), scores[e]), merged[dst[e]])
        for k in range(aux_splits[e], aux_splits[e + 1]):
            hashed = _mix(hashed, aux_values[k])
    return hashed


@njit(cache=True, nogil=True)
def _alike(a, b, rows, dst, labels, scores, aux_splits, aux_values, merged):
    if rows[a + 1] - rows[a] != rows[b + 1] - rows[b]:
        return False
    for i in range(rows[a + 1] - rows[a]):
        e, f = rows[a] + i, rows[b] + i
        if labels[e] != labels[f] or scores[e] != scores[f] or merged[dst[e]] != merged[dst[f]]:
            return False
        if aux_splits[e + 1] - aux_splits[e] != aux_splits[f + 1] - aux_splits[f]:
            return False
        for k in range(aux_splits[e + 1] - aux_splits[e]):
            if aux_values[aux_splits[e] + k] != aux_values[aux_splits[f] + k]:
                return False
    return True


@njit(cache=True, nogil=True)
def _unlink(state, heads, onward, at):
    if heads[at] == state:
        heads[at] = onward[state]
        return
    before = heads[at]
    while onward[before] != state:
        before = onward[before]
    onward[before] = onward[state]


@njit(cache=True, nogil=True)
def _merge(rows, dst, labels, scores, aux_splits, aux_values, in_rows, in_src):
    """(S,) the state that stands for each state; scores are whole numbers (int64)."""
    num_states = len(rows) - 1
    merged = np.arange(num_states).astype(np.int32)
    size = 1
    while size < num_states:
        size *= 2
    # a hash table of chains: the first state of each bucket, the next of each state
    heads = np.full(size, -1, np.int32)
    onward = np.full(num_states, -1, np.int32)
    bucket = np.full(num_states, -1, np.int64)
    # last states first: in a composed graph arcs mostly lead to later states
    queue = np.arange(num_states)[::-1].astype(np.int32)
    waiting = np.ones(num_states, np.bool_)
    head, count = 0, num_states
    while count > 0:
        state = queue[head]
        head = (head + 1) % num_states
        count -= 1
        waiting[state] = False
        if merged[state] != state:
            continue
        if bucket[state] >= 0:  # its arcs have changed since it was put there
            _unlink(state, heads, onward, bucket[state])
        hashed = _hash(state, rows, dst, labels, scores, aux_splits, aux_values, merged)
        at = np.int64(hashed & np.uint64(size - 1))
        other = heads[at]
        while other >= 0 and not _alike(
            state, other, rows, dst, labels, scores, aux_splits, aux_values, merged
        ):
            other = onward[other]
        if other < 0 or state == 0:
            onward[state] = heads[at]
            heads[at] = state
            bucket[state] = at
        if other < 0:
            continue
        if state == 0:  # the start keeps its number
            _unlink(other, heads, onward, at)
            state, other = other, state
        merged[state] = other
        for k in range(in_rows[state], in_rows[state + 1]):
            before = in_src[k]
            if not waiting[before] and merged[before] == before:
                queue[(head + count) % num_states] = before
                waiting[before] = True
                count += 1
    return merged


def minimize(graph: Graph, delta: float = 1e-5) -> Graph:
    """`graph` with states merged that go on alike; paths keep their labels and scores.

    Scores are compared after rounding to multiples of `delta`; the score of a path changes by less
    than delta an arc. Sort the arcs first (`arc_sort`). The result is connected.
    """
    graph, _ = connect(graph)
    while True:
        smaller = _merged_once(graph, delta)
        if smaller.num_states == graph.num_states:
            return smaller
        # what led to a state that was merged twice has been looked at in between
        graph = smaller


def _merged_once(graph: Graph, delta: float) -> Graph:
    if graph.num_states == 0:
        return graph
    src = graph.src
    entering = group_by(graph.dst, graph.num_states)
    merged = _merge(
        graph.row_splits,
        graph.dst,
        graph.labels,
        np.rint(graph.scores.astype(np.float64) / delta).astype(np.int64),
        graph.aux_splits,
        graph.aux_values,
        splits_of(graph.dst, graph.num_states),
        src[entering],
    )
    while True:  # a state may have been merged with one that was merged later
        onward = merged[merged]
        if np.array_equal(onward, merged):
            break
        merged = onward
    arcs = np.nonzero(merged[src] == src)[0].astype(np.int32)
    kept = select_arcs(graph, arcs, src[arcs], merged[graph.dst[arcs]], graph.num_states)
    return connect(kept)[0]
