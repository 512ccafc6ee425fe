"""Forward and backward scores of automata, their gradients and best paths, a program an automaton.

A program goes through its states in runs: as many as no arc connects with each other. The scores of
a run depend on earlier runs only, so that its arcs are computed all at once; in a lattice by frames
the runs are the frames. Arcs are sorted by the state that they add to, and those of one state are
summed in that order, without atomics: results do not differ from run to run.

Automata as in neve.kernels.totals: sorted by source, leading to higher states only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neve.fsa.backends.cuda.arithmetic import log_add
from neve.fsa.backends.cuda.launch import start, tl, triton, warps

LOG, TROPICAL, LINEAR = 0, 1, 2
LANES = 512


@triton.jit
def _join_log(state_a, a, state_b, b):
    joined = log_add(a, b, a.dtype)
    return state_b, tl.where(state_a == state_b, joined, b)


@triton.jit
def _join_best(state_a, a, arc_a, state_b, b, arc_b):
    keep = (state_a == state_b) & (a > b)
    return state_b, tl.where(keep, a, b), tl.where(keep, arc_a, arc_b)


@triton.jit
def _join_sum(state_a, a, state_b, b):
    return state_b, tl.where(state_a == state_b, a + b, b)


@triton.jit
def _run_over(
    values, chosen, to, origin, weights, arcs, rows, jumps, splits, semiring: tl.constexpr,
    forward: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0)
    first = tl.load(splits + i)
    last = tl.load(splits + i + 1)
    lane = tl.arange(0, lanes)
    neutral = 0.0 if semiring == 2 else -float("inf")
    position = first if forward else last
    left = last - first
    while left > 0:
        jump = tl.load(jumps + position)
        if forward:
            low = position
            high = tl.minimum(tl.maximum(jump, low + 1), last)
            position = high
        else:
            high = position
            low = tl.maximum(tl.minimum(jump, high - 1), first)
            position = low
        left -= high - low
        end = tl.load(rows + high)
        for e in range(tl.load(rows + low), end, lanes):
            at = e + lane
            stop = tl.minimum(end, e + lanes)
            state = tl.load(to + at, mask=at < stop, other=-1)
            following = tl.load(to + at + 1, mask=at + 1 < stop, other=-1)
            weight = tl.load(weights + at, mask=at < stop, other=0.0)
            value = tl.load(values + tl.load(origin + at, mask=at < stop, other=0), mask=at < stop,
                            other=neutral)  # fmt: skip
            whole = (at < stop) & (state != following)  # the last arc of its state has its sum
            before = tl.load(values + state, mask=whole, other=neutral)
            if semiring == 0:
                _, value = tl.associative_scan((state, value + weight), 0, _join_log)
                tl.store(values + state, log_add(before, value, value.dtype), mask=whole)
            elif semiring == 2:
                value = tl.where(weight == 0, 0.0, value * weight)
                _, value = tl.associative_scan((state, value), 0, _join_sum)
                tl.store(values + state, before + value, mask=whole)
            else:
                _, value, best = tl.associative_scan((state, value + weight, at), 0, _join_best)
                better = whole & (value >= before) & (value > -float("inf"))
                tl.store(values + state, value, mask=better)
                arc = tl.load(arcs + best, mask=better, other=0)
                tl.store(chosen + state, arc.to(tl.int32), mask=better)
            tl.debug_barrier()


class _Arcs(NamedTuple):
    """Arcs sorted by the state they add to, and the runs of states.

    to, origin (A,): the states between which they lead, numbered over all automata; order (A,):
    their numbers; rows (S+1,): where those of each state begin; jumps (S+1,): where the run ends
    that begins at a state (backward: begins, that ends there); splits (N+1,): states of automata.
    """

    to: Tensor
    origin: Tensor
    order: Tensor
    rows: Tensor
    jumps: Tensor
    splits: Tensor


def _sorted(src, dst, state_splits, arc_splits, forward: bool) -> _Arcs:
    device = src.device
    num_states = int(state_splits[-1])
    splits = state_splits.to(device)
    counts = torch.diff(arc_splits).to(device)
    base = torch.repeat_interleave(splits[:-1], counts, output_size=len(src))
    src, dst = src + base, dst + base
    enters, order = dst.sort(stable=True)
    states = torch.arange(num_states + 1, device=device)
    leaving, entering = torch.searchsorted(src, states), torch.searchsorted(enters, states)
    if forward:  # a run ends before the first state that an arc from it or from later ones enters
        first = dst.flip(0).cummin(0).values.flip(0)
        first = torch.cat((first, first.new_full((1,), num_states)))
        return _Arcs(enters, src[order], order, entering, first[leaving], splits)
    latest = torch.cat((src.new_full((1,), -1), src[order].cummax(0).values))
    arcs = torch.arange(len(src), device=device)
    return _Arcs(src, dst, arcs, leaving, latest[entering] + 1, splits)


def _run(arcs: _Arcs, values: Tensor, weights: Tensor, semiring: int, forward: bool):
    """Adds to `values` (S,) what the arcs bring; the chosen arcs if the semiring is tropical."""
    chosen = torch.full_like(values, -1, dtype=torch.int32) if semiring == TROPICAL else None
    start(
        _run_over, len(arcs.splits) - 1, values, values if chosen is None else chosen, arcs.to,
        arcs.origin, weights, arcs.order, arcs.rows, arcs.jumps, arcs.splits, semiring=semiring,
        forward=forward, lanes=LANES, num_warps=warps(LANES),
    )  # fmt: skip
    return chosen


def _totals(src, dst, scores, state_splits, arc_splits, log_semiring, forward):
    arcs = _sorted(src, dst, state_splits, arc_splits, forward)
    totals = scores.new_full((int(state_splits[-1]),), -torch.inf)
    present = state_splits[1:] > state_splits[:-1]
    ends = state_splits[:-1][present] if forward else state_splits[1:][present] - 1
    totals[ends.to(src.device)] = 0.0
    semiring = LOG if log_semiring else TROPICAL
    return totals, _run(arcs, totals, scores.detach()[arcs.order], semiring, forward)


def forward(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    log_semiring: bool,
) -> tuple[Tensor, Tensor | None]:
    """(states' scores (S,), best entering arc (S,) int32 or -1; None in the log semiring)."""
    return _totals(src, dst, scores, state_splits, arc_splits, log_semiring, True)


def backward(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    log_semiring: bool,
) -> tuple[Tensor, Tensor | None]:
    """(states' scores (S,), best leaving arc (S,) int32 or -1; None in the log semiring)."""
    return _totals(src, dst, scores, state_splits, arc_splits, log_semiring, False)


def _gradient(src, dst, scores, state_splits, arc_splits, totals, chosen, state_grad, forward):
    """Spreads the gradient of states over the arcs that made them, against the direction."""
    arcs = _sorted(src, dst, state_splits, arc_splits, not forward)
    # here an arc leads from the state that it made, `origin`, to that from which it made it
    made, source = totals[arcs.origin], totals[arcs.to]
    if chosen is None:
        shares = (source + scores.detach()[arcs.order] - made).exp()
    else:
        shares = (chosen[arcs.origin] == arcs.order).to(totals.dtype)
    shares = torch.where(made == -torch.inf, 0.0, shares)
    grad = state_grad.detach().to(totals.dtype, copy=True)
    _run(arcs, grad, shares, LINEAR, not forward)
    spread = grad[arcs.origin]
    spread = torch.where((shares == 0) | (spread == 0), 0.0, shares * spread)
    return torch.empty_like(spread).index_copy_(0, arcs.order, spread)


def forward_gradient(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    totals: Tensor,
    chosen: Tensor | None,
    state_grad: Tensor,
) -> Tensor:
    """(A,): gradient of the arc scores, given that of what `forward` returned."""
    return _gradient(
        src, dst, scores, state_splits, arc_splits, totals, chosen, state_grad, True
    )  # fmt: skip


def backward_gradient(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    totals: Tensor,
    chosen: Tensor | None,
    state_grad: Tensor,
) -> Tensor:
    """(A,): gradient of the arc scores, given that of what `backward` returned."""
    return _gradient(
        src, dst, scores, state_splits, arc_splits, totals, chosen, state_grad, False
    )  # fmt: skip


@triton.jit
def _trace(src, splits, entering, lengths, path):
    """Writes each best path so that it ends with the room of its automaton's states."""
    i = tl.program_id(0)
    first = tl.load(splits + i)
    last = tl.load(splits + i + 1)
    state = tl.maximum(last - 1, first)
    room = last
    arc = tl.load(entering + state, mask=last > first, other=-1)
    while arc >= 0:
        room -= 1
        tl.store(path + room, arc)
        state = first + tl.load(src + arc)
        arc = tl.load(entering + state)
    tl.store(lengths + i, last - room)


def best_paths(
    src: Tensor, dst: Tensor, scores: Tensor, state_splits: Tensor, arc_splits: Tensor
) -> tuple[Tensor, Tensor]:
    """(lengths (N,), arcs int32): the best path of each automaton, none where there is none."""
    _, entering = forward(src, dst, scores, state_splits, arc_splits, False)
    lengths = state_splits.new_empty(len(state_splits) - 1, device=src.device)
    path = torch.full_like(entering, -1)
    start(_trace, len(lengths), src, state_splits.to(src.device), entering, lengths, path)
    return lengths, path[path >= 0]
