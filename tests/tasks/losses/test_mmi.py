"""LF-MMI against all label sequences written out; its acceptor against the n-gram's scores."""

import itertools
import math

import pytest
import torch

from neve.errors import NeveError
from neve.fsa import DenseFsaVec, Fsa, create_fsa_vec, ctc_loss
from neve.kernels import compose_ctc
from neve.tasks.losses import mmi, mmi_losses
from neve.tasks.losses.mmi import Denominator, acceptor

TEXTS = [[1, 2], [2, 2, 1], [1], [1, 2, 1], [2, 1]]


def collapse(path):
    return [token for token, _ in itertools.groupby(path) if token != 0]


def written_out(log_probs, frames, target, denominator):
    """The loss by enumeration of all label sequences."""
    over = under = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=frames):
        tokens = collapse(path)
        score = sum(float(log_probs[t, label]) for t, label in enumerate(path))
        weight = math.exp(score + denominator.score(tokens))
        under += weight
        over += weight * (tokens == target)
    return -math.log(over / under)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_loss_is_that_of_all_sequences_written_out(order):
    denominator = Denominator(TEXTS, 3, order)
    torch.manual_seed(order)
    log_probs = torch.randn(3, 5, 3).log_softmax(-1)
    lengths, targets = torch.tensor([5, 3, 4]), [[1, 2], [2], [2, 2]]
    found = mmi_losses(log_probs, lengths, targets, denominator)
    for row, (frames, target) in enumerate(zip(lengths.tolist(), targets)):
        wanted = written_out(log_probs[row].double(), frames, target, denominator)
        assert float(found[row]) == pytest.approx(wanted, rel=1e-4)
    assert (found > 0).all()


def test_the_gradient_is_that_of_differences():
    denominator = Denominator(TEXTS, 3, 2)
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    lengths, targets = torch.tensor([4]), [[1, 2]]

    def value(x):
        return written_out(x.log_softmax(-1)[0].detach(), 4, targets[0], denominator)

    mmi_losses(logits.log_softmax(-1), lengths, targets, denominator).sum().backward()
    for place in [(0, 0, 0), (0, 1, 2), (0, 3, 1)]:
        step = torch.zeros_like(logits)
        step[place] = 1e-4
        wanted = (value(logits + step) - value(logits - step)) / 2e-4
        assert float(logits.grad[place]) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_products_of_matrices_give_the_totals_of_the_graph(order):
    """Also where probabilities span many orders of magnitude, and their gradients."""
    denominator = Denominator(TEXTS, 6, order)
    graph = Fsa.from_graph(compose_ctc(acceptor(denominator.lm)))
    torch.manual_seed(order)
    lengths = torch.tensor([40, 23, 1])
    for scale in (1.0, 12.0):
        log_probs = (scale * torch.randn(3, 40, 6)).log_softmax(-1).requires_grad_()
        segments = torch.tensor([[0, 0, 40], [1, 0, 23], [2, 0, 1]], dtype=torch.int32)
        exact = -ctc_loss(
            create_fsa_vec([graph] * 3), DenseFsaVec(log_probs, segments), reduction="none"
        )
        exact.sum().backward()
        wanted, log_probs.grad = log_probs.grad.clone(), None
        found = denominator.totals(log_probs, lengths)
        found.sum().backward()
        assert torch.allclose(found, exact, rtol=1e-5, atol=1e-3)
        assert torch.allclose(log_probs.grad, wanted, atol=1e-4)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_acceptor_gives_each_sequence_its_score_once(order):
    denominator = Denominator(TEXTS, 4, order)  # token 3 is in no text
    graph = acceptor(denominator.lm)
    arcs = {}
    for src, dst, label, score in zip(graph.src, graph.dst, graph.labels, graph.scores):
        assert (src, label) not in arcs  # deterministic
        arcs[int(src), int(label)] = (int(dst), float(score))
    for length in range(5):
        for tokens in itertools.product((1, 2, 3), repeat=length):
            state, total = 0, 0.0
            for label in (*tokens, -1):
                state, score = arcs[state, label]
                total += score
            assert total == pytest.approx(denominator.score(tokens), abs=1e-4)


def test_a_wide_beam_leaves_out_nothing_and_a_narrow_one_little():
    exact, wide, narrow = (Denominator(TEXTS, 5, 3, beam) for beam in (0.0, 60.0, 4.0))
    torch.manual_seed(0)
    log_probs = (3 * torch.randn(4, 9, 5)).log_softmax(-1).requires_grad_()
    lengths, targets = torch.tensor([9, 7, 5, 3]), [[1, 2, 3], [2], [4, 4], []]
    losses = {}
    for denominator in (exact, wide, narrow):
        log_probs.grad = None
        loss = mmi_losses(log_probs, lengths, targets, denominator)
        loss.sum().backward()
        losses[denominator.beam] = (loss.detach(), log_probs.grad.clone())
    assert torch.allclose(losses[0.0][0], losses[60.0][0], atol=1e-4)
    assert torch.allclose(losses[0.0][1], losses[60.0][1], atol=1e-4)
    assert (losses[4.0][0] <= losses[0.0][0] + 1e-4).all()  # less in the denominator
    assert torch.allclose(losses[0.0][0], losses[4.0][0], atol=0.5)


def test_a_model_that_would_be_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(mmi, "MOST_ARCS", 10)
    with pytest.raises(NeveError, match=r"loss\.mmi_order"):
        Denominator(TEXTS, 8, 3)
