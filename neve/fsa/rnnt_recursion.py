"""The recursion of all RNN-T losses, with gradients, on its own (FSA-SPEC section 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.backends import kernel
from neve.fsa.rnnt_checks import check_totals, checked_boundary, checked_scores


class Recursion(torch.autograd.Function):
    """Gives the occupation probabilities too: they are the gradient, and what pruning looks at."""

    @staticmethod
    def forward(ctx, px: Tensor, py: Tensor, boundary: Tensor, want_grads: bool):
        compute = kernel("rnnt", "mutual_information", px.device)
        totals, gx, gy = compute(px.contiguous(), py.contiguous(), boundary, want_grads)
        if want_grads:
            ctx.save_for_backward(gx, gy)
            ctx.mark_non_differentiable(gx, gy)
        return totals, gx, gy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor, _gx, _gy):
        gx, gy = ctx.saved_tensors
        grad = grad.reshape(-1, 1, 1)
        return gx * grad, gy * grad, None, None


def _checked(px: Tensor, py: Tensor, boundary: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """px, py and the boundary, filled in."""
    (px, py), _ = checked_scores(px=px, py=py)
    if px.ndim != 3 or py.ndim != 3 or px.shape[0] != py.shape[0]:
        raise NeveError(
            f"px: (B, S, T+1) or (B, S, T) is needed, not {tuple(px.shape)} with py "
            f"{tuple(py.shape)}"
        )
    num_symbols, frames = px.shape[1], py.shape[2]
    if py.shape[1] != num_symbols + 1 or px.shape[2] not in (frames, frames + 1):
        raise NeveError(
            f"py: (B, S+1, T) is needed, S being {num_symbols} and T {px.shape[2]} or "
            f"{px.shape[2] - 1} because of px, not {tuple(py.shape)}"
        )
    return px, py, checked_boundary(boundary, len(px), num_symbols, frames, px.device)


def mutual_information_recursion(
    px: Tensor, py: Tensor, boundary: Tensor | None = None, return_grad: bool = False
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """(B,): the log-sum over all paths of symbols and blanks (FSA-SPEC section 1).

    px (B, S, T+1), or (B, S, T) for the modified recursion: the log-probability of each symbol in
    each frame; py (B, S+1, T): that of the blank. With return_grad also the pair of occupation
    probabilities, of the shapes of px and py; no gradient flows through them.
    """
    px, py, boundary = _checked(px, py, boundary)
    want_grads = return_grad or px.requires_grad or py.requires_grad
    totals, gx, gy = Recursion.apply(px, py, boundary, want_grads)
    check_totals(totals, px=px, py=py)
    return (totals, (gx, gy)) if return_grad else totals


class _Shares(torch.autograd.Function):
    """Splits a total among its terms; the gradient takes the occupations as given."""

    @staticmethod
    def forward(ctx, total: Tensor, gx: Tensor, gy: Tensor, *terms: Tensor) -> Tensor:
        ctx.save_for_backward(gx, gy)
        shares = []
        for px, py in zip(terms[::2], terms[1::2]):
            parts = ((g * x.masked_fill(g == 0, 0)).sum((1, 2)) for g, x in ((gx, px), (gy, py)))
            shares.append(sum(parts))
        found = torch.stack(shares)
        found[0] = total - found[1:].sum(0)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        gx, gy = ctx.saved_tensors
        weights = grad.unsqueeze(-1).unsqueeze(-1)
        return None, None, None, *(g * weight for weight in weights for g in (gx, gy))


def joint_mutual_information_recursion(
    px: Sequence[Tensor], py: Sequence[Tensor], boundary: Tensor | None = None
) -> Tensor:
    """(N, B): the total of sum(px), sum(py), split into what each of the N terms contributes.

    px and py are N tensors each, shaped as for `mutual_information_recursion`. The share of a term
    is its score averaged over all paths; the first also gets what is left of the total, the entropy
    of the paths. As in k2 the gradient of a share with respect to its term is the term's occupation
    probabilities, and that with respect to other terms is zero.
    """
    if len(px) == 0 or len(px) != len(py):
        raise NeveError(f"px: as many terms as py, at least one, are needed, not {len(px)}")
    for name, terms in (("px", px), ("py", py)):
        if any(x.shape != terms[0].shape for x in terms):
            raise NeveError(f"{name}: terms of one shape are needed")
    names = {f"{name}[{i}]": x for name, xs in (("px", px), ("py", py)) for i, x in enumerate(xs)}
    terms, _ = checked_scores(**names)
    px, py = terms[: len(px)], terms[len(px) :]
    with torch.no_grad():
        total, (gx, gy) = mutual_information_recursion(sum(px), sum(py), boundary, True)
    return _Shares.apply(total, gx, gy, *(x for pair in zip(px, py) for x in pair))


def fix_for_boundary(px: Tensor, boundary: Tensor | None = None) -> Tensor:
    """px (B, S, T+1) without symbols after the last frame of each utterance."""
    if boundary is None:
        return px
    boundary = checked_boundary(boundary, len(px), px.shape[1], px.shape[2] - 1, px.device)
    last = boundary[:, 3].reshape(-1, 1, 1).expand(-1, px.shape[1], 1)
    return px.scatter(2, last, -torch.inf)
