"""RNN-T losses of the real k2. It knows no HAT and, in 1.23.4, no symbols or fewer frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neve.fsa.backends.cpu import rnnt as _cpu
from neve.fsa.backends.k2.client import on_cpu, real_k2


@on_cpu
def mutual_information(
    px: Tensor, py: Tensor, boundary: Tensor, want_grads: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(totals (B,), gx, gy): k2.mutual_information_recursion."""
    if 0 in px.shape:
        return _cpu.mutual_information(px, py, boundary, want_grads)
    found = real_k2().call(
        "mutual_information", px=px, py=py, boundary=boundary, want_grads=want_grads
    )
    grads = found["grads"] or [None, None]
    arrays = (found["totals"], *grads)
    return tuple(None if x is None else torch.from_numpy(x).to(px.dtype) for x in arrays)


@on_cpu
def pruned(
    logits: Tensor,
    symbols: Tensor,
    begins: Tensor,
    blank: int,
    rnnt_type: str,
    boundary: Tensor,
    delay_penalty: float,
    hat: bool,
) -> tuple[Tensor, Any]:
    """(totals (B,), what `pruned_gradient` wants): k2.rnnt_loss_pruned, without its sign."""
    frames, width = logits.shape[1:3]
    if hat or 0 in logits.shape or 0 in symbols.shape or frames < symbols.shape[1]:
        found = _cpu.pruned(logits, symbols, begins, blank, rnnt_type, boundary, delay_penalty, hat)
        return found[0], ("cpu", found[1])
    found = real_k2().call(
        "rnnt_pruned",
        logits=logits,
        symbols=symbols,
        ranges=begins.unsqueeze(-1) + torch.arange(width),
        blank=blank,
        rnnt_type=rnnt_type,
        boundary=boundary,
        delay_penalty=delay_penalty,
    )
    loss, grad = (torch.from_numpy(found[key]).to(logits.dtype) for key in ("loss", "grad"))
    return -loss, ("k2", -grad)


@on_cpu
def pruned_gradient(saved: Any, grad: Tensor) -> Tensor:
    """(B, T, R, C): the gradient of sum(grad * totals) with respect to the logits."""
    where, found = saved
    if where == "cpu":
        return _cpu.pruned_gradient(found, grad)
    return found.to(grad.device) * grad.reshape(-1, 1, 1, 1)
