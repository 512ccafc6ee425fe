"""Dense scores, lattices and best paths on tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.fsa import (
    DenseFsaVec,
    Fsa,
    FsaVec,
    ctc_graph,
    ctc_topo,
    intersect_dense_pruned,
    linear_fsa,
    one_best,
    shortest_path,
)

WIDE = (1e6, 1e6, 0, 10**6)


def segments(*rows):
    return torch.tensor(rows, dtype=torch.int32)


def random_log_probs(seed, *shape):
    logits = np.random.default_rng(seed).normal(size=shape) * 3
    return torch.from_numpy(logits.astype(np.float32)).log_softmax(-1)


def test_dense_scores_are_laid_out_frame_by_frame():
    log_probs = torch.arange(12.0).reshape(2, 3, 2)
    dense = DenseFsaVec(log_probs, segments((1, 1, 2), (0, 0, 0)))
    inf = torch.inf
    assert dense.scores.tolist() == [[-inf, 8, 9], [-inf, 10, 11], [0, -inf, -inf], [0, -inf, -inf]]
    assert dense.frame_splits.tolist() == [0, 3, 4]
    assert dense.segments()[0].tolist() == [[8, 9], [10, 11]]


def test_segments_are_padded_with_nothing_and_carry_gradients():
    log_probs = random_log_probs(2, 3, 5, 4).requires_grad_()
    rows = ((2, 1, 4), (0, 0, 0), (2, 0, 2), (1, 4, 1))
    dense = DenseFsaVec(log_probs, segments(*rows))
    padded = dense.segments()
    assert padded.shape == (4, 4, 4)
    for found, (row, start, length) in zip(padded, rows):
        assert torch.equal(found[:length], log_probs[row, start : start + length])
        assert not found[length:].any()
    padded.sum().backward()
    assert log_probs.grad[:, :, 0].tolist() == [[0] * 5, [0, 0, 0, 0, 1], [1, 2, 1, 1, 1]]


def test_scores_may_be_exchanged_for_others():
    log_probs = random_log_probs(2, 2, 5, 4)
    dense = DenseFsaVec(log_probs, segments((1, 1, 3), (0, 0, 5), (1, 0, 0)))
    scores = (dense.scores * 2).requires_grad_()
    double = DenseFsaVec._from_dense_fsa_vec(dense, scores)
    assert torch.equal(double.scores, scores)
    assert double.duration.tolist() == [3, 5, 0] and double.shape == (3, None, None)
    assert torch.equal(double.segments(), dense.segments() * 2)
    with pytest.raises(NeveError, match=r"scores: shape \(10, 5\), \(11, 5\) is needed"):
        DenseFsaVec._from_dense_fsa_vec(dense, scores[1:])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_cannot_be_searched_are_named(value):
    log_probs = torch.zeros(2, 3, 2)
    log_probs[1, 1, 0] = value
    DenseFsaVec(log_probs, segments((0, 0, 3), (1, 2, 1)))  # of which it is no part
    with pytest.raises(NeveError, match=r"log_probs: row 1 holds NaN or \+inf \(segment 1\)"):
        DenseFsaVec(log_probs, segments((0, 0, 3), (1, 0, 2)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((2, 0, 1), "segment 1 is row 2,"),
        ((-1, 0, 1), "segment 1 is row -1,"),
        ((0, -1, 2), "segment 1 is row 0, frames -1..1"),
        ((0, 1, 3), "segment 1 is row 0, frames 1..4 of 2 rows of 3"),
        ((0, 2, -1), "segment 1 is row 0, frames 2..1"),
    ],
)
def test_segments_out_of_range_are_named(row, message):
    with pytest.raises(NeveError, match=message):
        DenseFsaVec(torch.zeros(2, 3, 2), segments((0, 0, 3), row))


def test_segments_may_be_cut_if_that_is_allowed():
    log_probs = random_log_probs(0, 1, 3, 2)
    dense = DenseFsaVec(log_probs, segments((0, 1, 4), (0, 0, 3)), allow_truncate=2)
    assert dense.lengths.tolist() == [2, 3]
    with pytest.raises(NeveError, match="segment 0 is row 0, frames 1..5 of 1 rows of 3"):
        DenseFsaVec(log_probs, segments((0, 1, 4)), allow_truncate=1)


def test_dense_scores_of_a_wrong_kind_are_named():
    good = torch.zeros(1, 3, 2)
    with pytest.raises(NeveError, match="float32"):
        DenseFsaVec(good.int(), segments((0, 0, 3)))
    with pytest.raises(NeveError, match=r"\(N, T, C\)"):
        DenseFsaVec(good[0], segments((0, 0, 3)))
    with pytest.raises(NeveError, match="segments"):
        DenseFsaVec(good, torch.zeros(1, 3))
    with pytest.raises(NeveError, match="row 0 holds NaN"):
        DenseFsaVec(good * torch.nan, segments((0, 0, 3)))
    # NaN in the padding is nobody's
    padded = good.clone()
    padded[0, 2] = torch.nan
    assert DenseFsaVec(padded, segments((0, 0, 2))).lengths.tolist() == [2]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 3), max_size=4), st.integers(0, 7))
def test_the_log_total_of_an_utterance_graph_is_the_ctc_likelihood(seed, tokens, num_frames):
    log_probs = random_log_probs(seed, 1, num_frames, 4)
    dense = DenseFsaVec(log_probs, segments((0, 0, num_frames)))
    lattice = intersect_dense_pruned(ctc_graph([tokens]), dense, *WIDE)
    total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
    if num_frames == 0:
        wanted = torch.tensor([0.0 if not tokens else torch.inf])
    else:
        wanted = torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            torch.tensor([tokens], dtype=torch.long).reshape(1, -1),
            torch.tensor([num_frames]),
            torch.tensor([len(tokens)]),
            reduction="none",
        )
    torch.testing.assert_close(total, -wanted.double(), rtol=1e-5, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(0.5, 0.5, 1, 2), (4.0, 2.0, 1, 3), WIDE]))
def test_one_best_is_the_shortest_path_of_the_lattice(seed, beams):
    log_probs = random_log_probs(seed, 3, 9, 4)
    lengths = torch.tensor([9, 0, 5])
    topology = ctc_topo(3)
    dense = DenseFsaVec(log_probs, segments(*((i, 0, n) for i, n in enumerate(lengths))))
    lattice = intersect_dense_pruned(topology, dense, *beams, frame_idx_name="frame")
    best = shortest_path(lattice, use_double_scores=False)
    paths = one_best(topology.to_graph(), log_probs, lengths, beams[0], *beams[2:])
    for k, path in enumerate(paths):
        assert path.arcs.tolist() == best[k].arc_map_a.tolist()
        assert path.arc_scores.tolist() == best[k].scores.tolist()
        assert best[k].frame.tolist() == list(range(lengths[k] + 1))
        # the best labels of a topology are the best of each frame
        assert best[k].labels.tolist() == [*log_probs[k, : lengths[k]].argmax(1).tolist(), -1]


def test_maps_lead_back_to_the_scores_and_carry_gradients():
    log_probs = random_log_probs(5, 2, 6, 4).requires_grad_()
    graph = ctc_topo(3)
    graph.scores = torch.randn(graph.num_arcs).requires_grad_()
    graph.words = torch.arange(graph.num_arcs)
    dense = DenseFsaVec(log_probs, segments((1, 0, 6), (0, 2, 3)))
    lattice = intersect_dense_pruned(graph, dense, 10.0, 5.0, 1, 100)
    wanted = graph.scores[lattice.arc_map_a.long()] + dense.scores.reshape(-1)[lattice.arc_map_b]
    assert torch.equal(lattice.scores, wanted)
    assert torch.equal(lattice.words, lattice.arc_map_a.long())
    lattice.scores.sum().backward()
    assert graph.scores.grad.sum() == lattice.num_arcs
    inner = int((lattice.labels >= 0).sum())
    assert log_probs.grad.sum() == inner


def test_each_segment_may_have_its_own_graph():
    log_probs = random_log_probs(3, 2, 2, 4)
    graphs = FsaVec([linear_fsa([1, 2]), linear_fsa([3, 3])])
    dense = DenseFsaVec(log_probs, segments((0, 0, 2), (1, 0, 2)))
    lattice = intersect_dense_pruned(graphs, dense, *WIDE)
    assert [fsa.labels.tolist() for fsa in lattice] == [[1, 2, -1], [3, 3, -1]]
    assert lattice.arc_map_a.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(NeveError, match="2 graphs for 1 segments"):
        intersect_dense_pruned(graphs, DenseFsaVec(log_probs, segments((0, 0, 2))), *WIDE)


def test_what_has_no_path_gives_nothing_unless_partial():
    chain, log_probs = linear_fsa([1, 2, 1]), random_log_probs(0, 1, 2, 4)
    dense = DenseFsaVec(log_probs, segments((0, 0, 2)))
    lattice = intersect_dense_pruned(chain, dense, *WIDE)
    assert lattice[0].num_states == 0
    assert lattice.get_tot_scores().tolist() == [-torch.inf]
    loose = intersect_dense_pruned(chain, dense, *WIDE, pruning="k2")
    assert loose[0].num_states > 0
    assert loose.get_tot_scores().tolist() == [-torch.inf]
    assert shortest_path(loose)[0].num_arcs == 0
    partial = intersect_dense_pruned(chain, dense, *WIDE, allow_partial=True)
    assert partial[0].labels.tolist() == [1, 2, -1]
    assert partial.arc_map_a.tolist() == [0, 1, -1]
    wanted = log_probs[0, 0, 1] + log_probs[0, 1, 2]
    torch.testing.assert_close(partial.get_tot_scores()[0], wanted)


def test_labels_beyond_the_classes_are_named():
    with pytest.raises(NeveError, match="4 classes, but the graph has label 5"):
        dense = DenseFsaVec(random_log_probs(0, 1, 2, 4), segments((0, 0, 2)))
        intersect_dense_pruned(linear_fsa([5]), dense, *WIDE)


def test_an_empty_batch_gives_an_empty_vector():
    dense = DenseFsaVec(torch.zeros(1, 3, 4), torch.zeros(0, 3, dtype=torch.int32))
    assert len(intersect_dense_pruned(ctc_topo(3), dense, *WIDE)) == 0
    assert len(intersect_dense_pruned(Fsa.from_str(""), dense, *WIDE)) == 0
