"""RNN-T losses against recorded ones and enumeration of all alignments; their gradients."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from neve.errors import NeveError
from neve.fsa import (
    do_rnnt_pruning,
    get_rnnt_logprobs,
    get_rnnt_logprobs_joint,
    get_rnnt_logprobs_pruned,
    get_rnnt_logprobs_smoothed,
    get_rnnt_prune_ranges,
    mutual_information_recursion,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)

TYPES = ("regular", "modified", "constrained")
CONFORMANCE = os.environ.get("NEVE_CONFORMANCE")


# Recorded results


@pytest.fixture(scope="module")
def recorded():
    if not CONFORMANCE:
        pytest.skip("NEVE_CONFORMANCE is not set")
    return np.load(Path(CONFORMANCE) / "rnnt_edge_cases.npz")


def test_recorded_cases(recorded):
    assert int(recorded["n"]) == 40
    for i in range(40):
        case = {
            k: torch.from_numpy(recorded[f"{i}_{k}"])
            for k in "cfg f am lm sym bd loss gx gy ga gl rg lg p gg".split()
        }
        kind, width = TYPES[int(case["cfg"][0])], int(case["cfg"][1])
        delay, lm_scale, am_scale = case["f"].tolist()
        am, lm = (case[k].clone().requires_grad_() for k in ("am", "lm"))
        symbols, boundary = case["sym"].long(), case["bd"].long()
        loss, (gx, gy) = rnnt_loss_smoothed(
            lm, am, symbols, 0, lm_scale, am_scale, boundary, kind, delay, "sum", True
        )
        loss.backward()
        torch.testing.assert_close(loss, case["loss"].reshape(()), rtol=1e-5, atol=0)
        for found, name in ((gx, "gx"), (gy, "gy"), (am.grad, "ga"), (lm.grad, "gl")):
            torch.testing.assert_close(found.detach(), case[name], rtol=0, atol=2e-4)
        ranges = get_rnnt_prune_ranges(case["gx"], case["gy"], boundary, width)
        assert torch.equal(ranges, case["rg"])
        logits = case["lg"].clone().requires_grad_()
        pruned = rnnt_loss_pruned(logits, symbols, ranges, 0, boundary, kind, delay, "none")
        pruned.sum().backward()
        torch.testing.assert_close(pruned, case["p"], rtol=1e-5, atol=0)
        torch.testing.assert_close(logits.grad, case["gg"], rtol=0, atol=2e-4)


# Enumeration


def alignments(box, kind):
    """All paths, each a list of (is symbol, s, t)."""
    s0, t0, s1, t1 = box

    def go(s, t):
        if (s, t) == (s1, t1):
            yield []
            return
        if s < s1 and t < t1:
            after = (s + 1, t) if kind == "regular" else (s + 1, t + 1)
            for rest in go(*after):
                yield [(True, s, t), *rest]
        if t < t1:
            for rest in go(s, t + 1):
                yield [(False, s, t), *rest]

    return list(go(s0, t0))


def total(px, py, box, kind, delay=0.0, band=None):
    """Log-sum over alignments of px (S, T), py (S+1, T) numpy; `band` (T, R) says which s exist."""
    scores = []
    middle = (box[3] - 1) / 2
    for path in alignments(box, kind):
        score = 0.0
        for is_symbol, s, t in path:
            inside = band is None or s in band[t]
            if is_symbol:
                score += px[s, t] + delay * (middle - t) if inside else -np.inf
                if kind == "constrained":
                    above = band is None or s + 1 in band[t]
                    score += py[s + 1, t] if above else -np.inf
            else:
                score += py[s, t] if inside else -np.inf
        scores.append(score)
    return np.logaddexp.reduce(scores) if scores else -np.inf


def random_case(rng, kind):
    frames = int(rng.integers(1, 5))
    num_symbols = int(rng.integers(0, 4 if kind == "regular" else frames + 1))
    classes = int(rng.integers(2, 5))
    t1 = int(rng.integers(1, frames + 1))
    t0 = int(rng.integers(0, t1))
    most = num_symbols if kind == "regular" else min(num_symbols, t1 - t0)
    s1 = int(rng.integers(0, most + 1))
    s0 = int(rng.integers(0, s1 + 1))
    symbols = torch.from_numpy(rng.integers(0, classes, (1, num_symbols)))
    return frames, num_symbols, classes, (s0, t0, s1, t1), symbols


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("kind", TYPES)
def test_random_cases_equal_enumeration(kind):
    seed = int.from_bytes(os.urandom(4))
    rng = np.random.default_rng(seed)
    for number in range(200):
        frames, count, classes, box, symbols = random_case(rng, kind)
        where = f"seed {seed}, case {number}"
        boundary = torch.tensor([box])
        blank = int(rng.integers(classes))
        delay = float(rng.choice([0.0, 0.3]))
        am, lm = rng.normal(size=(frames, classes)), rng.normal(size=(count + 1, classes))
        row = symbols[0].numpy()
        # simple
        joint = log_softmax(am[None] + lm[:, None])  # (S+1, T, C)
        px = np.array([joint[s, :, row[s]] for s in range(count)]).reshape(count, frames)
        py = joint[:, :, blank]
        wanted = total(px, py, box, kind, delay)
        tensors = (torch.from_numpy(lm)[None], torch.from_numpy(am)[None], symbols, blank)
        options = {"boundary": boundary, "rnnt_type": kind, "delay_penalty": delay}
        found = rnnt_loss_simple(*tensors, **options, reduction="sum")
        np.testing.assert_allclose(-found, wanted, rtol=1e-9, err_msg=where)
        # smoothed
        lm_scale, am_scale = rng.uniform(0, 0.4, 2)
        lm_alone = log_softmax(lm)
        am_alone = log_softmax(am + np.log(np.exp(lm_alone).mean(0)))
        mix = (1 - lm_scale - am_scale) * joint
        mix = mix + lm_scale * lm_alone[:, None] + am_scale * am_alone[None]
        px = np.array([mix[s, :, row[s]] for s in range(count)]).reshape(count, frames)
        wanted = total(px, mix[:, :, blank], box, kind, delay)
        found = rnnt_loss_smoothed(*tensors, lm_scale, am_scale, **options, reduction="sum")
        np.testing.assert_allclose(-found, wanted, rtol=1e-9, err_msg=where)
        # full, with the blank's own sigmoid or without
        hat = bool(rng.integers(2))
        blank = 0 if hat else blank
        logits = rng.normal(size=(frames, count + 1, classes)) * 2
        if hat:
            emit = 1 / (1 + np.exp(-logits[..., :1]))
            rest = log_softmax(logits[..., 1:]) + np.log(1 - emit)
            joint = np.concatenate((np.log(emit), rest), -1)
            symbols = symbols.clamp(min=1)
            row = symbols[0].numpy()
        else:
            joint = log_softmax(logits)
        px = np.array([joint[:, s, row[s]] for s in range(count)]).reshape(count, frames)
        py = joint[:, :, blank].T
        wanted = total(px, py, box, kind, delay)
        full = torch.from_numpy(logits)[None]
        found = rnnt_loss(full, symbols, blank, **options, use_hat_loss=hat)
        np.testing.assert_allclose(-found, wanted, rtol=1e-9, err_msg=where)
        # pruned: a band that moves at random; cells outside do not exist
        width = int(rng.integers(1, count + 2))
        begins = np.sort(rng.integers(0, count + 2 - width, frames))
        ranges = torch.from_numpy(begins[:, None] + np.arange(width))[None]
        kept = torch.gather(full, 2, ranges.unsqueeze(-1).expand(-1, -1, -1, classes))
        wanted = total(px, py, box, kind, delay, begins[:, None] + np.arange(width))
        found = rnnt_loss_pruned(kept, symbols, ranges, blank, **options, use_hat_loss=hat)
        np.testing.assert_allclose(-found, wanted, rtol=1e-9, err_msg=where)
        # the same through the separate functions
        parts = (ranges, blank, boundary, kind, hat)
        px_band, py_band = get_rnnt_logprobs_pruned(kept, symbols, *parts)
        if delay == 0.0:
            again = mutual_information_recursion(px_band, py_band, boundary)
            np.testing.assert_allclose(again, wanted, rtol=1e-9, err_msg=where)


@pytest.mark.parametrize("late", [0, 1])
def test_the_recursion_equals_enumeration_with_impossible_arcs(late):
    seed = int.from_bytes(os.urandom(4))
    rng = np.random.default_rng(seed)
    kind = TYPES[late]
    for number in range(200):
        frames, count, _, box, _ = random_case(rng, kind)
        px = rng.normal(size=(count, frames + 1 - late))
        py = rng.normal(size=(count + 1, frames))
        for array in (px, py):
            array[rng.random(array.shape) < 0.2] = -np.inf
        if not late:
            px[:, box[3] :] = -np.inf
        wanted = total(px, py, box, kind)
        result, (gx, gy) = mutual_information_recursion(
            torch.from_numpy(px)[None], torch.from_numpy(py)[None], torch.tensor([box]), True
        )
        where = f"seed {seed}, case {number}"
        np.testing.assert_allclose(result, wanted, rtol=1e-9, atol=1e-12, err_msg=where)
        # occupation of each arc by enumeration
        wx, wy = np.zeros_like(px), np.zeros_like(py)
        for path in alignments(box, kind):
            score = sum(px[s, t] if is_symbol else py[s, t] for is_symbol, s, t in path)
            for is_symbol, s, t in path:
                (wx if is_symbol else wy)[s, t] += np.exp(score - wanted) if score > -np.inf else 0
        np.testing.assert_allclose(gx[0], wx, atol=1e-9, err_msg=where)
        np.testing.assert_allclose(gy[0], wy, atol=1e-9, err_msg=where)


# Gradients


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


BOUNDARY = torch.tensor([[0, 0, 2, 4], [1, 1, 2, 3]])
SYMBOLS = torch.tensor([[1, 3], [2, 2]])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("delay", [0.0, 0.2])
@pytest.mark.parametrize("scales", [(0.0, 0.0), (0.25, 0.0), (0.0, 0.3), (0.2, 0.3)])
def test_gradients_of_the_smoothed_loss(kind, delay, scales):
    def loss(lm, am):
        return rnnt_loss_smoothed(lm, am, SYMBOLS, 0, *scales, BOUNDARY, kind, delay, "none")

    assert torch.autograd.gradcheck(loss, (normal(2, 3, 4), normal(2, 4, 4, seed=1)))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("hat", [False, True])
def test_gradients_of_the_full_and_the_pruned_loss(kind, hat):
    options = (BOUNDARY, kind, 0.1, "none", hat)
    assert torch.autograd.gradcheck(
        lambda logits: rnnt_loss(logits, SYMBOLS, 0, *options), normal(2, 4, 3, 4)
    )
    ranges = torch.tensor([[[0, 1], [0, 1], [1, 2], [1, 2]], [[0, 1], [0, 1], [1, 2], [1, 2]]])
    assert torch.autograd.gradcheck(
        lambda logits: rnnt_loss_pruned(logits, SYMBOLS, ranges, 0, *options), normal(2, 4, 2, 4)
    )


@pytest.mark.parametrize("kind", TYPES)
def test_gradients_of_the_separate_functions(kind):
    boundary = BOUNDARY

    def finite(pair):
        return tuple(x.clamp(min=-100.0) for x in pair)

    lm, am = normal(2, 3, 4), normal(2, 4, 4, seed=1)
    check = torch.autograd.gradcheck
    assert check(lambda a, b: finite(get_rnnt_logprobs(a, b, SYMBOLS, 0, kind)), (lm, am))
    assert check(
        lambda a, b: finite(get_rnnt_logprobs_smoothed(a, b, SYMBOLS, 0, 0.2, 0.1, boundary, kind)),
        (lm, am),
    )
    for hat in (False, True):
        assert check(
            lambda x, hat=hat: finite(get_rnnt_logprobs_joint(x, SYMBOLS, 0, kind, None, hat)),
            normal(2, 4, 3, 4),
        )
    px = normal(2, 2, 4 + (kind == "regular"))
    assert check(
        lambda px, py: mutual_information_recursion(px, py, boundary), (px, normal(2, 3, 4, seed=2))
    )


def test_there_is_no_second_derivative():
    px, py = normal(1, 2, 4), normal(1, 3, 3)
    total = mutual_information_recursion(px, py)
    (grad,) = torch.autograd.grad(total.square().sum(), px, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


# Small properties


def test_half_precision_is_computed_in_float32():
    logits = normal(1, 3, 3, 4).detach().bfloat16().requires_grad_()
    loss = rnnt_loss(logits, SYMBOLS[:1], 0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, rnnt_loss(logits.detach().float(), SYMBOLS[:1], 0))
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_padding_does_not_matter():
    logits = normal(2, 4, 3, 4).detach()
    loss = rnnt_loss(logits, SYMBOLS, 0, BOUNDARY, reduction="none")
    logits[1, 3] = torch.nan
    logits[1, :, 0] = torch.inf
    logits.requires_grad_()
    again = rnnt_loss(logits, SYMBOLS, 0, BOUNDARY, reduction="none")
    assert torch.equal(loss, again)
    again.sum().backward()
    assert bool((logits.grad[1, 3] == 0).all()) and bool(torch.isfinite(logits.grad).all())


def test_lengths_of_zero():
    empty = torch.zeros(1, 0, dtype=torch.int64)
    logits = normal(1, 2, 1, 3).detach()
    wanted = -torch.log_softmax(logits, -1)[0, :, 0, 0].sum()
    torch.testing.assert_close(rnnt_loss(logits, empty, 0)[None], wanted[None])
    # no frames and no symbols: certain; no frames but a symbol: impossible
    none = rnnt_loss(logits, empty, 0, torch.tensor([[0, 0, 0, 0]]))
    assert float(none) == 0.0
    stuck = normal(1, 2, 2, 3).detach().requires_grad_()
    loss = rnnt_loss(stuck, torch.tensor([[1]]), 0, torch.tensor([[0, 1, 1, 1]]))
    assert float(loss.detach()) == torch.inf
    loss.backward()
    assert bool((stuck.grad == 0).all())
    nobody = rnnt_loss(logits[:0], empty[:0], 0, reduction="none")
    assert nobody.shape == (0,)


def test_ranges_of_a_hand_made_case():
    # all probability is on the diagonal s = t
    gx, gy = torch.zeros(1, 3, 5), torch.zeros(1, 4, 4)
    for t in range(3):
        gx[0, t, t] = gy[0, t + 1, t] = 1.0
    gy[0, 3, 3] = 1.0
    ranges = get_rnnt_prune_ranges(gx, gy, None, 2)
    assert ranges[0].tolist() == [[0, 1], [1, 2], [2, 3], [2, 3]]
    assert get_rnnt_prune_ranges(gx, gy, None, 9).shape == (1, 4, 4)
    am, lm = torch.arange(4.0).reshape(1, 4, 1), torch.arange(4.0).reshape(1, 4, 1) * 10
    am_pruned, lm_pruned = do_rnnt_pruning(am, lm, ranges)
    assert am_pruned[0, :, :, 0].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert lm_pruned[0, :, :, 0].tolist() == [[0, 10], [10, 20], [20, 30], [20, 30]]
    with pytest.raises(NeveError, match="s_range: at least 2"):
        get_rnnt_prune_ranges(gx, gy, None, 1)


def test_ranges_widen_for_an_utterance_of_few_frames():
    gx, gy = torch.rand(1, 9, 4), torch.rand(1, 10, 3)
    ranges = get_rnnt_prune_ranges(gx, gy, None, 2)
    assert ranges.shape == (1, 3, 4)  # (9 - 1) // 3 + 2
    assert ranges[0, 0, 0] == 0 and ranges[0, -1, -1] == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": SYMBOLS.int()}, "symbols: .* int64"),
        ({"symbols": SYMBOLS + 2}, "symbols: 5 is not one of the 4 classes"),
        ({"symbols": SYMBOLS - 2}, "symbols: -1 is not one of"),
        ({"symbols": SYMBOLS[:1]}, r"symbols: \(2, 2\) int64 is needed"),
        ({"termination_symbol": 4}, "termination_symbol: 4"),
        ({"boundary": BOUNDARY.int()}, "boundary: .* int64"),
        ({"boundary": torch.tensor([[0, 0, 2, 5], [0, 0, 2, 4]])}, "boundary: row 0"),
        ({"boundary": torch.tensor([[0, 0, 2, 4], [2, 0, 1, 4]])}, "boundary: row 1"),
        (
            {"boundary": torch.tensor([[0, 0, 2, 1]] * 2), "rnnt_type": "modified"},
            "more symbols than frames, which rnnt_type modified",
        ),
        ({"symbols": None}, "symbols: .* not NoneType"),
        ({"boundary": [[0, 0, 2, 4]] * 2}, "boundary: .* not list"),
        ({"symbols": SYMBOLS.to("meta")}, "symbols: on meta"),
        ({"termination_symbol": 0.5}, "termination_symbol: 0.5"),
        (
            {
                "logits": torch.zeros(2, 4, 1, 1),
                "symbols": torch.zeros(2, 0, dtype=torch.int64),
                "use_hat_loss": True,
            },
            "logits: HAT needs at least one class",
        ),
        ({"rnnt_type": "odd"}, "rnnt_type: must be one of"),
        ({"reduction": "odd"}, "reduction: must be"),
        ({"logits": torch.zeros(2, 4, 3, 4, dtype=torch.int64)}, "logits: a tensor of floats"),
        ({"logits": torch.zeros(2, 4, 2, 4)}, r"logits: S\+1 is 3"),
        ({"logits": torch.full((2, 4, 3, 4), torch.nan)}, "logits: NaN or .inf in utterance 0"),
        ({"logits": torch.full((2, 4, 3, 4), torch.inf)}, "logits: NaN or .inf in utterance 0"),
        ({"use_hat_loss": True, "termination_symbol": 1}, "HAT's blank is 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"logits": torch.zeros(2, 4, 3, 4), "symbols": SYMBOLS, "termination_symbol": 0}
    with pytest.raises(NeveError, match=message):
        rnnt_loss(**{**arguments, **change})


def test_a_single_nan_among_the_classes_is_found():
    logits = torch.zeros(2, 4, 3, 40)
    for bad in (torch.nan, torch.inf):
        for c in (0, 17, 39):
            logits[1, 2, 1, c] = bad
            with pytest.raises(NeveError, match="logits: NaN or .inf in utterance 1"):
                rnnt_loss(logits, SYMBOLS, 0)
            logits[1, 2, 1, c] = -torch.inf
            if c:
                assert float(rnnt_loss(logits, SYMBOLS, 0)) > 0
            logits[1, 2, 1, c] = 0.0


def test_bad_ranges_and_shapes_are_named():
    logits = torch.zeros(2, 4, 2, 4)
    good = torch.zeros(2, 4, 1, dtype=torch.int64) + torch.arange(2)
    for ranges, message in (
        (good + 2, "ranges: 3 is not in 0..2"),
        (good.int(), "ranges: .* int64"),
        (good[:, :3], "ranges: "),
        (good.flip(2), "ranges: each row must be"),
        (good + torch.tensor([1, 0, 0, 0]).reshape(1, 4, 1), "must not go back"),
    ):
        with pytest.raises(NeveError, match=message):
            rnnt_loss_pruned(logits, SYMBOLS, ranges, 0)
    with pytest.raises(NeveError, match="lm: "):
        rnnt_loss_simple(torch.zeros(2, 3, 5), torch.zeros(2, 4, 4), SYMBOLS, 0)
    with pytest.raises(NeveError, match="am: torch.float64, but lm is torch.float32"):
        rnnt_loss_simple(torch.zeros(2, 3, 4), torch.zeros(2, 4, 4).double(), SYMBOLS, 0)
    with pytest.raises(NeveError, match="py: "):
        mutual_information_recursion(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    with pytest.raises(NeveError, match="px: NaN"):
        mutual_information_recursion(torch.full((1, 2, 3), torch.nan), torch.zeros(1, 3, 3))


def test_alignments_are_counted_right():
    # the enumeration above, against binomial coefficients
    from math import comb

    for s, t in itertools.product(range(4), range(1, 5)):
        regular = alignments((0, 0, s, t), "regular")
        assert len(regular) == comb(s + t - 1, s)
        assert len(alignments((0, 0, s, t), "modified")) == comb(t, s)
