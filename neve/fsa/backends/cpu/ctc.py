"""CTC and totals of graphs over dense scores; see neve.kernels.ctc_loss and dense_total."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neve.kernels import Graph
from neve.kernels import ctc_loss as _ctc_loss
from neve.kernels import dense_total as _dense_total


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
    """(losses (N,), gradient of their sum (N, T, C) or None); see neve.kernels.ctc_loss.ctc."""
    arrays = (x.detach().numpy() for x in (log_probs, lengths, targets, target_lengths))
    losses, grad = _ctc_loss.ctc(*arrays, blank, modified, delay_penalty, want_grad)
    return torch.from_numpy(losses), None if grad is None else torch.from_numpy(grad)


def dense_totals(
    graphs: list[Graph],
    scores: Tensor,
    log_probs: Tensor,
    lengths: Tensor,
    delay_penalty: float,
    want_grad: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """(totals (N,), gradient (N, T, C) or None, gradient of the scores of all graphs' arcs).

    `scores` (arcs of all graphs,) are those of the graphs' arcs.
    """
    ends = np.cumsum([graph.num_arcs for graph in graphs])[:-1]
    totals, grad, arc_grads = _dense_total.dense_totals(
        graphs,
        np.split(scores.detach().numpy(), ends),
        log_probs.detach().numpy(),
        lengths.numpy(),
        delay_penalty,
        want_grad,
    )
    flat = torch.cat([torch.from_numpy(x) for x in arc_grads]) if arc_grads else torch.empty(0)
    return torch.from_numpy(totals), None if grad is None else torch.from_numpy(grad), flat
