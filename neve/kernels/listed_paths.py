"""The paths of a lattice that say given sequences: the best of each, and the sum of all."""

from typing import NamedTuple

import numpy as np
from numba import njit


class ListedPaths(NamedTuple):
    """Of L sequences:

    scores  (L,) float64: the best path's, -inf where the lattice has none
    totals  (L,) float64: log of the sum of all paths
    splits  (L+1,), arcs (P,) int64: the arcs of the best path
    """

    scores: np.ndarray
    totals: np.ndarray
    splits: np.ndarray
    arcs: np.ndarray


def listed_paths(lattice, said, sequences) -> ListedPaths:
    """The paths of each sequence; of equally good ones that which is met first.

    lattice: (row_splits (S+1,), dst, scores float64 (A,)), arcs sorted by the state they leave and
    leading to later ones; the first state is the start, the last the only end. said: (splits
    (A+1,), values), what each arc says. sequences: (splits (L+1,), values), all different.
    """
    rows, dst, scores = lattice
    given = (rows, dst, *said, *sequences)
    splits = [np.ascontiguousarray(x, np.int64) for x in given]
    return ListedPaths(*_listed(np.ascontiguousarray(scores, np.float64), *splits))


@njit(cache=True, nogil=True)
def _tree(splits, values):
    """(symbol, first child, next sibling of each node, node of each sequence); node 0 is none."""
    count = len(values) + 1
    symbol = np.zeros(count, np.int64)
    child = np.full(count, -1, np.int64)
    sibling = np.full(count, -1, np.int64)
    ends = np.empty(len(splits) - 1, np.int64)
    used = 1
    for i in range(len(ends)):
        node = 0
        for k in range(splits[i], splits[i + 1]):
            after = _after(node, values[k], symbol, child, sibling)
            if after < 0:
                after = used
                used += 1
                symbol[after] = values[k]
                sibling[after] = child[node]
                child[node] = after
            node = after
        ends[i] = node
    return symbol[:used], child[:used], sibling[:used], ends


@njit(cache=True, nogil=True)
def _after(node, value, symbol, child, sibling):
    """The node that follows with a symbol, or -1."""
    node = child[node]
    while node >= 0 and symbol[node] != value:
        node = sibling[node]
    return node


@njit(cache=True, nogil=True)
def _listed(scores, rows, dst, said_splits, said, splits, values):
    symbol, child, sibling, ends = _tree(splits, values)
    nodes, last = len(symbol), len(rows) - 2
    # Pairs of a state and a node that some path reaches. Those of a state are a chain.
    room = 1024
    node_of = np.zeros(room, np.int64)
    following = np.full(room, -1, np.int64)
    best = np.full(room, -np.inf)
    total = np.full(room, -np.inf)
    came = np.full(room, -1, np.int64)
    by = np.full(room, -1, np.int64)
    head = np.full(last + 1, -1, np.int64)
    state_of = np.zeros(room, np.int64)
    table = np.full(4 * room, -1, np.int64)  # of places of pairs, by hash
    count = 0
    if last > 0:
        head[0], best[0], total[0], count = 0, 0.0, 0.0, 1
    for state in range(last):
        pair = head[state]
        while pair >= 0:
            for arc in range(rows[state], rows[state + 1]):
                node = node_of[pair]
                for k in range(said_splits[arc], said_splits[arc + 1]):
                    if node >= 0:
                        node = _after(node, said[k], symbol, child, sibling)
                if node < 0:
                    continue
                target = dst[arc]
                slot = _slot(table, state_of, node_of, target, node, nodes)
                place = table[slot]
                if place < 0:
                    if count == room:
                        node_of = np.concatenate((node_of, node_of))
                        state_of = np.concatenate((state_of, state_of))
                        following = np.concatenate((following, following))
                        best = np.concatenate((best, best))
                        total = np.concatenate((total, total))
                        came = np.concatenate((came, came))
                        by = np.concatenate((by, by))
                        room *= 2
                        table = np.full(4 * room, -1, np.int64)
                        for other in range(count):
                            here = _slot(
                                table, state_of, node_of, state_of[other], node_of[other], nodes
                            )
                            table[here] = other
                        slot = _slot(table, state_of, node_of, target, node, nodes)
                    place = count
                    count += 1
                    table[slot] = place
                    node_of[place], state_of[place] = node, target
                    best[place], total[place] = -np.inf, -np.inf
                    came[place], by[place] = -1, -1
                    following[place] = head[target]
                    head[target] = place
                score = best[pair] + scores[arc]
                if score > best[place]:
                    best[place], came[place], by[place] = score, pair, arc
                more = total[pair] + scores[arc]
                high, low = max(total[place], more), min(total[place], more)
                if high > -np.inf:
                    total[place] = high + np.log1p(np.exp(low - high))
            pair = following[pair]
    return _paths(ends, table, state_of, node_of, nodes, last, best, total, came, by)


@njit(cache=True, nogil=True)
def _paths(ends, table, state_of, node_of, nodes, last, best, total, came, by):
    """The fields of `ListedPaths`."""
    scores = np.full(len(ends), -np.inf)
    totals = np.full(len(ends), -np.inf)
    path_splits = np.zeros(len(ends) + 1, np.int64)
    places = np.full(len(ends), -1, np.int64)
    for i in range(len(ends)):
        if last > 0:
            places[i] = table[_slot(table, state_of, node_of, last, ends[i], nodes)]
        length, at = 0, places[i]
        while at >= 0 and came[at] >= 0:
            length += 1
            at = came[at]
        path_splits[i + 1] = path_splits[i] + length
    arcs = np.empty(path_splits[-1], np.int64)
    for i in range(len(ends)):
        at, to = places[i], path_splits[i + 1]
        if at >= 0:
            scores[i], totals[i] = best[at], total[at]
        while at >= 0 and came[at] >= 0:
            to -= 1
            arcs[to] = by[at]
            at = came[at]
    return scores, totals, path_splits, arcs


@njit(cache=True, nogil=True)
def _slot(table, state_of, node_of, state, node, nodes):
    """Where in the hash table of pairs a pair is, or where it belongs."""
    mask = np.uint64(len(table) - 1)
    key = np.uint64(state * nodes + node)
    slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & mask
    while table[slot] >= 0 and (node_of[table[slot]] != node or state_of[table[slot]] != state):
        slot = (slot + np.uint64(1)) & mask
    return slot
