"""N-best lists, minimum word error rate and Levenshtein alignments against enumeration."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from kaldialign import edit_distance
from random_graphs import all_paths, cases, path_score, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    Fsa,
    FsaVec,
    MWERLoss,
    Nbest,
    RaggedTensor,
    levenshtein_alignment,
    levenshtein_graph,
    mwer_loss,
)


def words_of(fsa, path):
    return tuple(int(fsa.aux_labels[e]) for e in path if fsa.aux_labels[e] > 0)


def best_of_words(fsa):
    """{words: best score} over all paths."""
    found = defaultdict(lambda: -np.inf)
    for path in all_paths(fsa):
        words = words_of(fsa, path)
        found[words] = max(found[words], path_score(fsa, path))
    return found


def test_lists_hold_different_words_with_their_scores():
    for rng, where in cases():
        fsas = [random_fsa(rng, aux=True) for _ in range(int(rng.integers(1, 4)))]
        nbest = Nbest.from_lattice(FsaVec(fsas), 100, nbest_scale=0.5)
        totals = nbest.total_scores().tolist()
        number = 0
        for fsa, scores in zip(fsas, totals):
            possible = {}
            for path in all_paths(fsa):
                possible.setdefault(words_of(fsa, path), set()).add(path_score(fsa, path))
            assert bool(scores) == bool(possible), where
            seen = []
            for score in scores:
                chain = nbest.fsa[number]
                words = words_of(chain, range(chain.num_arcs))
                assert score in possible[words], where
                seen.append(words)
                number += 1
            assert len(seen) == len(set(seen)), where
            if len(possible) <= 3 and possible:  # the likeliest sequence is always met
                likely = max(possible, key=lambda w: sum(np.exp(0.5 * s) for s in possible[w]))
                assert likely in seen or len(all_paths(fsa)) > 10, where
        best = nbest.top_k(2)
        for mine, k_best in zip(totals, best.total_scores().tolist()):
            wanted = sorted(mine, reverse=True)
            wanted = (wanted + wanted[-1:] * 2)[:2]
            assert k_best == wanted, where


def test_intersection_with_a_lattice_finds_the_best_path_of_each_string():
    for rng, where in cases():
        lattice = random_fsa(rng, aux=True)
        if lattice.num_states == 0:
            continue
        nbest = Nbest.from_lattice(FsaVec([lattice]), 20)
        again = nbest.intersect(FsaVec([lattice]))
        strings = defaultdict(lambda: -np.inf)
        for path in all_paths(lattice):
            key = tuple(int(lattice.labels[e]) for e in path if lattice.labels[e] > 0)
            strings[key] = max(strings[key], path_score(lattice, path))
        for chain, score in zip(nbest.fsa, again.total_scores().values.tolist()):
            key = tuple(x for x in chain.labels.tolist() if x > 0)
            assert score == pytest.approx(strings[key]), where


def test_scores_by_part():
    fsa = Fsa.from_str("0 1 1 3 -1\n0 1 2 4 -2\n1 2 -1 -1 0\n2", acceptor=False)
    fsa.lm_scores = torch.tensor([-0.25, -0.5, 0.0])
    nbest = Nbest.from_lattice(FsaVec([fsa]), 10, nbest_scale=0.1)
    assert nbest.compute_lm_scores().tolist() == [[-0.25, -0.5]]
    assert nbest.compute_am_scores().tolist() == [[-0.75, -1.5]]
    assert nbest.tot_scores().tolist() == [[-1, -2]]


def test_alignments_are_edit_distances():
    for rng, where in cases():
        refs = [[int(x) for x in rng.integers(1, 4, int(rng.integers(0, 6)))] for _ in range(2)]
        hyps = [[int(x) for x in rng.integers(1, 4, int(rng.integers(0, 6)))] for _ in range(3)]
        which = torch.from_numpy(rng.integers(0, 2, 3).astype(np.int32))
        result = levenshtein_alignment(levenshtein_graph(refs), levenshtein_graph(hyps), which)
        distances = [edit_distance(refs[j], hyp)["total"] for hyp, j in zip(hyps, which.tolist())]
        assert (-result.get_tot_scores()).tolist() == pytest.approx(distances, abs=1e-5), where
        for one, hyp, j in zip(result, hyps, which.tolist()):
            assert [x for x in one.ref_labels.tolist() if x > 0] == refs[j], where
            assert [x for x in one.hyp_labels.tolist() if x > 0] == hyp, where
            matched = [
                x for x, y in zip(one.ref_labels.tolist(), one.hyp_labels.tolist()) if x == y
            ]
            assert [x for x in one.labels.tolist() if x > 0] == [x for x in matched if x > 0], where


def test_levenshtein_graphs_are_as_k2s():
    graph = levenshtein_graph([[1, 2]])[0]
    del graph.ins_del_score_offset
    wanted = (
        "0 0 0 0 -0.501\n0 1 0 1 -0.5\n0 1 1 1 0\n1 1 0 0 -0.501\n1 2 0 2 -0.5\n1 2 2 2 0\n"
        "2 2 0 0 -0.501\n2 3 -1 -1 0\n3\n"
    )
    assert graph.to_str() == wanted
    with pytest.raises(NeveError, match="sequence 0 holds 0"):
        levenshtein_graph([[1, 0]])
    with pytest.raises(NeveError, match="sequence 2 holds -1"):
        levenshtein_graph(RaggedTensor.from_list([[], [2, 3], [1, -1]]))
    with pytest.raises(NeveError, match="symbols: two axes of int32"):
        levenshtein_graph(RaggedTensor([[1.0]]))
    with pytest.raises(NeveError, match="ins_del_score"):
        levenshtein_graph([[1]], float("nan"))
    empty = levenshtein_graph([[], [3], []])
    assert [one.num_states for one in empty] == [2, 3, 2]
    assert levenshtein_graph([]).num_fsas == 0
    same = levenshtein_graph(RaggedTensor.from_list([[], [3], []]))
    assert [one.to_str() for one in same] == [one.to_str() for one in empty]
    with pytest.raises(NeveError, match="refs: not what"):
        levenshtein_alignment(FsaVec([graph]), levenshtein_graph([[1]]), torch.tensor([0]))


def test_expected_errors_equal_enumeration():
    for rng, where in cases():
        fsas = [random_fsa(rng, aux=True) for _ in range(2)]
        texts = [[int(x) for x in rng.integers(1, 4, int(rng.integers(0, 4)))] for _ in range(2)]
        lattice = FsaVec(fsas)
        lattice.scores = lattice.scores.double().requires_grad_()
        temperature = float(rng.choice([1.0, 2.0]))
        loss = mwer_loss(lattice, texts, 0.5, 30, temperature, reduction="none")
        nbest = Nbest.from_lattice(lattice, 30, nbest_scale=0.5)
        number = 0
        for row, text in zip(loss.tolist(), texts):
            chains = [nbest.fsa[number + i] for i in range(len(row))]
            number += len(row)
            scores = [float(c.scores.detach().sum()) / temperature for c in chains]
            errors = [
                edit_distance(text, list(words_of(c, range(c.num_arcs))))["total"] for c in chains
            ]
            if row:
                p = np.exp(np.array(scores) - np.logaddexp.reduce(scores))
                np.testing.assert_allclose(row, p * errors, atol=1e-9, err_msg=where)


def test_gradcheck():
    lattice = FsaVec(
        [
            Fsa.from_str("0 1 1 3\n0 1 2 4\n1 2 1 5\n1 3 -1 -1\n2 3 -1 -1\n3", acceptor=False),
            Fsa.from_str("0 1 1 3\n0 1 2 4\n1 2 -1 -1\n2", acceptor=False),
        ]
    )
    # enough paths that all are there, whatever small change is made
    scores = torch.tensor([0.1, -0.2, 0.3, 0.4, -0.1, 0.2, 0.5, 0.0], dtype=torch.float64)

    def loss(scores, reduction):
        weighted = lattice.clone()
        weighted.scores = scores
        return mwer_loss(weighted, [[3, 5], [4, 4]], 0.1, 100, 1.5, reduction=reduction)

    for reduction in ("sum", "mean"):
        assert torch.autograd.gradcheck(
            lambda s, r=reduction: loss(s, r), scores.clone().requires_grad_()
        )
    weighted = lattice.clone()
    weighted.scores = scores
    kept = MWERLoss(1.5)(weighted, RaggedTensor.from_list([[3, 5], [4, 4]]), 0.1, 100)
    torch.testing.assert_close(kept, loss(scores, "sum"))


def test_bad_arguments_are_named():
    fsa = FsaVec([Fsa.from_str("0 1 1\n1 2 -1\n2")])
    with pytest.raises(NeveError, match="lattice: aux_labels are needed"):
        Nbest.from_lattice(fsa, 2)
    fsa.aux_labels = fsa.labels
    for change, message in (
        ({"ref_texts": []}, "ref_texts: 0 texts for 1"),
        ({"temperature": 0.0}, "temperature"),
        ({"reduction": "odd"}, "reduction"),
    ):
        with pytest.raises(NeveError, match=message):
            mwer_loss(**{"lattice": fsa, "ref_texts": [[1]], **change})
    nbest = Nbest.from_lattice(fsa, 2)
    with pytest.raises(NeveError, match="k: at least 1"):
        nbest.top_k(0)
    with pytest.raises(NeveError, match="shape"):
        Nbest(nbest.fsa, RaggedTensor([[1, 2]]).shape)
