"""CTC of the real k2: the log-semiring total of the lattice of each utterance's graph."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.fsa.backends.k2.client import on_cpu, real_k2

ALL = 1e10  # an output beam that keeps every alignment


@on_cpu
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
    """(losses (N,), gradient of their sum (N, T, C) or None); k2's blank is label 0."""
    # blank and label 0 exchanged, on the way in and in the gradient
    classes = torch.arange(log_probs.shape[2])
    classes[0], classes[blank] = blank, 0
    rows = [row[:n] for row, n in zip(targets.tolist(), target_lengths.tolist())]
    found = real_k2().call(
        "ctc_loss",
        log_probs=log_probs[..., classes].float(),
        lengths=lengths,
        targets=[[blank if token == 0 else token for token in row] for row in rows],
        modified=modified,
        output_beam=ALL,
        delay_penalty=delay_penalty,
    )
    losses = torch.from_numpy(found["loss"]).to(log_probs.dtype)
    if not want_grad:
        return losses, None
    return losses, torch.from_numpy(found["grad"]).to(log_probs.dtype)[..., classes]
