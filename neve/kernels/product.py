"""The product of two graphs: pairs of states that can be reached together.

A matching pair of arcs moves both sides. With epsilons treated specially, an arc of label 0 on one
side moves that side alone, in either order (there is no filter against interleavings that differ
only in that: FSA-SPEC section 15).
"""

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import INT32_MAX


@njit(cache=True, nogil=True)
def _find(table, keys, key):
    """Where a pair is in the table, or the free place where it belongs."""
    mask = len(table) - 1
    place = (key * np.int64(-7046029254386353131) >> np.int64(20)) & mask
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & mask
    return place


@njit(cache=True, nogil=True)
def _grown(array, size):
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _lowest(labels, begin, end, label):
    """The first arc of begin..end, sorted as unsigned numbers, whose label is not below `label`."""
    wanted = np.uint32(label)
    while begin < end:
        middle = (begin + end) // 2
        if np.uint32(labels[middle]) < wanted:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(cache=True, nogil=True)
def _product(a_rows, a_dst, a_match, b_rows, b_dst, b_labels, epsilons, most):
    """(pairs, src, dst, arc of a, arc of b); -1 for the side that does not move.

    b's arcs are sorted by label within each state. The pair of states s and t is the number s times
    the states of b plus t. Returns no pairs if there would be more than `most` arcs.
    """
    b_states = np.int64(len(b_rows) - 1)
    pairs = np.empty(64, np.int64)
    table = np.full(128, -1, np.int32)
    src, dst = np.empty(64, np.int32), np.empty(64, np.int32)
    arc_a, arc_b = np.empty(64, np.int32), np.empty(64, np.int32)
    pairs[0] = 0
    table[_find(table, pairs, np.int64(0))] = 0
    num_pairs, num_arcs, state = 1, 0, 0
    while state < num_pairs:
        s_a, s_b = pairs[state] // b_states, pairs[state] % b_states
        b_begin, b_end = b_rows[s_b], b_rows[s_b + 1]
        # the arcs of a, and after them once b's epsilons
        for e in range(a_rows[s_a], a_rows[s_a + 1] + 1):
            alone_b = e == a_rows[s_a + 1]
            if alone_b:
                if not epsilons:
                    break
                first, label = _lowest(b_labels, b_begin, b_end, 0), 0
            else:
                label = a_match[e]
                first = -1 if epsilons and label == 0 else _lowest(b_labels, b_begin, b_end, label)
            k = first
            while first < 0 or (k < b_end and b_labels[k] == label):
                if num_arcs == most:
                    return pairs[:0], src[:0], dst[:0], arc_a[:0], arc_b[:0]
                to_a = s_a if alone_b else np.int64(a_dst[e])
                to_b = s_b if first < 0 else np.int64(b_dst[k])
                key = to_a * b_states + to_b
                place = _find(table, pairs, key)
                if table[place] < 0:
                    if num_pairs == len(pairs):
                        pairs = _grown(pairs, 2 * num_pairs)
                        table = np.full(4 * num_pairs, -1, np.int32)
                        for i in range(num_pairs):
                            table[_find(table, pairs, pairs[i])] = i
                        place = _find(table, pairs, key)
                    pairs[num_pairs] = key
                    table[place] = num_pairs
                    num_pairs += 1
                if num_arcs == len(src):
                    src, dst = _grown(src, 2 * num_arcs), _grown(dst, 2 * num_arcs)
                    arc_a, arc_b = _grown(arc_a, 2 * num_arcs), _grown(arc_b, 2 * num_arcs)
                src[num_arcs], dst[num_arcs] = state, table[place]
                arc_a[num_arcs] = -1 if alone_b else e
                arc_b[num_arcs] = -1 if first < 0 else k
                num_arcs += 1
                if first < 0:
                    break
                k += 1
        state += 1
    return pairs[:num_pairs], src[:num_arcs], dst[:num_arcs], arc_a[:num_arcs], arc_b[:num_arcs]


def product(
    a_rows: np.ndarray,
    a_dst: np.ndarray,
    a_match: np.ndarray,
    b_rows: np.ndarray,
    b_dst: np.ndarray,
    b_labels: np.ndarray,
    epsilons: bool,
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(number of states, src, dst, arc of a, arc of b) of the product of two graphs.

    Arcs are given by row splits, destination and the label to be matched; b's must be sorted by
    label, as unsigned numbers, within each state. Label -1 matches -1 only. A product whose final
    states are never reached together has 0 states. Raises NeveError if it would not fit in 32 bits.
    """
    none = np.empty(0, np.int32)
    if len(a_rows) < 3 or len(b_rows) < 3:
        return 0, none, none, none, none
    pairs, src, dst, arc_a, arc_b = _product(
        a_rows, a_dst, a_match, b_rows, b_dst, b_labels, epsilons, INT32_MAX // 2
    )
    if len(pairs) == 0:
        raise NeveError(
            f"the product would have more than {INT32_MAX // 2:,} arcs; use smaller graphs"
        )
    final = (len(a_rows) - 1) * (len(b_rows) - 1) - 1
    where = np.nonzero(pairs == final)[0]
    if len(where) == 0:  # no arc enters the final state
        return len(pairs) + 1, src, dst, arc_a, arc_b
    # the final state goes to the end, the others keep their order
    number = np.arange(len(pairs), dtype=np.int32)
    number[where[0] + 1 :] -= 1
    number[where[0]] = len(pairs) - 1
    return len(pairs), number[src], number[dst], arc_a, arc_b
