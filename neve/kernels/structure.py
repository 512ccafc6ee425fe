"""Order and shape of graphs: sorting arcs, trimming states, carrying attributes along."""

import numpy as np
from numba import njit

from neve.kernels.graph import Graph, check_size


@njit(cache=True, nogil=True)
def _counting_order(keys, num_keys, order):
    """`order` rearranged stably so that keys[order] rises; keys are in 0..num_keys-1."""
    starts = np.zeros(num_keys + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for k in range(num_keys):
        starts[k + 1] += starts[k]
    result = np.empty_like(order)
    for item in order:
        key = keys[item]
        result[starts[key]] = item
        starts[key] += 1
    return result


def group_by(keys: np.ndarray, num_keys: int, order: np.ndarray | None = None) -> np.ndarray:
    """The indices of `keys` (int32 in 0..num_keys-1) sorted by key, int32.

    Equal keys keep their order, or the order they have in `order`, so that sorting by several keys
    is one call for each, the least important first.
    """
    if order is None:
        order = np.arange(len(keys), dtype=np.int32)
    return _counting_order(np.ascontiguousarray(keys), num_keys, order)


def splits_of(sorted_keys: np.ndarray, num_keys: int) -> np.ndarray:
    """Row splits (num_keys+1,) int32 of keys that are sorted."""
    counts = np.bincount(sorted_keys, minlength=num_keys)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


@njit(cache=True, nogil=True)
def _gather_lists(splits, values, index, new_splits, new_values):
    for i in range(len(index)):
        j = index[i]
        if j >= 0:
            to = new_splits[i]
            for k in range(splits[j], splits[j + 1]):
                new_values[to] = values[k]
                to += 1


def gather_ragged(
    splits: np.ndarray, values: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows `index` of a ragged list, as (splits, values) int32; row -1 is empty."""
    lengths = np.diff(splits)[index] if len(splits) > 1 else np.zeros(len(index), np.int64)
    lengths = np.where(index >= 0, lengths, 0)
    new_splits = np.zeros(len(index) + 1, np.int64)
    np.cumsum(lengths, out=new_splits[1:])
    check_size(new_splits[-1], "a list of auxiliary labels")
    new_splits = new_splits.astype(np.int32)
    new_values = np.empty(new_splits[-1], np.int32)
    index = np.ascontiguousarray(index, np.int32)
    _gather_lists(splits, values, index, new_splits, new_values)
    return new_splits, new_values


def select_arcs(graph: Graph, arcs: np.ndarray, src: np.ndarray, dst: np.ndarray, num_states: int):
    """The graph of `arcs` of `graph`, between renumbered states; `src` must be sorted."""
    aux_splits, aux_values = gather_ragged(graph.aux_splits, graph.aux_values, arcs)
    return Graph(
        splits_of(src, num_states),
        np.ascontiguousarray(dst, np.int32),
        graph.labels[arcs],
        graph.scores[arcs],
        aux_splits,
        aux_values,
    )


def arc_order(src: np.ndarray, dst: np.ndarray, labels: np.ndarray, num_states: int) -> np.ndarray:
    """The order of arcs by state, then label as an unsigned number (-1 is last), then dst."""
    order = group_by(dst, num_states)
    num_labels = int(labels.max(initial=0)) + 2
    order = group_by(np.where(labels < 0, num_labels - 1, labels), num_labels, order)
    return group_by(src, num_states, order)


def arc_sort(graph: Graph) -> tuple[Graph, np.ndarray]:
    """`graph` with the arcs of each state in `arc_order`, and the old index of each new arc."""
    src = graph.src
    order = arc_order(src, graph.dst, graph.labels, graph.num_states)
    return select_arcs(graph, order, src, graph.dst[order], graph.num_states), order


@njit(cache=True, nogil=True)
def _reach(row_splits, neighbours, firsts, seen):
    """Marks in `seen` every state that can be reached from one of `firsts`."""
    stack = np.empty(len(seen), np.int32)
    size = 0
    for state in firsts:
        seen[state] = True
        stack[size] = state
        size += 1
    while size > 0:
        size -= 1
        state = stack[size]
        for k in range(row_splits[state], row_splits[state + 1]):
            other = neighbours[k]
            if not seen[other]:
                seen[other] = True
                stack[size] = other
                size += 1


def useful_states(src: np.ndarray, dst: np.ndarray, state_splits: np.ndarray) -> np.ndarray:
    """(S,) bool: the states on some path from the start to the final state of their graph.

    The states of graph i, of which the first is its start and the last its final one, are
    state_splits[i] .. state_splits[i+1]-1; arcs are sorted by src.
    """
    num_states = int(state_splits[-1])
    forward = np.zeros(num_states, np.bool_)
    backward = np.zeros(num_states, np.bool_)
    several = np.diff(state_splits) > 1
    starts = state_splits[:-1][several].astype(np.int32)
    ends = (state_splits[1:][several] - 1).astype(np.int32)
    _reach(splits_of(src, num_states), dst, starts, forward)
    entering = group_by(dst, num_states)
    _reach(splits_of(dst, num_states), src[entering], ends, backward)
    return forward & backward


def connect(graph: Graph) -> tuple[Graph, np.ndarray]:
    """`graph` without states that are on no path from start to end; and its arcs' old indices.

    A graph without any such path becomes the empty graph, of 0 states.
    """
    src = graph.src
    keep = useful_states(src, graph.dst, np.array([0, graph.num_states]))
    number = (np.cumsum(keep) - 1).astype(np.int32)
    arcs = np.nonzero(keep[src] & keep[graph.dst])[0].astype(np.int32)
    return (
        select_arcs(graph, arcs, number[src[arcs]], number[graph.dst[arcs]], int(keep.sum())),
        arcs,
    )
