"""Operations on automata of tensors: what happens to attributes and gradients."""

import pytest
import torch

from neve.errors import NeveError
from neve.fsa import Fsa, FsaVec, arc_sort, connect, invert, remove_epsilon, shortest_path

EPSILONS = """\
0 1 0 7 -1
0 2 3 8 -2
1 2 4 0 -0.5
2 3 -1 -1 -0.25
3
"""


def test_attributes_follow_sorted_and_connected_arcs():
    fsa = Fsa.from_str("0 2 5 1\n0 1 3 2\n1 1 2 3\n2 3 -1 -1\n3", acceptor=False)
    fsa.number = torch.arange(4)
    fsa.scores = fsa.scores.requires_grad_()
    sorted_ = arc_sort(fsa)
    assert sorted_.labels.tolist() == [3, 5, 2, -1]
    assert sorted_.number.tolist() == [1, 0, 2, 3]
    assert sorted_.aux_labels.tolist() == [2, 1, 3, -1]
    useful = connect(sorted_)
    assert useful.to_str() == "0 1 5 1 0\n1 2 -1 -1 0\n2\n"
    useful.scores.sum().backward()
    assert fsa.scores.grad.tolist() == [1, 0, 0, 1]
    assert [f.num_arcs for f in connect(FsaVec([fsa, fsa]))] == [2, 2]


def test_removed_epsilons_leave_sums_and_lists():
    fsa = Fsa.from_str(EPSILONS, acceptor=False)
    fsa.penalty = torch.tensor([1.0, 2, 4, 8])
    fsa.scores = fsa.scores.requires_grad_()
    result = remove_epsilon(fsa)
    rows = zip(result.labels.tolist(), result.scores.tolist(), result.aux_labels.tolist())
    assert sorted(rows) == [(-1, -0.25, [-1]), (3, -2, [8]), (4, -1.5, [7])]
    by_label = dict(zip(result.labels.tolist(), result.penalty.tolist()))
    assert by_label == {3: 2, 4: 5, -1: 8}
    result.scores.sum().backward()
    assert fsa.scores.grad.tolist() == [1, 1, 1, 1]


def test_a_positive_epsilon_cycle_is_an_error():
    text = "0 1 0 0.5\n1 0 0 -0.25\n1 2 -1\n2"
    with pytest.raises(NeveError, match="positive score"):
        remove_epsilon(Fsa.from_str(text))
    # a cycle that no path from start to end meets does not matter
    aside = "0 3 -1\n1 2 0 0.5\n2 1 0 -0.25\n3"
    assert remove_epsilon(Fsa.from_str(aside)).num_arcs == 1


def test_inversion_exchanges_labels_and_unfolds_lists():
    fsa = Fsa.from_str("0 1 5 [2 3] -0.5\n0 1 6 [] -1\n1 2 -1 [9] -2\n2", acceptor=False)
    fsa.number = torch.tensor([1.0, 2, 3])
    inverted = invert(fsa)
    assert inverted.to_str() == (
        "0 1 2 5 -0.5\n0 2 0 6 -1\n1 2 3 0 0\n2 3 9 0 -2\n3 4 -1 -1 0\n4\n"
    )
    assert inverted.number.tolist() == [1, 2, 0, 3, 0]
    plain = Fsa.from_str("0 1 5 2 -0.5\n1 2 -1 -1 1\n2\n", acceptor=False)
    assert invert(invert(plain)).to_str() == plain.to_str()
    with pytest.raises(NeveError, match="aux_labels"):
        invert(Fsa.from_str("0 1 -1\n1"))


def test_the_best_path_of_each_automaton_comes_with_its_attributes():
    one = Fsa.from_str("0 1 1 5 -1\n0 1 2 6 -0.5\n1 2 -1 -1 0\n2", acceptor=False)
    none = Fsa.from_str("0 1 1 5 0\n1 1 1 1 0\n2", acceptor=False)
    none = connect(none)
    one.scores = one.scores.requires_grad_()
    best = shortest_path(FsaVec([none, one]))
    assert len(best) == 2
    assert best[0].num_arcs == best[0].num_states == 0
    assert best[1].to_str() == "0 1 2 6 -0.5\n1 2 -1 -1 0\n2\n"
    best.scores.sum().backward()
    assert one.scores.grad.tolist() == [0, 1, 1]


def test_totals_in_both_semirings():
    one = Fsa.from_str("0 1 1 -1\n0 1 2 -0.5\n1 2 -1\n2")
    vec = FsaVec([one, Fsa.from_str("")])
    log = vec.get_tot_scores(use_double_scores=True, log_semiring=True)
    wanted = torch.logsumexp(torch.tensor([-1.0, -0.5], dtype=torch.float64), 0)
    torch.testing.assert_close(log, torch.stack((wanted, torch.tensor(-torch.inf).double())))
    best = vec.get_tot_scores()
    assert best.dtype == torch.float32 and best.tolist() == [-0.5, -torch.inf]
    assert one.get_forward_scores().tolist() == [0, -0.5, -0.5]


def test_cycles_have_no_paths_to_follow():
    loop = Fsa.from_str("0 0 1 -1\n0 1 -1\n1")
    with pytest.raises(NeveError, match="topologically"):
        shortest_path(loop)
    with pytest.raises(NeveError, match="topologically"):
        loop.get_tot_scores()
