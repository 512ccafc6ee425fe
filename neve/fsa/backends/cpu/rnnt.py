"""RNN-T kernels: the recursion over (symbol, frame), the pruned loss, softmax without its sum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neve.kernels import mutual_information as _recursion
from neve.kernels import rnnt as _rnnt

_KINDS = {
    "regular": _rnnt.REGULAR,
    "modified": _rnnt.MODIFIED,
    "constrained": _rnnt.CONSTRAINED,
}


def mutual_information(
    px: Tensor, py: Tensor, boundary: Tensor, want_grads: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(totals (B,), gx, gy): see neve.kernels.mutual_information."""
    arrays = (x.detach().numpy() for x in (px, py, boundary))
    found = _recursion.mutual_information(*arrays, want_grads)
    return tuple(None if x is None else torch.from_numpy(x) for x in found)


def exp_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(exp(rows - highest), highest (N, 1)) of contiguous rows (N, C)."""
    return tuple(torch.from_numpy(x) for x in _rnnt.exp_rows(rows.detach().numpy()))


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
    """(totals (B,), what `pruned_gradient` wants): see neve.kernels.rnnt.pruned."""
    arrays = (x.detach().contiguous().numpy() for x in (logits, symbols, begins, boundary))
    totals, saved = _rnnt.pruned(*arrays, blank, _KINDS[rnnt_type], delay_penalty, hat)
    return torch.from_numpy(totals), saved


def pruned_gradient(saved: Any, grad: Tensor) -> Tensor:
    """(B, T, R, C): the gradient of sum(grad * totals) with respect to the logits."""
    return torch.from_numpy(_rnnt.pruned_gradient(saved, grad.detach().contiguous().numpy()))
