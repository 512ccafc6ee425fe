"""Composition of a CTC topology with a graph, without making the topology's C^2 arcs.

A state of the result is a pair (last frame's token, state of the graph). Only the tokens that enter
a graph state can be the last token there, so that all pairs are known beforehand and nothing has to
be searched or trimmed.
"""

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import Graph, check_size
from neve.kernels.structure import arc_sort, gather_ragged, group_by


@njit(cache=True, nogil=True)
def _number_pairs(order, dst, labels, num_states):
    """Numbers the pairs: the blank pair of a state first, then its tokens in rising order.

    `order` has the arcs sorted by (dst, label). Returns (blank (S,), pair (A,), token (P,),
    state (P,)): the pair of each state after a blank, the pair that each arc enters, and the token
    (0 for blank) and graph state of each pair.
    """
    blank = np.empty(num_states, np.int32)
    pair = np.empty(len(dst), np.int32)
    token = np.empty(num_states + len(dst), np.int32)
    state = np.empty(num_states + len(dst), np.int32)
    n, k = 0, 0
    for s in range(num_states):
        blank[s] = n
        token[n], state[n] = 0, s
        n += 1
        while k < len(order) and dst[order[k]] == s:
            e = order[k]
            if labels[e] < 0:
                pair[e] = blank[s]
            else:
                if token[n - 1] != labels[e]:
                    token[n], state[n] = labels[e], s
                    n += 1
                pair[e] = n - 1
            k += 1
    return blank, pair, token[:n].copy(), state[:n].copy()


@njit(cache=True, nogil=True)
def _standard_arcs(rows, labels, blank, pair, token, state, num_arcs):
    """Arcs of the standard topology: (row splits, dst, labels, arc map; -1 for the topology's)."""
    num_pairs = len(token)
    out = np.zeros(num_pairs + 1, np.int32)
    dst = np.empty(num_arcs, np.int32)
    new_labels = np.empty(num_arcs, np.int32)
    source = np.empty(num_arcs, np.int32)
    n = 0
    for p in range(num_pairs - 1):
        s = state[p]
        dst[n], new_labels[n], source[n] = blank[s], 0, -1
        n += 1
        if token[p] != 0:
            dst[n], new_labels[n], source[n] = p, token[p], -1
            n += 1
        for e in range(rows[s], rows[s + 1]):
            if token[p] == 0 or labels[e] != token[p]:
                dst[n], new_labels[n], source[n] = pair[e], labels[e], e
                n += 1
        out[p + 1] = n
    out[num_pairs] = n
    return out, dst[:n], new_labels[:n], source[:n]


@njit(cache=True, nogil=True)
def _modified_arcs(rows, labels, blank, pair, token, state, num_arcs):
    """`_standard_arcs` for the modified topology."""
    num_pairs = len(token)
    out = np.zeros(num_pairs + 1, np.int32)
    dst = np.empty(num_arcs, np.int32)
    new_labels = np.empty(num_arcs, np.int32)
    source = np.empty(num_arcs, np.int32)
    n = 0
    for p in range(num_pairs - 1):
        s = state[p]
        if token[p] != 0:
            dst[n], new_labels[n], source[n] = p, token[p], -1
            dst[n + 1], new_labels[n + 1], source[n + 1] = blank[s], token[p], -1
            n += 2
        else:
            dst[n], new_labels[n], source[n] = p, 0, -1
            n += 1
            for e in range(rows[s], rows[s + 1]):
                dst[n], new_labels[n], source[n] = pair[e], labels[e], e
                n += 1
                if labels[e] > 0:
                    # the token may also last one frame only; the pair after a blank is state's own
                    dst[n], new_labels[n], source[n] = blank[state[pair[e]]], labels[e], e
                    n += 1
        out[p + 1] = n
    out[num_pairs] = n
    return out, dst[:n], new_labels[:n], source[:n]


def compose_ctc(graph: Graph, modified: bool = False) -> Graph:
    """The CTC topology composed with `graph`, an epsilon-free, connected acceptor of tokens.

    The result consumes one label a frame (0 is the blank) and emits what `graph` emits. It equals
    composition with `ctc_topo(max_token, modified)` up to state numbers. Arcs are sorted.

    Raises NeveError if `graph` has epsilon arcs or the result is too large.
    """
    if np.any(graph.labels == 0):
        raise NeveError("CTC composition needs a graph without epsilons: use remove_epsilon first")
    num_states = graph.num_states
    if num_states == 0:
        return graph
    order = group_by(np.maximum(graph.labels, 0), graph.max_label + 1)
    order = group_by(graph.dst, num_states, order)
    blank, pair, token, state = _number_pairs(order, graph.dst, graph.labels, num_states)
    degrees = np.diff(graph.row_splits).astype(np.int64)
    most = int((2 + 2 * degrees[state[token == 0]]).sum()) if modified else 0
    most += int((2 + (0 if modified else 1) * degrees[state[token != 0]]).sum())
    most += 0 if modified else int((2 + degrees[state[token == 0]]).sum())
    check_size(most, "the CTC graph")
    arcs = _modified_arcs if modified else _standard_arcs
    rows, dst, labels, source = arcs(
        graph.row_splits, graph.labels, blank, pair, token, state, most
    )
    scores = np.where(source >= 0, graph.scores[source], np.float32(0)).astype(np.float32)
    aux_splits, aux_values = gather_ragged(graph.aux_splits, graph.aux_values, source)
    return arc_sort(Graph(rows, dst, labels, scores, aux_splits, aux_values))[0]
