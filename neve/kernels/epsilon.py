"""Removal of epsilon arcs, tropical, in both directions.

Every best path of epsilon arcs from one state to another (an arc of the epsilon closure) is merged
either with the arcs that follow it or with the arcs that precede it, whichever makes fewer copies.
In a back-off language model graph, merging with the following arcs alone, the textbook way, copies
the whole of the unigram state into every history. (k2's remove_epsilon has the same idea.)
"""

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.graph import Graph, check_size
from neve.kernels.structure import connect, gather_ragged, group_by, splits_of

# An epsilon path must be better by more than this to replace another, so that rounding on a cycle
# of weight zero is not taken for a gain.
GAIN = 1e-9


@njit(cache=True, nogil=True)
def _positive_cycle(rows, dst, scores):
    """A state on an epsilon cycle of positive weight, or -1.

    Bellman-Ford from all states at once: without such a cycle no best path has more arcs than
    there are states.
    """
    num_states = len(rows) - 1
    best = np.zeros(num_states)
    length = np.zeros(num_states, np.int32)
    waiting = np.zeros(num_states, np.bool_)
    queue = np.empty(num_states, np.int32)
    head, count = 0, 0
    for state in range(num_states):
        if rows[state + 1] > rows[state]:
            queue[count] = state
            waiting[state] = True
            count += 1
    while count > 0:
        state = queue[head]
        head = (head + 1) % num_states
        count -= 1
        waiting[state] = False
        for k in range(rows[state], rows[state + 1]):
            other = dst[k]
            if best[state] + scores[k] > best[other] + GAIN:
                best[other] = best[state] + scores[k]
                length[other] = length[state] + 1
                if length[other] > num_states:
                    return other
                if not waiting[other]:
                    queue[(head + count) % num_states] = other
                    waiting[other] = True
                    count += 1
    return -1


@njit(cache=True, nogil=True)
def _grown(array, size):
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _closure(rows, dst, scores, is_source, is_target):
    """All best epsilon paths from sources to targets.

    Returns (from, to, score, splits, arcs): path p goes from from[p] to to[p] over
    arcs[splits[p]:splits[p+1]], which index the epsilon arcs given.
    """
    num_states = len(rows) - 1
    best = np.full(num_states, -np.inf)
    via = np.full(num_states, -1, np.int32)  # the epsilon arc of the best path that enters a state
    before = np.full(num_states, -1, np.int32)  # and the state it leaves
    waiting = np.zeros(num_states, np.bool_)
    reached = np.empty(num_states, np.int32)
    queue = np.empty(num_states, np.int32)
    begins = np.empty(1024, np.int32)
    ends = np.empty(1024, np.int32)
    totals = np.empty(1024, np.float64)
    splits = np.zeros(1024, np.int64)
    arcs = np.empty(1024, np.int32)
    num_paths, num_arcs = 0, 0
    for source in range(num_states):
        if not is_source[source] or rows[source] == rows[source + 1]:
            continue
        best[source] = 0.0
        reached[0] = source
        num_reached = 1
        queue[0] = source
        head, count = 0, 1
        while count > 0:
            state = queue[head]
            head = (head + 1) % num_states
            count -= 1
            waiting[state] = False
            for k in range(rows[state], rows[state + 1]):
                other = dst[k]
                score = best[state] + scores[k]
                if score > best[other] + GAIN:
                    if best[other] == -np.inf:
                        reached[num_reached] = other
                        num_reached += 1
                    best[other] = score
                    via[other] = k
                    before[other] = state
                    if not waiting[other]:
                        queue[(head + count) % num_states] = other
                        waiting[other] = True
                        count += 1
        for i in range(1, num_reached):
            target = reached[i]
            if not is_target[target]:
                continue
            if num_paths + 2 > len(splits):
                begins = _grown(begins, num_paths + 2)
                ends = _grown(ends, num_paths + 2)
                totals = _grown(totals, num_paths + 2)
                splits = _grown(splits, num_paths + 2)
            begins[num_paths] = source
            ends[num_paths] = target
            totals[num_paths] = best[target]
            length = 0
            state = target
            while state != source:
                length += 1
                state = before[state]
            if num_arcs + length > len(arcs):
                arcs = _grown(arcs, num_arcs + length)
            num_arcs += length
            state = target
            k = num_arcs
            while state != source:
                k -= 1
                arcs[k] = via[state]
                state = before[state]
            num_paths += 1
            splits[num_paths] = num_arcs
        for i in range(num_reached):
            best[reached[i]] = -np.inf
    return (
        begins[:num_paths],
        ends[:num_paths],
        totals[:num_paths],
        splits[: num_paths + 1],
        arcs[:num_arcs],
    )


@njit(cache=True, nogil=True)
def _expand(items, rows, num_new):
    """Pairs (index into items, arc of the row items[index]) for all items, flat."""
    item = np.empty(num_new, np.int32)
    arc = np.empty(num_new, np.int32)
    n = 0
    for i in range(len(items)):
        for k in range(rows[items[i]], rows[items[i] + 1]):
            item[n] = i
            arc[n] = k
            n += 1
    return item, arc


def _expanded(items, rows):
    """`_expand`, after checking that the result can be numbered."""
    num_new = int((rows[items + 1].astype(np.int64) - rows[items]).sum())
    check_size(num_new, "the graph without epsilons")
    return _expand(items, rows, num_new)


def _joined(first, second):
    """Rows of two ragged lists (of equally many rows) joined one by one, as (splits, values)."""
    (splits_a, a), (splits_b, b) = first, second
    num_rows = len(splits_a) - 1
    check_size(len(a) + len(b), "the arc map of epsilon removal")
    splits = np.concatenate((splits_a, splits_b[1:] + splits_a[-1]))
    index = np.arange(2 * num_rows, dtype=np.int32).reshape(2, num_rows).T.reshape(-1)
    splits, values = gather_ragged(splits, np.concatenate((a, b)), index)
    return splits[::2], values


def remove_epsilon(graph: Graph) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A graph without label-0 arcs in which every label sequence keeps its best score.

    Returns (graph, splits, arcs): arc i of the result stands for the arcs
    arcs[splits[i]:splits[i+1]] of the input, in their order on the path; its score is their sum and
    its auxiliary labels are theirs, concatenated. The result is connected.

    Raises NeveError if a cycle of epsilon arcs has a positive weight.
    """
    graph, kept = connect(graph)
    num_states = graph.num_states
    src = graph.src
    is_epsilon = graph.labels == 0
    epsilons = np.nonzero(is_epsilon)[0].astype(np.int32)
    others = np.nonzero(~is_epsilon)[0].astype(np.int32)
    eps_rows = splits_of(src[epsilons], num_states)
    eps_dst, eps_scores = graph.dst[epsilons], graph.scores[epsilons]
    if num_states and _positive_cycle(eps_rows, eps_dst, eps_scores) >= 0:
        raise NeveError(
            "epsilon removal: a cycle of epsilon arcs has a positive score, so that best paths "
            "have no end; look for positive scores (negative costs) on back-off or silence arcs"
        )
    rows = splits_of(src[others], num_states)
    entering = np.bincount(graph.dst[others], minlength=num_states)
    is_source = entering > 0
    is_source[:1] = True
    begins, ends, totals, splits, arcs = _closure(
        eps_rows, eps_dst, eps_scores, is_source, np.diff(rows) > 0
    )
    check_size(len(arcs), "the epsilon closure")
    splits = splits.astype(np.int32)
    arcs = epsilons[arcs]
    follow = (begins == 0) | (np.diff(rows)[ends] <= entering[begins])

    # All arcs that remain, and each path merged with the arcs that follow it.
    paths = np.nonzero(follow)[0].astype(np.int32)
    item, arc = _expanded(ends[paths], rows)
    one_splits = np.arange(len(arc) + 1, dtype=np.int32)
    merged = _joined(gather_ragged(splits, arcs, paths[item]), (one_splits, others[arc]))
    new_src = np.concatenate((src[others], begins[paths[item]]))
    last = np.concatenate((others, others[arc]))
    new_dst, labels = graph.dst[last], graph.labels[last]
    scores = graph.scores[last].astype(np.float64)
    scores[len(others) :] += totals[paths[item]]
    check_size(len(others) + len(merged[1]), "the arc map of epsilon removal")
    map_splits = np.concatenate(
        (np.arange(len(others), dtype=np.int32), merged[0] + np.int32(len(others)))
    )
    map_arcs = np.concatenate((others, merged[1]))

    # And of all these, each path merged with those that precede it.
    paths = np.nonzero(~follow)[0].astype(np.int32)
    order = group_by(new_dst, num_states)
    item, arc = _expanded(begins[paths], splits_of(new_dst, num_states))
    arc = order[arc]
    check_size(len(new_src) + len(arc), "the graph without epsilons")
    merged = _joined(
        gather_ragged(map_splits, map_arcs, arc), gather_ragged(splits, arcs, paths[item])
    )
    check_size(len(map_arcs) + len(merged[1]), "the arc map of epsilon removal")
    map_splits = np.concatenate((map_splits, merged[0][1:] + map_splits[-1]))
    map_arcs = np.concatenate((map_arcs, merged[1]))
    scores = np.concatenate((scores, scores[arc] + totals[paths[item]]))
    new_src = np.concatenate((new_src, new_src[arc]))
    new_dst = np.concatenate((new_dst, ends[paths[item]]))
    labels = np.concatenate((labels, labels[arc]))

    order = group_by(new_src, num_states)
    map_splits, map_arcs = gather_ragged(map_splits, map_arcs, order)
    aux_splits, aux_values = gather_ragged(graph.aux_splits, graph.aux_values, map_arcs)
    result = Graph(
        splits_of(new_src, num_states),
        new_dst[order],
        labels[order],
        scores[order].astype(np.float32),
        aux_splits[map_splits],
        aux_values,
    )
    result, useful = connect(result)
    map_splits, map_arcs = gather_ragged(map_splits, map_arcs, useful)
    return result, map_splits, kept[map_arcs]
