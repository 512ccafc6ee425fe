"""The RNN-T recursion split into terms; odd layouts and values in what the losses are given."""

import os

import numpy as np
import pytest
import torch

from neve.errors import NeveError
from neve.fsa import (
    fix_for_boundary,
    get_rnnt_logprobs_pruned,
    get_rnnt_prune_ranges,
    joint_mutual_information_recursion,
    mutual_information_recursion,
    rnnt_loss,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)

SYMBOLS = torch.tensor([[1, 3], [2, 2]])


def random_terms(rng, late):
    frames, count, terms = int(rng.integers(2, 5)), int(rng.integers(0, 3)), int(rng.integers(1, 4))
    boundary = torch.tensor([[0, 0, count, frames], [0, 0, min(count, 1), frames - 1]])
    px = [torch.from_numpy(rng.normal(size=(2, count, frames + 1 - late))) for _ in range(terms)]
    py = [torch.from_numpy(rng.normal(size=(2, count + 1, frames))) for _ in range(terms)]
    return px, py, boundary


@pytest.mark.parametrize("late", [0, 1])
def test_shares_are_averages_over_paths_and_the_entropy(late):
    seed = int.from_bytes(os.urandom(4))
    rng = np.random.default_rng(seed)
    for number in range(200):
        px, py, boundary = random_terms(rng, late)
        where = f"seed {seed}, case {number}"
        shares = joint_mutual_information_recursion(px, py, boundary)
        total = mutual_information_recursion(sum(px), sum(py), boundary)
        np.testing.assert_allclose(shares.sum(0), total, rtol=1e-9, atol=1e-12, err_msg=where)

        def grown(i, step, px=px, py=py, boundary=boundary):
            x = sum(p * (1 + step * (j == i)) for j, p in enumerate(px))
            y = sum(p * (1 + step * (j == i)) for j, p in enumerate(py))
            return mutual_information_recursion(x, y, boundary)

        # the average score of a term is how the total grows as the term is scaled up
        for i in range(1, len(px)):
            slope = (grown(i, 1e-4) - grown(i, -1e-4)) / 2e-4
            np.testing.assert_allclose(shares[i], slope, rtol=1e-5, atol=1e-6, err_msg=where)


def test_gradients_of_shares_are_occupations():
    px, py, boundary = random_terms(np.random.default_rng(0), 0)
    px, py = ([x.requires_grad_() for x in terms] for terms in (px, py))
    weights = torch.randn(len(px), 2, dtype=torch.float64)
    (joint_mutual_information_recursion(px, py, boundary) * weights).sum().backward()
    _, (gx, gy) = mutual_information_recursion(sum(px), sum(py), boundary, True)
    for x, y, weight in zip(px, py, weights.reshape(-1, 2, 1, 1)):
        torch.testing.assert_close(x.grad, gx.detach() * weight)
        torch.testing.assert_close(y.grad, gy.detach() * weight)
    assert torch.autograd.gradcheck(
        lambda *t: joint_mutual_information_recursion(t[:1], t[1:], boundary).sum(0), (px[0], py[0])
    )


def test_impossible_arcs_have_no_share():
    px, py = torch.zeros(1, 1, 3), torch.zeros(1, 2, 2)
    px[0, 0, 2] = -torch.inf
    shares = joint_mutual_information_recursion([px, px], [py, py])
    torch.testing.assert_close(shares, torch.tensor([[2.0]]).log().repeat(2, 1) * torch.eye(2, 1))


def test_bad_terms_are_named():
    px, py = torch.zeros(1, 2, 4), torch.zeros(1, 3, 3)
    for arguments, message in (
        (([], []), "px: as many terms"),
        (([px], [py, py]), "px: as many terms"),
        (([px, px[:, :, :3]], [py, py]), "px: terms of one shape"),
        (([px, px.double()], [py, py]), r"px\[1\]: torch.float64"),
        (([px], [py[:, :2]]), "py: "),
        (([px, px * torch.nan], [py, py]), "px: NaN"),
    ):
        with pytest.raises(NeveError, match=message):
            joint_mutual_information_recursion(*arguments)
    with pytest.raises(NeveError, match="boundary: row 0"):
        fix_for_boundary(px, torch.tensor([[0, 0, 2, 9]]))
    with pytest.raises(NeveError, match="s_range: "):
        get_rnnt_prune_ranges(px, py, None, 2.5)


@pytest.mark.parametrize("kind", ["regular", "modified", "constrained"])
def test_memory_order_does_not_matter(kind):
    torch.manual_seed(0)
    logits, lm, am = torch.randn(2, 4, 3, 5), torch.randn(2, 3, 5), torch.randn(2, 4, 5)

    def strided(x):
        return x.transpose(0, -1).contiguous().transpose(0, -1)

    for function, arguments in ((rnnt_loss, (logits,)), (rnnt_loss_smoothed, (lm, am))):
        results = []
        for change in (torch.clone, strided):
            inputs = [change(x).requires_grad_() for x in arguments]
            loss = function(*inputs, strided(SYMBOLS), 0, rnnt_type=kind)
            loss.backward()
            results.append((loss.detach(), *(x.grad for x in inputs)))
        for one, other in zip(*results):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("bad", [torch.nan, -torch.nan, torch.inf])
@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_nan_in_any_class_of_lm_or_am_is_found(bad, scale):
    for name in ("lm", "am"):
        inputs = {"lm": torch.zeros(2, 3, 40), "am": torch.zeros(2, 4, 40)}
        inputs[name][1, 1, 23] = bad
        with pytest.raises(NeveError, match=f"^{name}: NaN or .inf in utterance"):
            rnnt_loss_smoothed(**inputs, symbols=SYMBOLS, termination_symbol=0,
                               lm_only_scale=scale, am_only_scale=scale)  # fmt: skip


@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize("batch", [0, 1])
def test_nothing_to_align(batch, frames):
    symbols = torch.zeros(batch, 0, dtype=torch.int64)
    lm, am = torch.zeros(batch, 1, 4), torch.zeros(batch, frames, 4)
    for kind in ("regular", "modified", "constrained"):
        loss, (gx, gy) = rnnt_loss_simple(
            lm, am, symbols, 0, rnnt_type=kind, reduction="none", return_grad=True
        )
        np.testing.assert_allclose(loss, np.full(batch, frames * np.log(4)), rtol=1e-6)
        assert gx.shape == (batch, 0, frames + (kind == "regular"))
        assert bool((gy == 1).all())
        ranges = get_rnnt_prune_ranges(gx, gy, None, 2)
        assert ranges.shape == (batch, frames, 1)


@pytest.mark.parametrize("kind", ["regular", "modified", "constrained"])
@pytest.mark.parametrize("hat", [False, True])
def test_gradients_of_pruned_log_probs(kind, hat):
    ranges = torch.tensor([[[0, 1], [0, 1], [1, 2], [1, 2]]] * 2)
    logits = torch.randn(2, 4, 2, 4, dtype=torch.float64, requires_grad=True)

    def finite(logits):
        pair = get_rnnt_logprobs_pruned(logits, SYMBOLS, ranges, 0, None, kind, hat)
        return tuple(x.clamp(min=-100.0) for x in pair)

    assert torch.autograd.gradcheck(finite, logits)
