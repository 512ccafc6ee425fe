"""CTC losses against enumeration of alignments, torch's, recorded ones of k2; their gradients."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from random_graphs import all_paths, cases, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    CtcLoss,
    DenseFsaVec,
    Fsa,
    FsaVec,
    RaggedTensor,
    ctc_graph,
    ctc_loss,
    exact_ctc_loss,
    intersect_dense,
)
from neve.fsa.topologies import ctc_targets
from neve.kernels import ctc_loss as kernel

CONFORMANCE = os.environ.get("NEVE_CONFORMANCE")


def collapse(frames, modified, target):
    """How many ways the frames' labels spell the target: 0 or 1, or more if modified."""
    if not modified:
        return int([k for k, _ in itertools.groupby(frames) if k] == target)
    # in the modified topology a run of one token may be any number of tokens from 1 to its length
    runs = [(k, len(list(group))) for k, group in itertools.groupby(frames) if k]
    ways = {(): 1}
    for token, length in runs:
        following = {}
        for prefix, count in ways.items():
            for n in range(1, length + 1):
                compositions = len(list(itertools.combinations(range(length - 1), n - 1)))
                key = (*prefix, *[token] * n)
                following[key] = following.get(key, 0) + count * compositions
        ways = following
    return ways.get(tuple(target), 0)


def dense_of(log_probs, lengths):
    segments = [(row, 0, int(length)) for row, length in enumerate(lengths)]
    return DenseFsaVec(log_probs, torch.tensor(segments, dtype=torch.int32).reshape(-1, 3))


@pytest.mark.parametrize("modified", [False, True])
def test_losses_and_gradients_equal_enumeration(modified):
    for rng, where in cases():
        classes, frames = int(rng.integers(2, 4)), int(rng.integers(0, 5))
        target = [int(x) for x in rng.integers(1, classes, int(rng.integers(0, 4)))]
        length = int(rng.integers(0, frames + 1))
        scores = torch.from_numpy(rng.normal(size=(1, frames, classes))).log_softmax(-1)
        scores.requires_grad_()
        total, occupied = [], np.zeros((frames, classes))
        for labels in itertools.product(range(classes), repeat=length):
            count = collapse(labels, modified, target)
            if count:
                score = sum(float(scores[0, t, k].detach()) for t, k in enumerate(labels))
                total.append(score + np.log(count))
                for t, k in enumerate(labels):
                    occupied[t, k] += np.exp(total[-1])
        total = np.logaddexp.reduce(total) if total else -np.inf
        arguments = (RaggedTensor.from_list([target]), torch.tensor([length]))
        loss = exact_ctc_loss(scores, *arguments, modified=modified)
        np.testing.assert_allclose(loss.detach(), [-total], rtol=1e-9, atol=1e-9, err_msg=where)
        loss.sum().backward()
        wanted = -occupied / np.exp(total) if total > -np.inf else 0 * occupied
        np.testing.assert_allclose(scores.grad[0], wanted, atol=1e-9, err_msg=where)
        single = exact_ctc_loss(scores.detach().float(), *arguments, modified=modified)
        np.testing.assert_allclose(single, [-total], rtol=1e-5, atol=1e-5, err_msg=where)
        # by the graph, and by the same graph when it is not known to be one of CTC
        dense = dense_of(scores.detach(), [length])
        graph = ctc_graph([target], modified)
        np.testing.assert_allclose(
            ctc_loss(graph, dense, reduction="none"), [-total], atol=1e-9, err_msg=where
        )
        graph.scores = graph.scores - 0.25
        wanted = -total + 0.25 * (length + 1)
        np.testing.assert_allclose(
            ctc_loss(graph, dense, reduction="none"), [wanted], atol=1e-9, err_msg=where
        )


def test_any_graph_equals_enumeration():
    for rng, where in cases():
        fsa = random_fsa(rng, acyclic=False, aux=True)
        frames, classes = int(rng.integers(0, 4)), 3
        fsa.scores = fsa.scores.double().requires_grad_()
        scores = torch.from_numpy(rng.normal(size=(1, frames, classes))).requires_grad_()
        paths = [p for p in all_paths(fsa, frames + 1) if len(p) == frames + 1]
        totals = []
        for path in paths:
            spoken = [scores[0, t, int(fsa.labels[e])] for t, e in enumerate(path[:-1])]
            totals.append(sum(spoken) + sum(fsa.scores[e] for e in path))
        delay = float(rng.choice([0.0, 0.5]))
        for i, path in enumerate(paths):
            emits = [t for t, e in enumerate(path[:-1]) if fsa.aux_labels[e] > 0]
            totals[i] = totals[i] + delay * sum(frames // 2 - t for t in emits)
        loss = ctc_loss(FsaVec([fsa]), dense_of(scores, [frames]), delay_penalty=delay)
        if not totals:
            assert float(loss.detach()) == np.inf, where
            continue
        wanted = -torch.logsumexp(torch.stack(totals), 0)
        np.testing.assert_allclose(loss.detach(), wanted.detach(), atol=1e-9, err_msg=where)
        tensors = (scores, fsa.scores)
        found = torch.autograd.grad(loss, tensors)
        expected = torch.autograd.grad(wanted, tensors, allow_unused=True)
        for a, b in zip(found, expected):
            b = torch.zeros_like(a) if b is None else b
            np.testing.assert_allclose(a, b, atol=1e-9, err_msg=where)


@pytest.mark.parametrize("modified", [False, True])
def test_the_delay_penalty_is_the_same_in_all_ways(modified):
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(3, 7, 4, generator=generator, dtype=torch.float64).log_softmax(-1)
    targets, lengths = [[1, 1], [2, 3, 1], []], [7, 5, 6]
    dense, graph = dense_of(scores, lengths), ctc_graph(targets, modified)
    options = {"delay_penalty": 0.3, "reduction": "none"}
    direct = exact_ctc_loss(
        scores, RaggedTensor.from_list(targets), torch.tensor(lengths), modified=modified, **options
    )
    known = ctc_loss(graph, dense, **options)
    unknown = graph.clone()
    unknown.scores = graph.scores - 1e-12  # not recognised any more
    torch.testing.assert_close(direct, known)
    torch.testing.assert_close(direct, ctc_loss(unknown, dense, **options), rtol=1e-9, atol=1e-9)
    wide = ctc_loss(graph, dense, 1e6, pruning="k2", **options)
    torch.testing.assert_close(direct, wide, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(direct, ctc_loss(graph, dense, reduction="none"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [[2, 2], [1, 2, 2], [1, 1, 1]])
def test_a_target_that_does_not_fit_has_no_bonus_that_makes_it_fit(target, dtype):
    log_probs = torch.randn(1, len(target), 4, dtype=dtype)
    loss, grad = kernel.ctc(
        log_probs.numpy(),
        np.array([len(target)]),
        np.array([target]),
        np.array([len(target)]),
        delay_penalty=5.0,
    )
    assert loss.tolist() == [math.inf] and not grad.any()


def test_torchs_loss_is_the_same():
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(4, 50, 6, generator=generator)
    targets = torch.randint(1, 6, (4, 12), generator=generator)
    counts, lengths = torch.tensor([12, 0, 7, 12]), torch.tensor([50, 40, 9, 11])
    results = []
    for ours in (True, False):
        x = logits.clone().requires_grad_()
        log_probs = x.log_softmax(-1)
        if ours:
            loss = exact_ctc_loss(log_probs, targets, lengths, counts)
        else:
            loss = torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1), targets, lengths, counts, reduction="none"
            )
        torch.where(loss < torch.inf, loss, 0.0).sum().backward()
        results.append((loss.detach(), x.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    finite = results[0][0] < torch.inf
    assert finite.tolist() == [True, True, True, False]
    torch.testing.assert_close(results[0][1][finite], results[1][1][finite], rtol=1e-4, atol=1e-5)
    log_probs = logits.log_softmax(-1)
    options = {"reduction": "mean", "zero_infinity": True}
    ours = exact_ctc_loss(log_probs, targets, lengths, counts, **options)
    theirs = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, lengths, counts, **options
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    flat = torch.cat([row[:n] for row, n in zip(targets, counts)])
    again = exact_ctc_loss(log_probs, flat, lengths, counts, **options)
    torch.testing.assert_close(ours, again)


@pytest.fixture(scope="module")
def recorded():
    if not CONFORMANCE:
        pytest.skip("NEVE_CONFORMANCE is not set")
    return np.load(Path(CONFORMANCE) / "ctc_B8_T500_S150_C71.npz")


@pytest.mark.parametrize("pruning", ["k2", "exact"])
def test_recorded_losses(recorded, pruning):
    log_probs = torch.from_numpy(recorded["lp"]).requires_grad_()
    targets = [row[:n].tolist() for row, n in zip(recorded["sym"], recorded["tl"])]
    dense = dense_of(log_probs, recorded["il"])
    loss = ctc_loss(ctc_graph(targets), dense, 10.0, reduction="none", pruning=pruning)
    wanted = torch.from_numpy(recorded["k2loss" if pruning == "k2" else "tloss"])
    if wanted.ndim == 0:
        loss = loss.sum()
    torch.testing.assert_close(loss.detach(), wanted.to(loss.dtype), rtol=1e-5, atol=0)
    loss.sum().backward()
    if pruning == "k2":
        gradient = torch.from_numpy(recorded["k2grad"])
        torch.testing.assert_close(log_probs.grad, gradient, rtol=0, atol=2e-4)


def test_gradcheck():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    targets, lengths = RaggedTensor.from_list([[1, 1], [2]]), torch.tensor([4, 2])
    for modified, delay in ((False, 0.0), (True, 0.4)):
        assert torch.autograd.gradcheck(
            lambda x, m=modified, d=delay: exact_ctc_loss(
                x.log_softmax(-1), targets, lengths, modified=m, delay_penalty=d
            ),
            scores.clone().requires_grad_(),
        )
    graph = ctc_graph([[1, 1], [2]])
    weights = torch.randn(graph.num_arcs, generator=generator, dtype=torch.float64)

    def loss(x, w, pruning):
        weighted = graph.clone()
        weighted.scores = w
        dense = dense_of(x.log_softmax(-1), lengths)
        return ctc_loss(weighted, dense, 50.0, 0.2, "none", pruning=pruning)

    for pruning in ("exact", "k2"):
        assert torch.autograd.gradcheck(
            lambda x, w, p=pruning: loss(x, w, p),
            (scores.clone().requires_grad_(), weights.clone().requires_grad_()),
        )


def test_ctc_graphs_are_recognised():
    for modified in (False, True):
        graph = ctc_graph([[1, 1, 2], [], [3]], modified)
        tokens, lengths, found = ctc_targets(graph)
        assert tokens.tolist() == [[1, 1, 2], [0, 0, 0], [3, 0, 0]]
        assert lengths.tolist() == [3, 0, 1] and found == modified
        changed = graph.clone()
        changed.labels[0] = 2
        assert ctc_targets(changed) is None
    assert ctc_targets(Fsa.from_str("0 1 -1\n1")) is None


def test_a_beam_makes_the_loss_larger_and_nothing_else():
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(2, 30, 5, generator=generator).log_softmax(-1)
    dense, graph = dense_of(scores, [30, 20]), ctc_graph([[1, 2, 3], [4, 4]])
    exact = ctc_loss(graph, dense, reduction="none")
    wide, narrow = (
        ctc_loss(graph, dense, beam, reduction="none", pruning="k2") for beam in (100.0, 2.0)
    )
    torch.testing.assert_close(exact, wide, rtol=1e-5, atol=1e-5)
    assert bool((narrow > exact + 0.01).all())
    kept = CtcLoss(2.0, "mean", pruning="k2")
    counts = torch.tensor([3, 2])
    torch.testing.assert_close(kept(graph, dense, target_lengths=counts), (narrow / counts).mean())


def test_long_utterances_do_not_overflow():
    log_probs = torch.full((1, 5000, 4), -torch.inf)
    log_probs[..., 0] = -30.0
    log_probs[0, ::9, 1] = -40.0
    log_probs.requires_grad_()
    loss = exact_ctc_loss(
        log_probs, torch.tensor([[1] * 50]), torch.tensor([5000]), torch.tensor([50])
    )
    assert np.isfinite(float(loss.detach()))
    loss.sum().backward()
    torch.testing.assert_close(
        log_probs.grad.sum(-1), torch.full((1, 5000), -1.0), rtol=1e-3, atol=1e-3
    )


LOG_PROBS = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": LOG_PROBS[0]}, "log_probs: .N, T, C."),
        ({"log_probs": LOG_PROBS.int()}, "log_probs: floats"),
        ({"log_probs": LOG_PROBS * torch.nan}, "log_probs: NaN or .inf in the scores of row 0"),
        ({"log_probs": LOG_PROBS + torch.inf}, "log_probs: NaN or .inf in the scores of row 0"),
        ({"input_lengths": torch.tensor([3, 4])}, "input_lengths: .3, 4. are not all within 0..3"),
        ({"input_lengths": torch.tensor([3, -1])}, "input_lengths"),
        ({"input_lengths": torch.tensor([3])}, "input_lengths: 2 whole numbers"),
        ({"target_lengths": torch.tensor([1, 3])}, "target_lengths"),
        ({"target_lengths": None}, "target_lengths: needed"),
        ({"targets": torch.tensor([[1, 4], [1, 1]])}, "targets: 4 is not one of the 4 classes"),
        ({"targets": torch.tensor([[1, 0], [1, 1]])}, "targets: 0 is .* or is the blank"),
        ({"targets": torch.tensor([[1, 1]])}, "targets: 1 rows"),
        ({"targets": torch.tensor([1, 1])}, "target_lengths: they add up to 4"),
        ({"blank": 4}, "blank"),
        ({"reduction": "odd"}, "reduction"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {
        "log_probs": LOG_PROBS,
        "targets": torch.tensor([[1, 2], [3, 1]]),
        "input_lengths": torch.tensor([3, 2]),
        "target_lengths": torch.tensor([2, 2]),
    }
    with pytest.raises(NeveError, match=message):
        exact_ctc_loss(**{**arguments, **change})


def test_bad_graphs_are_named():
    dense = dense_of(LOG_PROBS, [3, 2])
    graph = ctc_graph([[1], [2]])
    for arguments, message in (
        ((ctc_graph([[1]]), dense), "1 graphs for 2 segments"),
        ((ctc_graph([[1], [9]]), dense), "label 9"),
        ((graph, dense, 10, 0.0, "mean"), "target_lengths: needed"),
    ):
        with pytest.raises(NeveError, match=message):
            ctc_loss(*arguments)
    with pytest.raises(NeveError, match="pruning"):
        ctc_loss(graph, dense, pruning="odd")
    with pytest.raises(NeveError, match="has label 9"):
        intersect_dense(ctc_graph([[1], [9]]), dense, 10.0)
    with pytest.raises(NeveError, match="token 0 at position 1"):
        ctc_graph([[1, 0]])


def test_a_kept_graph_gives_its_gradient_again():
    log_probs = torch.randn(2, 5, 3).log_softmax(-1).requires_grad_()
    losses = exact_ctc_loss(log_probs, RaggedTensor.from_list([[1], [2]]), torch.tensor([5, 4]))
    weights = torch.tensor([0.5, 3.0])
    (first,) = torch.autograd.grad((losses * weights).sum(), log_probs, retain_graph=True)
    (again,) = torch.autograd.grad((losses * weights).sum(), log_probs, retain_graph=True)
    (plain,) = torch.autograd.grad(losses.sum(), log_probs)
    torch.testing.assert_close(first, again)
    torch.testing.assert_close(first, plain * weights.reshape(-1, 1, 1))
