"""torch.autograd.gradcheck, float64, of operations that hand scores on or make others of them.

Totals, posteriors, losses, lattices and ragged sums have theirs beside their other tests.
"""

import pytest
import torch

import neve.fsa as k2

TEXT = "0 1 1 3 0\n0 1 2 4 0\n0 2 0 0 0\n1 2 1 5 0\n1 3 -1 -1 0\n2 2 2 3 0\n2 3 -1 -1 0\n3"
# all different, and no loop of label 0, so that small changes change no choice
SCORES = torch.tensor([0.3, -0.9, -0.2, 0.55, 0.1, -0.7, 0.45], dtype=torch.float64)


def weighted(scores, acyclic=False):
    fsa = k2.Fsa.from_str(TEXT, acceptor=False)
    keep = torch.ones(7, dtype=torch.bool)
    if acyclic:
        keep[5] = False
        fsa = k2.Fsa.from_str(TEXT.replace("2 2 2 3 0\n", ""), acceptor=False)
    fsa.scores = scores[keep]
    return fsa


def pair(scores, *more):
    return k2.FsaVec([weighted(scores, *more), weighted(2 * scores, *more)])


def words(scores):
    fsa = weighted(scores)
    del fsa.aux_labels
    return fsa


def stochastic(scores):
    fsa = k2.Fsa.from_str(TEXT, acceptor=False)
    fsa.scores = fsa.scores.double()
    fsa.set_scores_stochastic_(scores)
    return fsa


def ragged(scores):
    fsa = weighted(scores)
    fsa.aux_labels = k2.RaggedTensor([[1, 2], [], [], [3], [-1], [4], [-1]])
    return fsa


OPERATIONS = {
    "arc_sort": lambda s: k2.arc_sort(pair(s)),
    "connect": lambda s: k2.connect(pair(s)),
    "top_sort": lambda s: k2.top_sort(pair(s, True)),
    "union": lambda s: k2.union(pair(s)),
    "closure": lambda s: k2.closure(weighted(s)),
    "reverse": lambda s: k2.reverse(weighted(s)),
    "invert": lambda s: k2.invert(ragged(s)),
    "expand_ragged_attributes": lambda s: k2.expand_ragged_attributes(ragged(s)),
    "add_epsilon_self_loops": lambda s: k2.add_epsilon_self_loops(pair(s)),
    "remove_epsilon_self_loops": lambda s: k2.remove_epsilon_self_loops(
        k2.add_epsilon_self_loops(pair(s))
    ),
    "remove_epsilon": lambda s: k2.remove_epsilon(pair(s)),
    "remove_epsilon_and_add_self_loops": lambda s: k2.remove_epsilon_and_add_self_loops(pair(s)),
    "determinize": lambda s: k2.determinize(k2.remove_epsilon(weighted(s, True))),
    "intersect": lambda s: k2.intersect(weighted(s), words(s.flip(0))),
    "intersect as symbols": lambda s: k2.intersect(weighted(s), words(s.flip(0)), False),
    "intersect_device": lambda s: k2.intersect_device(
        pair(s), k2.FsaVec([words(s)] * 2), torch.tensor([1, 0], dtype=torch.int32)
    ),
    "compose": lambda s: k2.compose(weighted(s), words(s.flip(0))),
    "replace_fsa": lambda s: k2.replace_fsa(k2.FsaVec([words(s)]), words(s.flip(0)), 2),
    "index_fsa": lambda s: k2.index_fsa(pair(s), torch.tensor([1, 0, 1], dtype=torch.int32)),
    "create_fsa_vec": lambda s: k2.create_fsa_vec([weighted(s), weighted(s)]),
    "cat": lambda s: k2.cat([pair(s), pair(s)]),
    "set_scores_stochastic_": stochastic,
    "shortest_path": lambda s: k2.shortest_path(pair(s, True), True),
    "prune_on_arc_post": lambda s: k2.prune_on_arc_post(pair(s, True), 0.05, True),
    "linear_fst_with_self_loops": lambda s: k2.linear_fst_with_self_loops(weighted(s)),
    "Nbest": lambda s: k2.Nbest.from_lattice(pair(s, True), 20, use_double_scores=True).fsa,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_scores_of_the_result(name):
    torch.manual_seed(0)
    scores = SCORES.clone().requires_grad_()
    assert OPERATIONS[name](scores).num_arcs > 2

    def function(scores):
        torch.manual_seed(0)  # paths that are drawn stay the same
        return OPERATIONS[name](scores).scores

    assert torch.autograd.gradcheck(function, scores)


def test_dense_scores():
    segments = torch.tensor([[1, 0, 3], [0, 1, 2]], dtype=torch.int32)
    log_probs = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)

    def finite(values):
        return values[torch.isfinite(values)]

    for use in (
        lambda x: finite(k2.DenseFsaVec(x, segments).scores),
        lambda x: finite(k2.convert_dense_to_fsa_vec(k2.DenseFsaVec(x, segments)).scores),
        lambda x: k2.DenseFsaVec(x, segments).to("cpu").segments()[:, :2],
    ):
        assert torch.autograd.gradcheck(use, log_probs)


def test_small_functions():
    values = torch.randn(5, dtype=torch.float64, requires_grad=True)
    rows, cols = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([1, 0, 0, 2, 0])
    am, lm = (torch.randn(1, n, 2, dtype=torch.float64, requires_grad=True) for n in (3, 4))
    ranges = torch.tensor([[[0, 1], [1, 2], [2, 3]]])

    def added(values):
        total = values.new_zeros(3)
        k2.index_add(torch.tensor([2, 0, -1, 0, 1], dtype=torch.int32), values, total)
        return total

    check = torch.autograd.gradcheck
    assert check(lambda v: k2.create_sparse(rows, cols, v, (3, 3), 0).to_dense(), values)
    assert check(added, values)
    assert check(lambda a, b: k2.do_rnnt_pruning(a, b, ranges), (am, lm))
    px = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    boundary = torch.tensor([[0, 0, 2, 2]])

    def kept(px):
        fixed = k2.fix_for_boundary(px, boundary)
        return fixed[torch.isfinite(fixed)]

    assert check(kept, px)
