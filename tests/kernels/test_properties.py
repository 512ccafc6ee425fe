"""Invariants of the graph operations on random graphs of up to six states."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.kernels import (
    Graph,
    arc_sort,
    connect,
    minimize,
    remove_epsilon,
)

LABELS = (1, 2)
quick = settings(max_examples=200, deadline=None)


@st.composite
def graphs(draw, labels=(0, *LABELS), highest=1, acyclic=False):
    """Graphs of 2..6 states; scores are multiples of 1/4, so that sums are exact."""
    num_states = draw(st.integers(2, 6))
    final = num_states - 1
    state = st.integers(0, final - 1)
    arc = st.tuples(
        state, state, st.sampled_from(labels), st.integers(-8, highest), st.integers(0, 3)
    )
    arcs = draw(st.lists(arc, max_size=12))
    if acyclic:
        arcs = [(min(a, b), max(a, b), *rest) for a, b, *rest in arcs if a != b]
    ends = draw(st.lists(st.tuples(state, st.integers(-8, 0)), min_size=1, max_size=3))
    arcs += [(src, final, -1, score, 0) for src, score in ends]
    src, dst, label, score, aux = zip(*arcs)
    return Graph.from_arcs(num_states, src, dst, label, np.array(score) / 4, aux)


def arcs_of(graph: Graph) -> list[tuple]:
    splits = graph.aux_splits
    return [
        (
            int(src),
            int(graph.dst[e]),
            int(graph.labels[e]),
            float(graph.scores[e]),
            tuple(graph.aux_values[splits[e] : splits[e + 1]].tolist()),
        )
        for e, src in enumerate(graph.src)
    ]


def string_scores(graph: Graph, longest: int = 3) -> dict[tuple, float]:
    """The best score of each label string of at most `longest` labels that is accepted."""
    arcs = arcs_of(graph)

    def follow_epsilons(best):
        for _ in range(graph.num_states):
            for src, dst, label, score, _aux in arcs:
                if label == 0:
                    best[dst] = max(best[dst], best[src] + score)
        return best

    start = [-np.inf] * graph.num_states
    if start:
        start[0] = 0.0
    found = {}
    for length in range(longest + 1):
        for string in itertools.product(LABELS, repeat=length):
            best = follow_epsilons(list(start))
            for wanted in string:
                after = [-np.inf] * graph.num_states
                for src, dst, label, score, _aux in arcs:
                    if label == wanted:
                        after[dst] = max(after[dst], best[src] + score)
                best = follow_epsilons(after)
            ends = [best[src] + score for src, _dst, label, score, _aux in arcs if label == -1]
            total = max(ends, default=-np.inf)
            if total > -np.inf:
                found[string] = total
    return found


def has_positive_cycle(graph: Graph) -> bool:
    n = graph.num_states
    best = np.full((n, n), -np.inf)
    for src, dst, label, score, _aux in arcs_of(graph):
        if label == 0:
            best[src, dst] = max(best[src, dst], score)
    for k in range(n):
        best = np.maximum(best, best[:, k : k + 1] + best[k : k + 1, :])
    return bool((np.diag(best) > 0).any())


@quick
@given(graphs())
def test_arc_sort_orders_arcs_and_changes_nothing_else(graph):
    result, arc_map = arc_sort(graph)
    arcs = arcs_of(result)
    keys = [(src, label if label >= 0 else 2**32, dst) for src, dst, label, *_ in arcs]
    assert keys == sorted(keys)
    assert sorted(arc_map.tolist()) == list(range(graph.num_arcs))
    before = arcs_of(graph)
    assert arcs == [before[e] for e in arc_map]


@quick
@given(graphs())
def test_connect_keeps_exactly_what_is_on_paths(graph):
    result, arc_map = connect(graph)
    arcs = arcs_of(graph)
    forward, backward = {0}, {graph.num_states - 1}
    for _ in arcs:
        for src, dst, *_rest in arcs:
            if src in forward:
                forward.add(dst)
            if dst in backward:
                backward.add(src)
    useful = sorted(forward & backward)
    number = {state: i for i, state in enumerate(useful)}
    wanted = [
        (number[src], number[dst], *rest)
        for src, dst, *rest in arcs
        if src in number and dst in number
    ]
    assert arcs_of(result) == wanted
    assert result.num_states == len(useful)
    assert [arcs[e][2:] for e in arc_map] == [arc[2:] for arc in wanted]


@quick
@given(graphs())
def test_epsilon_removal_keeps_the_best_score_of_every_string(graph):
    trimmed, _ = connect(graph)
    try:
        result, splits, arc_map = remove_epsilon(graph)
    except NeveError as error:
        assert "positive score" in str(error)
        assert has_positive_cycle(trimmed)
        return
    assert not has_positive_cycle(trimmed)
    assert not (result.labels == 0).any()
    assert string_scores(result) == string_scores(graph)
    result.check()

    # every arc is a path of the input: connected, with its one label, its score and its words
    arcs = arcs_of(graph)
    for i, (_src, _dst, label, score, words) in enumerate(arcs_of(result)):
        path = [arcs[e] for e in arc_map[splits[i] : splits[i + 1]]]
        assert all(a[1] == b[0] for a, b in zip(path, path[1:]))
        assert [arc[2] for arc in path if arc[2] != 0] == [label]
        assert sum(arc[3] for arc in path) == score
        assert sum((arc[4] for arc in path), ()) == words


@quick
@given(graphs(labels=LABELS))
def test_minimisation_keeps_every_string_and_is_done_at_once(graph):
    graph, _ = arc_sort(graph)
    result = minimize(graph)
    assert string_scores(result) == string_scores(graph)
    assert result.num_states <= graph.num_states
    again = minimize(result)
    assert again.num_states == result.num_states
    signatures = {tuple(arc for arc in arcs_of(result) if arc[0] == s) for s in range(99)}
    stripped = [tuple(arc[1:] for arc in state) for state in signatures if state]
    assert len(set(stripped)) == len(stripped)


def test_a_long_epsilon_chain_into_a_cycle_is_removed():
    # a cycle of weight zero, in floats that do not add up exactly
    thirds = np.float32([0.1, 0.2, -0.3])
    graph = Graph.from_arcs(
        4, [0, 1, 2, 0, 2], [1, 2, 0, 0, 3], [0, 0, 0, 1, -1], [*thirds, 0, 0], [1, 2, 3, 0, 0]
    )
    result, _, _ = remove_epsilon(graph)
    scores = string_scores(result)
    np.testing.assert_allclose(list(scores.values()), 0.3, atol=1e-6)
    assert len(scores) == 4


def test_positive_epsilon_arcs_without_a_cycle_are_no_error():
    graph = Graph.from_arcs(
        6, [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, 0, 1, -1], [1, 1, 1, 0.5, 0], [1, 2, 3, 4, 0]
    )
    result, splits, arcs = remove_epsilon(graph)
    assert string_scores(result) == {(1,): 3.5}
    assert arcs.tolist() == [0, 1, 2, 3, 4]
    assert result.words([0])[0].tolist() == [1, 2, 3, 4]


def test_states_that_become_alike_late_are_merged_with_all_that_led_to_them():
    # 1 and 2 are alike, hence 3 and 4, hence 5, 6 and 7, hence 8 and 9; but 6 has been merged with
    # 7 before 7 is found to be like 5
    src = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    dst = [9, 8, 7, 10, 10, 2, 1, 3, 4, 4, 5, 6]
    labels = [1, 2, 3, -1, -1, 1, 1, 1, 1, 1, 2, 2]
    graph = Graph.from_arcs(11, src, dst, labels, [0] * 12)
    assert minimize(graph).num_states == 6


def test_a_state_like_the_start_becomes_the_start():
    graph = Graph.from_arcs(3, [0, 0, 1, 1], [1, 2, 1, 2], [1, -1, 1, -1], [0, -1, 0, -1])
    result = minimize(graph)
    assert (result.num_states, result.dst.tolist()) == (2, [0, 1])
