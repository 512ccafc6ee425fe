"""Topological order of a graph's states."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def top_order(rows, dst):
    """(S,) int32: the number of each state, -1 for those the start does not reach.

    Arcs lead to higher numbers; the start is 0 and the last state comes last, reached or not. If
    there is a cycle, the start's number is -1.
    """
    states = len(rows) - 1
    number = np.full(states, -1, np.int32)
    if states == 0:
        return number
    entering = np.zeros(states, np.int64)
    reached = np.zeros(states, np.bool_)
    stack = np.empty(states, np.int32)
    stack[0], size = 0, 1
    reached[0] = True
    count = 1
    while size > 0:
        size -= 1
        s = stack[size]
        for k in range(rows[s], rows[s + 1]):
            entering[dst[k]] += 1
            if not reached[dst[k]]:
                reached[dst[k]] = True
                count += 1
                stack[size] = dst[k]
                size += 1
    final = states - 1
    if entering[0] > 0:
        return number
    queue = np.empty(states, np.int32)
    queue[0], head, tail = 0, 0, 1
    numbered = 0
    while head < tail:
        s = queue[head]
        head += 1
        if s != final:
            number[s] = numbered
            numbered += 1
        for k in range(rows[s], rows[s + 1]):
            entering[dst[k]] -= 1
            if entering[dst[k]] == 0:
                queue[tail] = dst[k]
                tail += 1
    if head < count:
        number[:] = -1
        return number
    number[final] = numbered
    return number
