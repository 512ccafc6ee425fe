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
        fsa.scores = torch.zeros(3, dtype=torch.int32)
    for bad, name in ((torch.nan, "NaN"), (torch.inf, "\\+inf")):
        with pytest.raises(NeveError, match=f"scores: arc 1 is {name}"):
            fsa.scores = torch.tensor([0.0, bad, -torch.inf])
    with pytest.raises(NeveError, match="src cannot be replaced"):
        fsa.src = torch.zeros(3, dtype=torch.int32)
    with pytest.raises(NeveError, match="labels: arc 2 would be 0; -1 belongs"):
        fsa.labels = torch.zeros(3, dtype=torch.int32)
    with pytest.raises(NeveError, match="labels: a tensor of 3 int32"):
        fsa.labels = torch.zeros(3)
    fsa.labels = torch.tensor([7, 0, -1], dtype=torch.int32)
    assert fsa.to_graph().labels.tolist() == [7, 0, -1]
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
    np.testing.assert_array_equal(again.arcs.values(), fsa.arcs.values())
    assert "aux_labels" not in linear_fsa([1, 2]).attributes


def test_scores_can_need_a_gradient():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    fsa.scores = fsa.scores.requires_grad_()
    (2 * FsaVec([fsa, fsa])[1].scores.sum()).backward()
    assert fsa.scores.grad.tolist() == [2, 2, 2]


def test_text_with_several_labels_and_lists():
    text = "0 1 1 6 5 [ 1 2 ] 0.5\n0 1 2 8 7 [ ] 0.25\n1 2 -1 -1 0 [ 3 ] 1\n2\n"
    fsa = Fsa.from_str(text, aux_label_names=["aux_labels", "more"], ragged_label_names=["pieces"])
    assert fsa.more.tolist() == [5, 7, 0]
    assert fsa.pieces.tolist() == [[1, 2], [], [3]]
    assert fsa.to_str() == text
    assert fsa.to_str(openfst=True) == "0 1 1 6 5 [ 1 2 ] -0.5\n0 1 2 8 7 [ ] -0.25\n1 -1\n"
    two = Fsa.from_str("0 1 1 4 9\n1 2 -1 -1 -1\n2", num_aux_labels=2)
    assert two.aux_labels2.tolist() == [9, -1]
    openfst = Fsa.from_str("0 1 1 4 9 0.5\n1 2", num_aux_labels=2, openfst=True)
    assert openfst.aux_labels2.tolist() == [9, -1] and openfst.scores.tolist() == [-0.5, -2]
    with pytest.raises(NeveError, match="line 1"):
        Fsa.from_str("0 1 1 [2\n1", acceptor=False)
    with pytest.raises(NeveError, match="32 bits"):
        Fsa.from_str(f"0 1 {2**31}\n1 2 -1\n2")
    with pytest.raises(NeveError, match="32 bits"):
        Fsa.from_str(f"0 1 {2**80}\n1 2 -1\n2")


def test_several_automata_go_around_in_k2s_packed_form():
    # the numbers that k2 1.23.4 has for two copies of one automaton
    arcs = [0, 1, 1, 1056964608, 1, 2, -1, 1065353216]
    wanted = [2, 0, 0, 3, 6, 0, 2, 4, *arcs, *arcs]
    fsa = Fsa.from_str("0 1 1 5 0.5\n1 2 -1 0 1\n2", num_aux_labels=1)
    vec = Fsa.from_fsas([fsa, fsa])
    content = vec.as_dict()
    assert content["arcs"].tolist() == wanted
    again = Fsa.from_dict(content)
    assert again.shape == (2, None, None) and again.aux_labels.tolist() == [5, 0, 5, 0]
    assert again[1].to_str() == fsa.to_str()
    joined = FsaVec([vec, fsa])
    assert joined.state_splits.tolist() == [0, 3, 6, 9] and joined[2].to_str() == fsa.to_str()


@pytest.mark.parametrize(
    ("place", "value"), [(0, 3), (0, -1), (0, 2**31 - 1), (3, 5), (4, 2), (6, 3), (7, 5), (9, 9)]
)
def test_a_damaged_packed_form_is_an_error(place, value):
    arcs = [0, 1, 1, 0, 1, 2, -1, 0]
    packed = torch.tensor([2, 0, 0, 3, 6, 0, 2, 4, *arcs, *arcs], dtype=torch.int32)
    packed[place] = value
    with pytest.raises(NeveError, match="arcs|dst|labels|src"):
        Fsa.from_dict({"arcs": packed})


def test_arcs_have_a_shape():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    assert fsa.arcs.shape().row_splits(1).tolist() == [0, 2, 3, 3]
    assert fsa.arcs.num_elements() == 3 and fsa.arcs.dim0() == 3
    vec = FsaVec([fsa, fsa])
    assert vec.arcs.shape().row_splits(1).tolist() == [0, 3, 6]
    assert vec.arcs.row_splits(2).tolist() == [0, 2, 3, 3, 5, 6, 6]
    assert vec.arcs.row_ids(2).tolist() == [0, 0, 1, 3, 3, 4]


def test_an_arc_that_comes_from_none_gets_the_filler():
    fsa = Fsa.from_str(TEXT, acceptor=False)
    fsa.weight = torch.tensor([1.0, 2, 3])
    fsa.weight_filler = -7.0
    fsa.pieces = RaggedTensor.from_list([[1], [2, 3], []])
    found = fsa.attributes_at(torch.tensor([2, -1, 0]))
    assert found["aux_labels"].tolist() == [-1, 0, 2]
    assert found["weight"].tolist() == [3, -7, 1]
    assert found["pieces"].tolist() == [[], [], [1]]
    fsa.rename_tensor_attribute_("weight", "cost")
    assert fsa.get_filler("cost") == -7 and "weight" not in fsa.attributes
    assert dict(fsa.named_tensor_attr()).keys() == {"scores", "aux_labels", "pieces", "cost"}
    assert fsa.convert_attr_to_ragged_("aux_labels").aux_labels.tolist() == [[2], [], [-1]]


def test_copies_and_gradients():
    fsa = Fsa.from_str(TEXT, acceptor=False).requires_grad_(True)
    other = fsa.clone()
    other.aux_labels[0] = 99
    assert fsa.aux_labels[0] == 2 and other.requires_grad and not fsa.detach().requires_grad
    other.to("cpu").scores.sum().backward()
    assert fsa.grad.tolist() == [1, 1, 1]
    assert fsa.is_cpu() and not fsa.is_cuda()


def test_stochastic_scores_sum_to_one_at_each_state():
    fsa = FsaVec([Fsa.from_str(TEXT, acceptor=False)] * 2)
    scores = torch.tensor([1.0, 2, 3, -100, -101, 80], requires_grad=True)
    fsa.set_scores_stochastic_(scores)
    log_softmax = torch.log_softmax(torch.tensor([1.0, 2]), 0).tolist()
    wanted = [*log_softmax, 0, *log_softmax[::-1], 0]
    np.testing.assert_allclose(fsa.scores.tolist(), wanted, atol=1e-5)
    fsa.scores[0].backward()
    np.testing.assert_allclose(scores.grad[:3], [0.731059, -0.731059, 0], atol=1e-5)


def test_ragged_tensors_check_their_splits():
    assert RaggedTensor.from_list([[1], [], [2, 3]])[2].tolist() == [2, 3]
    assert RaggedTensor.from_list([[1], [], [2, 3]])[1:].tolist() == [[], [2, 3]]
    picked = RaggedTensor.from_list([[1], [], [2, 3]])[torch.tensor([2, -1, 0])]
    assert picked.tolist() == [[2, 3], [], [1]]
    for splits in ([0, 2, 1, 3], [0, 2], [1, 3], []):
        with pytest.raises(NeveError, match="row_splits"):
            RaggedTensor.from_splits(torch.tensor(splits), torch.tensor([1, 2, 3]))
