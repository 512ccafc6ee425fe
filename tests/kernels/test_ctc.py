"""The composition of CTC topologies with graphs."""

import pytest

from neve.errors import NeveError
from neve.kernels import Graph, compose_ctc


def test_one_token_makes_the_five_states_of_its_alignments():
    graph = Graph.from_arcs(3, [0, 1], [1, 2], [4, -1], [-1.5, -0.5], [9, 0])
    result = compose_ctc(graph)
    # (blank, 0), (blank, 1), (4, 1), (blank, final)
    assert result.num_states == 4
    arcs = list(zip(result.src.tolist(), result.dst.tolist(), result.labels.tolist()))
    assert arcs == [(0, 0, 0), (0, 2, 4), (1, 1, 0), (1, 3, -1), (2, 1, 0), (2, 2, 4), (2, 3, -1)]
    assert result.scores.tolist() == [0, -1.5, 0, -0.5, 0, 0, -0.5]
    assert result.words([1, 5, 6])[0].tolist() == [9]


def test_a_repeated_token_needs_a_blank_in_the_standard_topology_only():
    loop = Graph.from_arcs(2, [0, 0], [0, 1], [1, -1], [0, 0], [1, 0])
    standard, modified = compose_ctc(loop), compose_ctc(loop, modified=True)

    def outputs(graph, frames):
        """The token counts that a path over `frames` can emit."""
        reached = {(0, 0)}
        for frame in [*frames, -1]:
            reached = {
                (int(graph.dst[e]), count + int(graph.aux_splits[e + 1] - graph.aux_splits[e]))
                for state, count in reached
                for e in range(graph.row_splits[state], graph.row_splits[state + 1])
                if graph.labels[e] == frame
            }
        return {count for _, count in reached}

    assert outputs(standard, [1, 1, 0, 1]) == {2}
    assert outputs(modified, [1, 1, 1]) == {1, 2, 3}


def test_epsilons_are_refused_and_nothing_stays_nothing():
    with pytest.raises(NeveError, match="remove_epsilon"):
        compose_ctc(Graph.from_arcs(3, [0, 1], [1, 2], [0, -1], [0, 0]))
    assert compose_ctc(Graph.from_arcs(0, [], [], [], [])).num_states == 0


def test_arcs_of_one_token_into_one_state_share_their_pair():
    graph = Graph.from_arcs(
        3, [0, 0, 0, 1], [1, 1, 1, 2], [1, 1, 2, -1], [0, -1, 0, 0], [5, 6, 7, 0]
    )
    # (blank, 0), (blank, 1), (1, 1), (2, 1), (blank, final)
    assert compose_ctc(graph).num_states == 5
