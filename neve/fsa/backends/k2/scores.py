"""Scores of states and paths by the real k2. Arc scores are float32 there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neve.fsa.backends.k2.client import on_cpu, real_k2
from neve.fsa.backends.k2.travel import arcs_of, automata


def _automata(src, dst, scores, state_splits, arc_splits, **attributes) -> dict:
    """The arrays that travel, with labels: they play no part, but -1 must enter the final state."""
    finals = torch.repeat_interleave(state_splits.diff() - 1, arc_splits.diff())
    labels = torch.where(dst == finals, -1, 1)
    return automata(arcs_of(src, dst, labels, scores), state_splits, arc_splits, attributes)


def _scores(direction, arcs, log_semiring, grad=None) -> dict:
    return real_k2().call(
        "state_scores",
        fsa=_automata(*arcs),
        direction=direction,
        log_semiring=log_semiring,
        use_double_scores=arcs[2].dtype == torch.float64,
        grad=grad,
    )


def _flat(src, dst, state_splits, arc_splits) -> tuple[Tensor, Tensor]:
    offset = torch.repeat_interleave(state_splits[:-1], arc_splits.diff())
    return src + offset, dst + offset


def _with_best(direction, arcs, log_semiring) -> tuple[Tensor, Tensor | None]:
    src, dst, scores, state_splits, arc_splits = arcs
    found = torch.from_numpy(_scores(direction, arcs, log_semiring)["scores"]).to(scores.dtype)
    if log_semiring:
        return found, None
    begin, end = _flat(src, dst, state_splits, arc_splits)
    if direction == "backward":
        begin, end = end, begin
    through = found[begin.long()] + scores.float().to(scores.dtype)
    best = torch.nonzero((through == found[end.long()]) & (through > -torch.inf)).flatten()
    chosen = torch.full((len(found),), -1, dtype=torch.int64)
    chosen = chosen.scatter_reduce(0, end.long()[best], best, "amax")
    return found, chosen.to(torch.int32)


@on_cpu
def forward(src, dst, scores, state_splits, arc_splits, log_semiring):
    """(states' scores (S,), best entering arc (S,) int32 or -1; None in the log semiring)."""
    return _with_best("forward", (src, dst, scores, state_splits, arc_splits), log_semiring)


@on_cpu
def backward(src, dst, scores, state_splits, arc_splits, log_semiring):
    """(states' scores (S,), best leaving arc (S,) int32 or -1; None in the log semiring)."""
    return _with_best("backward", (src, dst, scores, state_splits, arc_splits), log_semiring)


def _gradient(direction, arcs, chosen, state_grad) -> Tensor:
    found = _scores(direction, arcs, chosen is None, state_grad)
    return torch.from_numpy(found["grad"]).to(arcs[2].dtype)


@on_cpu
def forward_gradient(src, dst, scores, state_splits, arc_splits, totals, chosen, state_grad):
    """(A,): gradient of the arc scores, given that of what `forward` returned."""
    arcs = (src, dst, scores, state_splits, arc_splits)
    return _gradient("forward", arcs, chosen, state_grad)


@on_cpu
def backward_gradient(src, dst, scores, state_splits, arc_splits, totals, chosen, state_grad):
    """(A,): gradient of the arc scores, given that of what `backward` returned."""
    arcs = (src, dst, scores, state_splits, arc_splits)
    return _gradient("backward", arcs, chosen, state_grad)


@on_cpu
def best_paths(src, dst, scores, state_splits, arc_splits) -> tuple[Tensor, Tensor]:
    """(lengths (N,), arcs int32): the best path of each automaton, none where there is none."""
    index = np.arange(len(src), dtype=np.int32)
    arcs = _automata(src, dst, scores, state_splits, arc_splits, from_arc=index)
    found = real_k2().call("shortest_path", arguments=[arcs, scores.dtype == torch.float64])
    lengths = torch.from_numpy(np.diff(found["splits"]))
    return lengths, torch.from_numpy(found["attributes"]["from_arc"])


@on_cpu
def sample_paths(
    src, dst, scores, state_splits, arc_splits, num_paths: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(paths of each automaton (N,), length of each path, arcs int32): k2.random_paths."""
    rows = real_k2().call(
        "random_paths",
        fsa=_automata(src, dst, scores, state_splits, arc_splits),
        use_double_scores=scores.dtype == torch.float64,
        num_paths=num_paths,
    )
    paths = [path for row in rows for path in row]
    return (
        torch.tensor([len(row) for row in rows], dtype=torch.int64),
        torch.tensor([len(path) for path in paths], dtype=torch.int64),
        torch.tensor([arc for path in paths for arc in path], dtype=torch.int32),
    )
