"""RNN-T and CTC losses, their gradients and pruning ranges, against the real k2."""

import numpy as np
import pytest
import torch

import neve.fsa as fsa

LOSS, GRADIENT = 1e-5, 2e-4
TYPES = ("regular", "modified", "constrained")


def shapes(rng):
    """(B, S, T, C, boundary (B, 4)), within what 1.23.4 accepts: at least as many frames."""
    batch, symbols = int(rng.integers(1, 4)), int(rng.integers(1, 12))
    frames, classes = symbols + int(rng.integers(0, 25)), int(rng.integers(3, 40))
    lengths = rng.integers(1, symbols + 1, batch)
    lengths[0] = symbols
    ends = [int(rng.integers(n, frames + 1)) for n in lengths]
    ends[0] = frames
    boundary = np.array([[0, 0, n, t] for n, t in zip(lengths, ends)], np.int64)
    return batch, symbols, frames, classes, boundary


def normal(rng, *shape):
    return (rng.normal(size=shape) * rng.choice([0.5, 2.0])).astype(np.float32)


def leaf(values):
    return torch.from_numpy(values.copy()).requires_grad_(True)


@pytest.mark.parametrize("modified", [False, True])
def test_mutual_information_recursion(comparison, modified):
    for rng in comparison.cases():
        batch, symbols, frames, _, boundary = shapes(rng)
        px = normal(rng, batch, symbols, frames + (not modified))
        py = normal(rng, batch, symbols + 1, frames)
        theirs = comparison.call("mutual_information", px=px, py=py, boundary=boundary)
        ours, grads = fsa.mutual_information_recursion(
            torch.from_numpy(px), torch.from_numpy(py), torch.from_numpy(boundary), True
        )
        comparison.close("totals", ours, theirs["totals"], LOSS, relative=True)
        for name, one, other in zip(("d px", "d py"), grads, theirs["grads"]):
            comparison.close(name, one, other, GRADIENT)


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("smoothed", [False, True])
def test_rnnt_loss_simple(comparison, rnnt_type, smoothed):
    for rng in comparison.cases():
        batch, symbols, frames, classes, boundary = shapes(rng)
        lm, am = normal(rng, batch, symbols + 1, classes), normal(rng, batch, frames, classes)
        targets = rng.integers(1, classes, (batch, symbols))
        scales = rng.choice([0.0, 0.1, 0.25], 2).tolist() if smoothed else None
        delay = float(rng.choice([0.0, 0.01]))
        theirs = comparison.call(
            "rnnt_smoothed", lm=lm, am=am, symbols=targets, blank=0, scales=scales,
            rnnt_type=rnnt_type, boundary=boundary, delay_penalty=delay,
        )  # fmt: skip
        lm, am = leaf(lm), leaf(am)
        options = {"reduction": "none", "return_grad": True, "rnnt_type": rnnt_type}
        if smoothed:
            options.update(lm_only_scale=scales[0], am_only_scale=scales[1])
        loss, grads = (fsa.rnnt_loss_smoothed if smoothed else fsa.rnnt_loss_simple)(
            lm, am, torch.from_numpy(targets), 0, boundary=torch.from_numpy(boundary),
            delay_penalty=delay, **options,
        )  # fmt: skip
        comparison.close("loss", loss, theirs["loss"], LOSS, relative=True)
        for name, one, other in zip(("d px", "d py"), grads, (theirs["gx"], theirs["gy"])):
            comparison.close(name, one, other, GRADIENT)
        loss.sum().backward()
        for name, one, other in zip(("d lm", "d am"), (lm.grad, am.grad), theirs["grads"]):
            # sums over all frames or symbols, in single precision
            comparison.close(name, one, other, GRADIENT * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_rnnt_prune_ranges_and_pruned_loss(comparison, rnnt_type):
    for rng in comparison.cases():
        batch, symbols, frames, classes, boundary = shapes(rng)
        lm, am = normal(rng, batch, symbols + 1, classes), normal(rng, batch, frames, classes)
        targets = rng.integers(1, classes, (batch, symbols))
        kind = {"rnnt_type": rnnt_type, "boundary": boundary, "delay_penalty": 0.0}
        simple = comparison.call(
            "rnnt_smoothed", lm=lm, am=am, symbols=targets, blank=0, scales=None, **kind
        )
        wanted = int(rng.integers(2, symbols + 2))
        masses = {"gx": simple["gx"], "gy": simple["gy"], "boundary": boundary, "s_range": wanted}
        theirs = comparison.call("rnnt_ranges", **masses)
        tensors = [torch.from_numpy(masses[name].copy()) for name in ("gx", "gy", "boundary")]
        comparison.same("ranges", fsa.get_rnnt_prune_ranges(*tensors, wanted), theirs)
        logits = normal(rng, *theirs.shape, classes)
        kind["delay_penalty"] = float(rng.choice([0.0, 0.01]))
        loss = comparison.call(
            "rnnt_pruned", logits=logits, symbols=targets, ranges=theirs, blank=0, **kind
        )
        logits = leaf(logits)
        ours = fsa.rnnt_loss_pruned(
            logits, torch.from_numpy(targets), torch.from_numpy(theirs), 0,
            torch.from_numpy(boundary), rnnt_type, kind["delay_penalty"], "none",
        )  # fmt: skip
        comparison.close("loss", ours, loss["loss"], LOSS, relative=True)
        finite = torch.isfinite(ours)
        if finite.all():
            ours.sum().backward()
            comparison.close("d logits", logits.grad, loss["grad"], GRADIENT)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_rnnt_loss(comparison, rnnt_type):
    for rng in comparison.cases():
        batch, symbols, frames, classes, boundary = shapes(rng)
        logits = normal(rng, batch, frames, symbols + 1, classes)
        targets = rng.integers(1, classes, (batch, symbols))
        delay = float(rng.choice([0.0, 0.01]))
        theirs = comparison.call(
            "rnnt_pruned", logits=logits, symbols=targets, ranges=None, blank=0,
            rnnt_type=rnnt_type, boundary=boundary, delay_penalty=delay,
        )  # fmt: skip
        logits = leaf(logits)
        ours = fsa.rnnt_loss(
            logits, torch.from_numpy(targets), 0, torch.from_numpy(boundary), rnnt_type, delay,
            "none",
        )  # fmt: skip
        comparison.close("loss", ours, theirs["loss"], LOSS, relative=True)
        ours.sum().backward()
        comparison.close("d logits", logits.grad, theirs["grad"], GRADIENT)


def test_do_rnnt_pruning(comparison):
    for rng in comparison.cases(most=20):
        batch, symbols, frames, classes, _ = shapes(rng)
        lm, am = normal(rng, batch, symbols + 1, classes), normal(rng, batch, frames, classes)
        begins = np.sort(rng.integers(0, symbols, (batch, frames, 1)), axis=1)
        ranges = begins + np.arange(2)
        theirs = comparison.call("do_rnnt_pruning", arguments=[am, lm, ranges])
        ours = fsa.do_rnnt_pruning(*map(torch.from_numpy, (am, lm, ranges)))
        for name, one, other in zip(("am", "lm"), ours, theirs):
            comparison.same(name, one, other)


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("kind", ["", "_smoothed", "_joint", "_pruned"])
def test_get_rnnt_logprobs(comparison, kind, rnnt_type):
    """What the recursion is fed with; -inf where there is nothing."""
    for rng in comparison.cases(most=200):
        batch, symbols, frames, classes, boundary = shapes(rng)
        targets = rng.integers(1, classes, (batch, symbols))
        options = {"rnnt_type": rnnt_type}
        if kind in ("", "_smoothed"):
            scores = [
                normal(rng, batch, symbols + 1, classes),
                normal(rng, batch, frames, classes),
            ]
            if kind:
                options.update(lm_only_scale=0.1, am_only_scale=0.25)
            arguments = [*scores, targets, 0]
        elif kind == "_joint":
            arguments = [normal(rng, batch, frames, symbols + 1, classes), targets, 0]
        else:
            width = int(rng.integers(2, symbols + 2))
            begins = np.sort(rng.integers(0, symbols + 2 - width, (batch, frames, 1)), axis=1)
            ranges = begins + np.arange(width)
            arguments = [normal(rng, batch, frames, width, classes), targets, ranges, 0]
        theirs = comparison.call(
            f"get_rnnt_logprobs{kind}", arguments=arguments,
            options={**options, "boundary": boundary},
        )  # fmt: skip
        arguments = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments]
        ours = getattr(fsa, f"get_rnnt_logprobs{kind}")(
            *arguments, boundary=torch.from_numpy(boundary), **options
        )
        for name, one, other in zip(("px", "py"), ours, theirs):
            comparison.close(name, one, other, LOSS, relative=True)


@pytest.mark.parametrize("modified", [False, True])
def test_joint_mutual_information_recursion(comparison, modified):
    for rng in comparison.cases():
        batch, symbols, frames, _, boundary = shapes(rng)
        terms = int(rng.integers(1, 4))
        px = [normal(rng, batch, symbols, frames + (not modified)) for _ in range(terms)]
        py = [normal(rng, batch, symbols + 1, frames) for _ in range(terms)]
        theirs = comparison.call("joint_mutual_information", px=px, py=py, boundary=boundary)
        px, py = ([leaf(x) for x in side] for side in (px, py))
        ours = fsa.joint_mutual_information_recursion(px, py, torch.from_numpy(boundary))
        # the first is what the others leave of the whole: large terms make its error
        size = np.maximum(1, np.abs(theirs["totals"]).max(axis=0))
        found = torch.stack(list(ours)).detach().numpy()
        comparison.close("totals", found / size, theirs["totals"] / size, LOSS)
        sum(x.sum() for x in ours).backward()
        for one, other in zip([*px, *py], theirs["grads"]):
            comparison.close("d px, py", one.grad, other, GRADIENT)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("pruning", ["k2", "exact"])
def test_ctc_loss(comparison, modified, pruning):
    for rng in comparison.cases():
        classes, batch = int(rng.integers(3, 30)), int(rng.integers(1, 5))
        lengths = rng.integers(1, 40, batch)
        targets = [rng.integers(1, classes, rng.integers(0, n // 2 + 1)).tolist() for n in lengths]
        scores = torch.from_numpy(normal(rng, batch, int(lengths.max()), classes))
        log_probs = scores.log_softmax(-1)
        # k2's delay penalty counts frames of the lattice; FSA-SPEC section 10
        delay = float(rng.choice([0.0, 0.02]))
        theirs = comparison.call(
            "ctc_loss", log_probs=log_probs, lengths=lengths, targets=targets, modified=modified,
            output_beam=10.0 if pruning == "k2" else 1e10, delay_penalty=delay,
        )  # fmt: skip
        log_probs.requires_grad_(True)
        order = np.argsort(-lengths, kind="stable")
        segments = np.stack((order, np.zeros_like(order), lengths[order]), axis=1).astype(np.int32)
        dense = fsa.DenseFsaVec(log_probs, torch.from_numpy(segments))
        ours = fsa.ctc_loss(
            fsa.ctc_graph([targets[i] for i in order], modified), dense, 10.0, delay, "none",
            pruning=pruning,
        )  # fmt: skip
        comparison.close("loss", ours, theirs["loss"][order], LOSS, relative=True)
        if torch.isfinite(ours).all():
            ours.sum().backward()
            comparison.close("d log_probs", log_probs.grad, theirs["grad"], GRADIENT)


@pytest.mark.parametrize("function", ["swoosh_l", "swoosh_r"])
def test_swoosh(comparison, function):
    for rng in comparison.cases(most=20):
        x = normal(rng, 5, 7) * 4
        theirs = comparison.call(function, arguments=[x])
        comparison.close("values", getattr(fsa, function)(torch.from_numpy(x)), theirs, 1e-5)
