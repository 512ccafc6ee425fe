"""The paths of a lattice that say given sequences: the best of each, and the sum of all."""

from typing import NamedTuple

import numpy as np
from numba import njit

NEGLIGIBLE = -37.0  # a probability of e to this, beside one of 1, is lost in float64


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
def _useful(rows, dst, said_splits, said, values):
    """Which arcs say only symbols of `values` and go where such arcs lead to the end."""
    last = len(rows) - 2
    listed = np.zeros(values.max() + 1 if len(values) else 1, np.bool_)
    listed[values] = True
    useful = np.zeros(len(dst), np.bool_)
    to_end = np.zeros(last + 1, np.bool_)
    to_end[last:] = True  # none if there are no states
    for state in range(last - 1, -1, -1):
        for arc in range(rows[state], rows[state + 1]):
            useful[arc] = to_end[dst[arc]]
            for k in range(said_splits[arc], said_splits[arc + 1]):
                useful[arc] &= said[k] < len(listed) and listed[said[k]]
            to_end[state] |= useful[arc]
    return useful


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
    useful = _useful(rows, dst, said_splits, said, values)
    # pairs of a state and a node that some path reaches: node, next of the state, pair and arc that
    # the best path comes from; its score and the total
    links = np.empty((1024, 4), np.int64)
    sums = np.empty((1024, 2), np.float64)
    head = np.full(last + 1, -1, np.int64)
    # (R, nodes) the pair of each node, in a row for each state that is reached and not yet left
    table = np.full((8, nodes), -1, np.int64)
    row_of = np.full(last + 1, -1, np.int64)
    free = np.arange(2 * last + 16)
    num_free, count = 8, 0
    if last > 0:
        head[0], count = 0, 1
        links[0], sums[0] = -1, 0.0
        links[0, 0] = 0
    for state in range(last):
        if head[state] < 0:
            continue
        arcs = 0
        for arc in range(rows[state], rows[state + 1]):
            arcs += useful[arc]
            if useful[arc] and row_of[dst[arc]] < 0:
                if num_free == 0:
                    num_free = len(table)
                    free[:num_free] = np.arange(num_free, 2 * num_free)
                    table = np.concatenate((table, np.full_like(table, -1)))
                num_free -= 1
                row_of[dst[arc]] = free[num_free]
        pairs, pair = 0, head[state]
        while pair >= 0:
            pairs += 1
            pair = links[pair, 1]
        while count + pairs * arcs > len(links):
            links, sums = np.concatenate((links, links)), np.concatenate((sums, sums))
        arrays = rows[state], rows[state + 1], dst, scores, useful, said_splits, said
        count = _leave(
            state, arrays, symbol, child, sibling, links, sums, head, table, row_of, count
        )
        if row_of[state] >= 0:
            free[num_free] = row_of[state]
            num_free += 1
    places = np.full(len(ends), -1, np.int64)
    if last > 0 and row_of[last] >= 0:
        places = table[row_of[last]][ends]
    return _paths(places, links, sums)


@njit(cache=True, nogil=True)
def _leave(state, arrays, symbol, child, sibling, links, sums, head, table, row_of, count):
    """Follows the arcs of a state from all of its pairs; how many pairs there are then."""
    first, end, dst, scores, useful, said_splits, said = arrays
    pair = head[state]
    while pair >= 0:
        for arc in range(first, end):
            if not useful[arc]:
                continue
            node = links[pair, 0]
            for k in range(said_splits[arc], said_splits[arc + 1]):
                if node >= 0:
                    node = _after(node, said[k], symbol, child, sibling)
            if node < 0:
                continue
            target = dst[arc]
            score, more = sums[pair, 0] + scores[arc], sums[pair, 1] + scores[arc]
            place = table[row_of[target], node]
            if place < 0:
                table[row_of[target], node] = count
                links[count, 0], links[count, 1] = node, head[target]
                links[count, 2], links[count, 3] = pair, arc
                sums[count, 0], sums[count, 1] = score, more
                head[target] = count
                count += 1
                continue
            if score > sums[place, 0]:
                sums[place, 0] = score
                links[place, 2], links[place, 3] = pair, arc
            high, low = max(sums[place, 1], more), min(sums[place, 1], more)
            if low - high > NEGLIGIBLE:
                high += np.log1p(np.exp(low - high))
            sums[place, 1] = high
        if row_of[state] >= 0:
            table[row_of[state], links[pair, 0]] = -1
        pair = links[pair, 1]
    return count


@njit(cache=True, nogil=True)
def _paths(places, links, sums):
    """The fields of `ListedPaths`."""
    scores = np.full(len(places), -np.inf)
    totals = np.full(len(places), -np.inf)
    splits = np.zeros(len(places) + 1, np.int64)
    for i in range(len(places)):
        length, at = 0, places[i]
        while at >= 0 and links[at, 2] >= 0:
            length += 1
            at = links[at, 2]
        splits[i + 1] = splits[i] + length
    arcs = np.empty(splits[-1], np.int64)
    for i in range(len(places)):
        at, to = places[i], splits[i + 1]
        if at >= 0:
            scores[i], totals[i] = sums[at]
        while at >= 0 and links[at, 2] >= 0:
            to -= 1
            arcs[to] = links[at, 3]
            at = links[at, 2]
    return scores, totals, splits, arcs
