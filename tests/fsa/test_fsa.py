"""Automata on tensors: construction, attributes, conversions."""

import numpy as np
import pytest
import torch

from neve.errors import NeveError
from neve.fsa import Fsa, FsaVec, RaggedTensor, linear_fsa

TEXT = "0 1 5 2 -0.5\n0 1 3 0 0.25\n1 2 -1 -1 0\n2\n"


def packed(rows):
    arcs = torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)
    return arcs


def test_text_goes_around():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    assert fsa.shape == (3, None)
    assert fsa.labels.tolist() == [5, 3, -1]
    assert fsa.aux_labels.tolist() == [2, 0, -1]
    assert fsa.scores.tolist() == [-0.5, 0.25, 0]
    assert fsa.to_str() == TEXT


def test_text_without_scores_and_with_lists():
    fsa = Fsa.from_str("0 1 5 [2 3]\n0 1 3 []\n1 2 -1 [-1] 1.5\n2", acceptor=False)
    assert fsa.aux_labels.tolist() == [[2, 3], [], [-1]]
    assert fsa.scores.tolist() == [0, 0, 1.5]
    assert Fsa.from_str(fsa.to_str(), acceptor=False).aux_labels == fsa.aux_labels
    assert Fsa.from_str("0 1 -1\n1").to_str() == "0 1 -1 0\n1\n"
    assert Fsa.from_str("").shape == (0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 x\n1", "line 1"),
        ("0 1 -1 0\n1\n0 1 -1", "line 3"),
        ("0 1 -1 0 0 0\n1", "line 1"),
        ("0 1 -1", "last line must be the number of the final state"),
        ("1 2 -1\n0 2 -1\n2", "sorted by their first column"),
        ("0 1 7\n1", "label -1 must be on exactly"),
        ("0 1 -1 nan\n1", "NaN"),
    ],
)
def test_bad_text_names_its_line(text, message):
    with pytest.raises(NeveError, match=message):
        Fsa.from_str(text)


def test_openfst_text_gets_a_final_state_and_scores():
    fsa = Fsa.from_openfst("1 0 4 6 0.5\n1 1 3 0\n0 2.5\n1 inf\n", acceptor=False)
    # state 1 is the start; arcs, then the final ones
    assert fsa.to_str() == "0 1 4 6 -0.5\n0 0 3 0 -0\n1 2 -1 -1 -2.5\n2\n"
    acceptor = Fsa.from_openfst("0 1 4 0.5\n1")
    assert acceptor.to_str() == "0 1 4 -0.5\n1 2 -1 -0\n2\n"
    assert Fsa.from_openfst("").num_states == 0


@pytest.mark.parametrize(
    "line", ["0 1 2", "0 1 2 x", "0 1 2 3 4 5", "0 y", "0 1 -2 3", "0 1 2 3 nan", "0.5 1 2 3"]
)
def test_bad_openfst_text_names_its_line(line):
    with pytest.raises(NeveError, match="line 2: "):
        Fsa.from_openfst(f"0 1 1 1\n{line}\n1 0.5\n", acceptor=False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 7, 0]], "labels: arc 0"),
        ([[0, 1, 1, 0], [1, 0, -1, 0]], "labels: arc 0"),
        ([[0, 1, -5, 0]], "labels: -5"),
        ([[0, -1, 1, 0], [0, 1, -1, 0]], "dst"),
        ([[1, 1, 1, 0], [0, 2, -1, 0]], "sorted by source"),
        ([[-1, 1, -1, 0]], "src"),
        ([[0, 1, -1, 0x7FC00000]], "scores: arc 0 is NaN"),
    ],
)
def test_bad_arcs_are_named(rows, message):
    with pytest.raises(NeveError, match=message):
        Fsa(packed(rows))


def test_arcs_of_a_wrong_kind_are_named():
    with pytest.raises(NeveError, match=r"\(num_arcs, 4\)"):
        Fsa(torch.zeros(3, 3, dtype=torch.int32))
    with pytest.raises(NeveError, match="int32"):
        Fsa(torch.zeros(1, 4))


def test_attributes_must_fit_the_arcs():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    fsa.weight = torch.tensor([1.0, 2, 3])
    fsa.name = "a graph"
    assert fsa.arc_attributes().keys() == {"aux_labels", "weight"}
    assert fsa.other_attributes() == {"name": "a graph"}
    with pytest.raises(NeveError, match="weight: 2 rows, but there are 3 arcs"):
        fsa.weight = torch.zeros(2)
    with pytest.raises(NeveError, match="scores: float32"):
        fsa.scores = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(NeveError, match="labels cannot be replaced"):
        fsa.labels = torch.zeros(3, dtype=torch.int32)
    del fsa.weight
    with pytest.raises(AttributeError, match="weight"):
        _ = fsa.weight


def test_a_vector_is_a_sequence_of_its_automata():
    one = Fsa.from_str(TEXT, acceptor=False)
    two = Fsa.from_str("0 1 4 [7 8]\n1 2 -1 []\n2", acceptor=False)
    one.only_here = torch.zeros(3)
    vec = FsaVec([one, two, Fsa.from_str("", acceptor=False)])
    assert vec.shape == (3, None, None) and len(vec) == 3
    assert vec.state_splits.tolist() == [0, 3, 6, 6]
    assert vec.arc_splits.tolist() == [0, 3, 5, 5]
    assert "only_here" not in vec.attributes
    assert vec.aux_labels.tolist() == [[2], [0], [-1], [7, 8], []]
    assert vec[1].to_str() == two.to_str()
    assert vec[-1].num_states == 0
    assert [fsa.num_arcs for fsa in vec] == [3, 2, 0]
    with pytest.raises(IndexError):
        vec[3]
    src, dst = vec.flat_states()
    assert src.tolist() == [0, 0, 1, 3, 4] and dst.tolist() == [1, 1, 2, 4, 5]
    with pytest.raises(NeveError, match="holds 3"):
        vec.to_graph()
    assert len(FsaVec([])) == 0


def test_graph_arrays_go_around():
    fsa = Fsa.from_str("0 1 5 [2 3] 0.5\n1 2 -1 []\n2", acceptor=False)
    again = Fsa.from_graph(fsa.to_graph())
    assert again.to_str() == fsa.to_str()
    np.testing.assert_array_equal(again.arcs, fsa.arcs)
    assert "aux_labels" not in linear_fsa([1, 2]).attributes


def test_scores_can_need_a_gradient():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    fsa.scores = fsa.scores.requires_grad_()
    (2 * FsaVec([fsa, fsa])[1].scores.sum()).backward()
    assert fsa.scores.grad.tolist() == [2, 2, 2]


def test_ragged_tensors_check_their_splits():
    assert RaggedTensor.from_list([[1], [], [2, 3]])[2].tolist() == [2, 3]
    assert RaggedTensor.from_list([[1], [], [2, 3]])[1:].tolist() == [[], [2, 3]]
    picked = RaggedTensor.from_list([[1], [], [2, 3]])[torch.tensor([2, -1, 0])]
    assert picked.tolist() == [[2, 3], [], [1]]
    for splits in ([0, 2, 1, 3], [0, 2], [1, 3], []):
        with pytest.raises(NeveError, match="row_splits"):
            RaggedTensor(torch.tensor(splits), torch.tensor([1, 2, 3]))
