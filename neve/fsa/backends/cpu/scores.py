"""Forward and backward scores of automata; see neve.kernels.totals for what they are."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.kernels import totals as _totals


def arcs_of(
    src: Tensor, dst: Tensor, scores: Tensor, state_splits: Tensor, arc_splits: Tensor
) -> _totals.Arcs:
    return _totals.Arcs(*(x.detach().numpy() for x in (src, dst, scores, state_splits, arc_splits)))


def _tensors(found) -> tuple[Tensor, Tensor | None]:
    return tuple(None if x is None else torch.from_numpy(x) for x in found)


def forward(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    log_semiring: bool,
) -> tuple[Tensor, Tensor | None]:
    """(states' scores (S,), best entering arc (S,) int32 or -1; None in the log semiring)."""
    arcs = arcs_of(src, dst, scores, state_splits, arc_splits)
    return _tensors(_totals.forward_scores(arcs, log_semiring))


def backward(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    log_semiring: bool,
) -> tuple[Tensor, Tensor | None]:
    """(states' scores (S,), best leaving arc (S,) int32 or -1; None in the log semiring)."""
    arcs = arcs_of(src, dst, scores, state_splits, arc_splits)
    return _tensors(_totals.backward_scores(arcs, log_semiring))


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
    arcs = arcs_of(src, dst, scores, state_splits, arc_splits)
    chosen = None if chosen is None else chosen.numpy()
    found = _totals.forward_gradient(arcs, totals.numpy(), chosen, state_grad.numpy())
    return torch.from_numpy(found)


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
    arcs = arcs_of(src, dst, scores, state_splits, arc_splits)
    chosen = None if chosen is None else chosen.numpy()
    found = _totals.backward_gradient(arcs, totals.numpy(), chosen, state_grad.numpy())
    return torch.from_numpy(found)


def best_paths(
    src: Tensor, dst: Tensor, scores: Tensor, state_splits: Tensor, arc_splits: Tensor
) -> tuple[Tensor, Tensor]:
    """(lengths (N,), arcs int32): the best path of each automaton, none where there is none."""
    return _tensors(_totals.best_paths(arcs_of(src, dst, scores, state_splits, arc_splits)))


def sample_paths(
    src: Tensor,
    dst: Tensor,
    scores: Tensor,
    state_splits: Tensor,
    arc_splits: Tensor,
    num_paths: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(paths of each automaton (N,), length of each path, arcs int32): FSA-SPEC section 13."""
    arcs = arcs_of(src, dst, scores, state_splits, arc_splits)
    return _tensors(_totals.sample_paths(arcs, num_paths))
