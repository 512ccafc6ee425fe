"""CTC topologies and chains, against their definitions."""

import itertools

import pytest

from neve.errors import NeveError
from neve.fsa import (
    Fsa,
    RaggedTensor,
    arc_sort,
    connect,
    ctc_graph,
    ctc_topo,
    is_rand_equivalent,
    linear_fsa,
    linear_fsa_with_self_loops,
    linear_fst,
    linear_fst_with_self_loops,
    random_fsa,
    trivial_graph,
)
from neve.kernels import Graph, compose_ctc


def collapse(frames):
    """CTC's own definition of what frames say: runs become one token, blanks go."""
    return tuple(token for token, _ in itertools.groupby(frames) if token != 0)


def outputs(graph: Graph, frames) -> dict[tuple, float]:
    """What paths over `frames` emit, each with its best score."""
    reached = {(0, ()): 0.0}
    splits = graph.aux_splits
    for frame in [*frames, -1]:
        after = {}
        for (state, said), score in reached.items():
            for e in range(graph.row_splits[state], graph.row_splits[state + 1]):
                if graph.labels[e] == frame:
                    emitted = graph.aux_values[splits[e] : splits[e + 1]].tolist()
                    key = int(graph.dst[e]), (*said, *(x for x in emitted if x > 0))
                    after[key] = max(after.get(key, -1e9), score + float(graph.scores[e]))
        reached = after
    return {said: score for (_, said), score in reached.items()}


@pytest.mark.parametrize("length", range(5))
def test_the_standard_topology_collapses_frames(length):
    topology = ctc_topo(2).to_graph()
    assert (topology.num_states, topology.num_arcs) == (4, 12)
    for frames in itertools.product(range(3), repeat=length):
        assert outputs(topology, frames).keys() == {collapse(frames)}


def test_the_modified_topology_may_repeat_tokens():
    topology = ctc_topo(2, modified=True).to_graph()
    assert (topology.num_states, topology.num_arcs) == (4, 10)
    assert outputs(topology, [1, 1, 0]).keys() == {(1,), (1, 1)}
    assert outputs(topology, [0, 2, 1]).keys() == {(2, 1)}
    assert ctc_topo(0).to_str() == "0 0 0 0 0\n0 1 -1 -1 0\n1\n"


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("tokens", [[], [1], [1, 1], [1, 2], [2, 2, 1]])
def test_utterance_graphs_accept_the_alignments_of_their_tokens(tokens, modified):
    graph = ctc_graph([tokens], modified)[0].to_graph()
    assert graph.num_states == 2 * len(tokens) + 2
    topology = ctc_topo(2, modified).to_graph()
    for length in range(5):
        for frames in itertools.product(range(3), repeat=length):
            accepted = tuple(tokens) in outputs(topology, frames)
            assert outputs(graph, frames).keys() == ({tuple(tokens)} if accepted else set())


@pytest.mark.parametrize("modified", [False, True])
def test_composition_equals_the_topology_followed_by_the_graph(modified):
    graph = Fsa.from_str(
        "0 1 1 [7] -0.5\n0 2 2 [8 9] -1\n0 1 2 [] -3\n1 0 1 [5] -0.25\n1 2 1 [6] 0\n"
        "1 3 -1 [] -2\n2 2 2 [4] -1\n2 3 -1 [] 0\n3\n",
        acceptor=False,
    ).to_graph()
    composed = compose_ctc(graph, modified)
    topology = ctc_topo(2, modified).to_graph()
    for length in range(5):
        for frames in itertools.product(range(3), repeat=length):
            wanted = {}
            for tokens in outputs(topology, frames):
                for said, score in outputs(graph, tokens).items():
                    wanted[said] = max(wanted.get(said, -1e9), score)
            assert outputs(composed, frames) == wanted


def test_chains_and_loops():
    assert linear_fsa([3, 0]).to_str() == "0 1 3 0\n1 2 0 0\n2 3 -1 0\n3\n"
    assert linear_fsa([]).to_str() == "0 1 -1 0\n1\n"
    assert [fsa.num_arcs for fsa in linear_fsa([[1, 2], []])] == [3, 1]
    assert trivial_graph(2).to_str() == "0 0 1 1 0\n0 0 2 2 0\n0 1 -1 -1 0\n1\n"


def test_bad_tokens_are_named():
    with pytest.raises(NeveError, match="token 0 at position 1"):
        ctc_graph([[1, 0]])
    with pytest.raises(NeveError, match="token -1 at position 0"):
        linear_fsa([-1])
    with pytest.raises(NeveError, match="max_token"):
        ctc_topo(-1)
    with pytest.raises(NeveError, match="max_token"):
        trivial_graph(0)


def test_chains_that_write_and_loop():
    fst = linear_fst([[1, 2], []], [[3, 0], []])
    assert fst[0].to_str() == "0 1 1 3 0\n1 2 2 0 0\n2 3 -1 -1 0\n3\n"
    assert linear_fst([1], [4]).to_str() == "0 1 1 4 0\n1 2 -1 -1 0\n2\n"
    looped = linear_fst_with_self_loops(linear_fst([[1, 0, 2]], [[3, 5, 4]]))[0]
    assert looped.num_states == 4
    assert looped.labels.tolist() == [0, 1, 0, 2, 0, -1]
    assert [x for row in looped.aux_labels.tolist() for x in row if x > 0] == [3, 5, 4]
    assert linear_fsa_with_self_loops(linear_fsa([7])).labels.tolist() == [0, 7, 0, -1]
    ragged = RaggedTensor([[1, 2], [], [3]])
    assert linear_fsa(ragged).labels.tolist() == [1, 2, -1, -1, 3, -1]
    assert ctc_graph(ragged).num_arcs == ctc_graph([[1, 2], [], [3]]).num_arcs
    with pytest.raises(NeveError, match="aux_labels: as many"):
        linear_fst([1, 2], [3])


def test_random_strings_tell_automata_apart():
    for _ in range(50):
        fsa = random_fsa(max_num_arcs=20, max_symbol=3)
        assert is_rand_equivalent(fsa, arc_sort(fsa), True, treat_epsilons_specially=False)
        other = fsa.clone()
        if connect(fsa).num_arcs:
            other.scores = other.scores + 1
            assert not is_rand_equivalent(fsa, other, False)
    assert is_rand_equivalent(linear_fsa([[1], [2]]), linear_fsa([[1], [2]]), False)
    assert not is_rand_equivalent(linear_fsa([[1], [2]]), linear_fsa([[1], [3]]), True)
