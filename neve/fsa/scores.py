"""Totals of automata over all their paths, scores of states and posteriors of arcs.

In the log semiring a total is the logarithm of the sum of the exponentials of the paths' scores, in
the tropical the best of them. Automata must be acyclic and topologically sorted (`top_sort`).
Gradients reach the arc scores: FSA-SPEC section 11.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.backends import kernel
from neve.fsa.fsa import Fsa


def checked_arcs(fsas: Fsa, use_double_scores: bool) -> tuple[Tensor, ...]:
    """(src, dst, scores, state_splits, arc_splits) as the kernels want them.

    Raises NeveError unless every arc leads to a higher state.
    """
    if fsas.is_cpu() and not bool((fsas.src < fsas.dst).all()):
        raise NeveError(
            "fsas: not topologically sorted (an arc does not lead to a higher state); use top_sort"
        )
    scores = fsas.scores.double() if use_double_scores else fsas.scores
    return fsas.src, fsas.dst, scores, fsas.state_splits, fsas.arc_splits


class _StateScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, src, dst, state_splits, arc_splits, log_semiring, direction):
        arcs = (src, dst, scores, state_splits, arc_splits)
        totals, chosen = kernel("scores", direction, scores.device)(*arcs, log_semiring)
        ctx.save_for_backward(*arcs, totals, chosen)
        ctx.direction = direction
        return totals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        *arcs, totals, chosen = ctx.saved_tensors
        compute = kernel("scores", f"{ctx.direction}_gradient", totals.device)
        return compute(*arcs, totals, chosen, grad.contiguous()), *[None] * 6


def _state_scores(fsas: Fsa, use_double_scores, log_semiring, direction) -> Tensor:
    src, dst, scores, *splits = checked_arcs(fsas, use_double_scores)
    return _StateScores.apply(scores.contiguous(), src, dst, *splits, bool(log_semiring), direction)


def forward_scores(
    fsas: Fsa, use_double_scores: bool = False, log_semiring: bool = False
) -> Tensor:
    """(states of all,) float32 or float64: the total over the paths from the start to each state.

    -inf where there is none. Raises NeveError unless topologically sorted.
    """
    return _state_scores(fsas, use_double_scores, log_semiring, "forward")


def backward_scores(
    fsas: Fsa, use_double_scores: bool = False, log_semiring: bool = False
) -> Tensor:
    """(states of all,): the total over the paths from each state to the final one."""
    return _state_scores(fsas, use_double_scores, log_semiring, "backward")


def _ends(fsas: Fsa) -> tuple[Tensor, Tensor, Tensor]:
    """(automata that have states, the start of each, the final state of each)."""
    starts, ends = fsas.state_splits[:-1], fsas.state_splits[1:]
    present = torch.nonzero(ends > starts).flatten()
    return tuple(x.to(fsas.device) for x in (present, starts[present], ends[present] - 1))


def tot_scores(fsas: Fsa, use_double_scores: bool = False, log_semiring: bool = False) -> Tensor:
    """(N,) float32 or float64: the total over the paths from start to end of each automaton.

    -inf for an automaton without a path. The gradient of a tropical total is 1 on the arcs of the
    best path, that of a log total is each arc's posterior probability.
    """
    forward = forward_scores(fsas, use_double_scores, log_semiring)
    present, _, final = _ends(fsas)
    none = forward.new_full((fsas.num_fsas,), -torch.inf)
    return none.index_put((present,), forward[final])


def arc_post(fsas: Fsa, use_double_scores: bool = False, log_semiring: bool = False) -> Tensor:
    """(A,): the logarithm of the share of each arc's paths in the total; -inf where there is none.

    It is forward[source] + score + backward[destination] minus the total, for which the mean of
    what forward and backward scores say is taken.
    """
    forward = forward_scores(fsas, use_double_scores, log_semiring)
    backward = backward_scores(fsas, use_double_scores, log_semiring)
    present, start, final = _ends(fsas)
    total = forward.new_full((fsas.num_fsas,), -torch.inf)
    total = total.index_put((present,), (forward[final] + backward[start]) / 2)
    counts = torch.diff(fsas.arc_splits).to(fsas.device)
    total = torch.repeat_interleave(total, counts)
    src, dst = (torch.from_numpy(x).long().to(fsas.device) for x in fsas.flat_states())
    through = forward[src] + fsas.scores.to(forward.dtype) + backward[dst]
    return torch.where(total > -torch.inf, through - total, -torch.inf)
