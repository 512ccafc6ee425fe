"""Exact CTC: losses and gradients (Graves et al., 2006), a program an utterance.

Of a target of S tokens the states are blank, token, blank, ... blank, 2S+1 of them, one a lane. On
the way forward each state writes down which shares of its total came from itself, from the state
before and from the one before that; on the way back these shares spread the occupation
probabilities, which are the gradient. A second kernel adds up those of one token that occurs
several times, in the order of the target, so that results do not differ from run to run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.fsa.backends.cuda.arithmetic import lane_after, lane_before, log_add
from neve.fsa.backends.cuda.launch import power_of_two, start, tl, triton, warps


@triton.jit(do_not_specialize=["frames", "classes", "max_target", "blank"])
def _forward_backward(
    log_probs, targets, lengths, target_lengths, delay_penalty, losses, shares, frames, classes,
    max_target, blank, modified: tl.constexpr, want_grad: tl.constexpr,
    lanes: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    delay = tl.load(delay_penalty)
    work = log_probs.dtype.element_ty
    length = tl.load(lengths + n)
    count = tl.load(target_lengths + n)
    states = 2 * max_target + 1
    log_probs += n * frames * classes
    shares += n * frames * 2 * states
    i = tl.arange(0, lanes)
    is_token = (i % 2 == 1) & (i // 2 < count)
    exists = i <= 2 * count
    target = targets + n * max_target + i // 2
    label = tl.load(target, mask=is_token, other=blank)
    before = tl.load(target - 1, mask=is_token & (i > 1), other=-1)
    may_skip = is_token & (i > 1)
    if not modified:
        may_skip = may_skip & (label != before)

    reach = tl.where(length > 0, 2 * count + 1, 0)
    score = tl.load(log_probs + label, mask=i < reach, other=-float("inf"))
    # before the first frame a path is at the first blank, and may step onto the first token
    total = tl.where(i == 0, 0.0, -float("inf")).to(tl.float64)
    for t in range(0, length):
        at = log_probs + (t + 1) * classes + label  # the next frame's, for memory is slow
        reach = tl.where(t + 1 < length, 2 * count + 1, 0)
        score_next = tl.load(at, mask=i < reach, other=-float("inf"))
        bonus = tl.where(is_token, delay * (length // 2 - t), 0.0)
        by_step = tl.where(i >= 1, lane_before(total, i, 1) + bonus, -float("inf"))
        by_skip = tl.where(may_skip, lane_before(total, i, 2) + bonus, -float("inf"))
        moved = log_add(by_step, by_skip, work)
        entered = log_add(total, moved, work)
        if want_grad:
            dead = entered == -float("inf")
            step = tl.where(dead, 0.0, tl.exp((by_step - entered).to(work)))
            skip = tl.where(dead, 0.0, tl.exp((by_skip - entered).to(work)))
            tl.store(shares + (2 * t) * states + i, step, mask=i < states)
            tl.store(shares + (2 * t + 1) * states + i, skip, mask=i < states)
        total = tl.where(exists, entered + score.to(tl.float64), -float("inf"))
        score = score_next
    at_end = (i == 2 * count) | (i == 2 * count - 1)
    ends = tl.where(at_end, total, -float("inf"))
    high = tl.max(ends, 0)
    from_here = tl.where(high == -float("inf"), 0.0, high)
    part = tl.where(at_end, tl.exp((ends - from_here).to(work)), 0.0)
    mass_sum = tl.sum(part, 0)
    tl.store(losses + n, -(high + tl.log(mass_sum).to(tl.float64)))

    if want_grad:
        tl.debug_barrier()
        mass = part / mass_sum
        finite = (mass_sum > 0) & (tl.abs(high) < float("inf"))
        for back in range(0, tl.where(finite, length, 0)):
            t = length - 1 - back
            step_at = shares + (2 * t) * states + i
            step = tl.load(step_at, mask=i < states, other=0.0)
            skip = tl.load(step_at + states, mask=i < states, other=0.0)
            tl.store(step_at, mass, mask=i < states)  # occupation takes the place of the shares
            by_step = tl.where(mass > 0, mass * step, 0.0)
            by_skip = tl.where(mass > 0, mass * skip, 0.0)
            stays = tl.where(mass > 0, tl.maximum(mass - by_step - by_skip, 0.0), 0.0)
            mass = stays + lane_after(by_step, i, 1, lanes) + lane_after(by_skip, i, 2, lanes)


@triton.jit
def _add_equal(label_a, sum_a, label_b, sum_b):
    """Sums of runs of one label, for a scan over sorted labels."""
    return label_b, tl.where(label_a == label_b, sum_a + sum_b, sum_b)


@triton.jit(do_not_specialize=["frames", "classes", "max_target", "blank"])
def _scatter(
    occupation, order, sorted_labels, lengths, target_lengths, losses, grad, frames, classes,
    max_target, blank, lanes: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = row // frames
    t = row % frames
    finite = tl.abs(tl.load(losses + n)) < float("inf")
    if (t < tl.load(lengths + n)) & finite:
        count = tl.load(target_lengths + n)
        occupation += row * 2 * (2 * max_target + 1)
        i = tl.arange(0, lanes)
        blanks = tl.load(occupation + 2 * i, mask=i <= count, other=0.0)
        tl.store(grad + row * classes + blank, -tl.sum(blanks, 0))
        labels = tl.load(sorted_labels + n * max_target + i, mask=i < count, other=-1)
        following = tl.load(sorted_labels + n * max_target + i + 1, mask=i + 1 < count, other=-1)
        token = tl.load(order + n * max_target + i, mask=i < count, other=0)
        mass = tl.load(occupation + 2 * token + 1, mask=i < count, other=0.0)
        _, sums = tl.associative_scan((labels, mass), 0, _add_equal)
        tl.store(grad + row * classes + labels, -sums, mask=(i < count) & (labels != following))


def ctc(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    blank: int,
    modified: bool,
    want_grad: bool,
    delay_penalty: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """(losses (N,), gradient of their sum (N, T, C) or None).

    log_probs (N, T, C); lengths, target_lengths (N,) and targets (N, S) int64. `modified` lets
    equal tokens follow each other without a blank. A target without a path: inf, gradient 0.
    A token that begins in frame t gets delay_penalty * (length // 2 - t).
    """
    batch, frames, classes = log_probs.shape
    log_probs, lengths, targets, target_lengths = (
        x.detach().to(log_probs.device).contiguous()
        for x in (log_probs, lengths, targets, target_lengths)
    )
    max_target = targets.shape[1]
    losses = log_probs.new_empty(batch)
    states = 2 * max_target + 1
    shares = log_probs.new_empty((batch, frames if want_grad else 0, 2, states))
    lanes = power_of_two(states, 2)
    delay = log_probs.new_full((1,), delay_penalty, dtype=torch.float64)
    start(
        _forward_backward, batch, log_probs, targets, lengths, target_lengths, delay, losses,
        shares, frames, classes, max_target, blank, modified=modified, want_grad=want_grad,
        lanes=lanes, num_warps=warps(lanes),
    )  # fmt: skip
    if not want_grad:
        return losses, None
    grad = torch.zeros_like(log_probs)
    padding = torch.arange(max_target, device=targets.device) >= target_lengths.unsqueeze(1)
    labels, order = targets.masked_fill(padding, classes).sort(dim=1, stable=True)
    lanes = power_of_two(max_target + 1, 2)
    start(
        _scatter, batch * frames, shares, order, labels, lengths, target_lengths, losses, grad,
        frames, classes, max_target, blank, lanes=lanes, num_warps=warps(lanes),
    )  # fmt: skip
    return losses, grad
