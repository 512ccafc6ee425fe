"""What the RNN-T losses ask of their arguments, said in terms of the arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import with_data

TYPES = ("regular", "modified", "constrained")


def checked_type(rnnt_type: str) -> str:
    if rnnt_type not in TYPES:
        raise NeveError(f"rnnt_type: must be one of {', '.join(TYPES)}, not {rnnt_type!r}")
    return rnnt_type


def checked_scores(**scores: Tensor) -> tuple[list[Tensor], torch.dtype]:
    """Tensors of scores, of one float dtype and device; half precision becomes float32."""
    found = []
    for name, value in scores.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise NeveError(f"{name}: a tensor of floats is needed, not {kind}")
        found.append(value.float() if value.dtype in (torch.float16, torch.bfloat16) else value)
    first = next(iter(scores))
    for name, value in zip(scores, found):
        if value.device != found[0].device:
            raise NeveError(f"{name}: on {value.device}, but {first} is on {found[0].device}")
        if value.dtype != found[0].dtype:
            raise NeveError(f"{name}: {value.dtype}, but {first} is {found[0].dtype}")
    return found, found[0].dtype


def _is_int64(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """NeveError unless `value` is an int64 tensor of this shape."""
    if not isinstance(value, Tensor):
        raise NeveError(f"{name}: {shape} int64 is needed, not {type(value).__name__}")
    if value.shape != shape or value.dtype != torch.int64:
        raise NeveError(f"{name}: {shape} int64 is needed, not {tuple(value.shape)} {value.dtype}")


def check_symbols(
    symbols: Tensor, blank: int, batch: int, num_symbols: int, classes: int, device
) -> None:
    _is_int64("symbols", symbols, (batch, num_symbols))
    if symbols.device != device:
        raise NeveError(f"symbols: on {symbols.device}, but the scores are on {device}")
    if not isinstance(blank, int) or not 0 <= blank < classes:
        raise NeveError(f"termination_symbol: {blank} is not in 0..{classes - 1}")
    if symbols.numel() and symbols.device.type == "cpu":
        low, high = (int(x) for x in torch.aminmax(symbols))
        if low < 0 or high >= classes:
            raise NeveError(
                f"symbols: {low if low < 0 else high} is not one of the {classes} classes, "
                f"0..{classes - 1} (padding must be a class, too)"
            )


def check_ranges(ranges: Tensor, shape: tuple[int, ...], num_symbols: int, device) -> None:
    _is_int64("ranges", ranges, shape)
    if ranges.device != device:
        raise NeveError(f"ranges: on {ranges.device}, but the scores are on {device}")
    if ranges.numel() and ranges.device.type == "cpu":
        low, high = (int(x) for x in torch.aminmax(ranges))
        if low < 0 or high > num_symbols:
            raise NeveError(
                f"ranges: {low if low < 0 else high} is not in 0..{num_symbols}; use "
                "get_rnnt_prune_ranges"
            )
        if bool((torch.diff(ranges, dim=2) != 1).any()) or bool(
            (torch.diff(ranges[..., 0], dim=1) < 0).any()
        ):
            raise NeveError(
                "ranges: each row must be first, first+1, ... and rows must not go back; use "
                "get_rnnt_prune_ranges"
            )


def checked_boundary(
    boundary: Tensor | None,
    batch: int,
    num_symbols: int,
    frames: int,
    device,
    rnnt_type: str = "regular",
) -> Tensor:
    """(B, 4) int64 on `device`; the whole of every utterance if none is given."""
    if boundary is None:
        whole = torch.tensor([0, 0, num_symbols, frames], dtype=torch.int64, device=device)
        boundary = whole.repeat(batch, 1)
    _is_int64("boundary", boundary, (batch, 4))
    with_data(boundary, "boundary")
    if boundary.device.type == "cpu":  # elsewhere it would wait for the device
        s0, t0, s1, t1 = boundary.unbind(1)
        wrong = (s0 < 0) | (s1 < s0) | (s1 > num_symbols) | (t0 < 0) | (t1 < t0) | (t1 > frames)
        short = (t1 - t0) < (s1 - s0) if rnnt_type != "regular" else torch.zeros_like(wrong)
        for b in torch.nonzero(wrong | short).flatten().tolist():
            row = boundary[b].tolist()
            if wrong[b]:
                raise NeveError(
                    f"boundary: row {b} is {row}; first symbol, first frame, symbols (at most "
                    f"{num_symbols}) and frames (at most {frames}) are needed, in this order"
                )
            raise NeveError(
                f"boundary: row {b}, {row}, has more symbols than frames, which rnnt_type "
                f"{rnnt_type} cannot align; leave the utterance out"
            )
    return boundary.to(device).contiguous()


def check_totals(totals: Tensor, **scores: Tensor) -> None:
    """NeveError if a total is NaN, which only NaN or +inf in the scores can cause."""
    if totals.device.type != "cpu":
        return  # it would wait for the device; the loss shows it
    bad = torch.nonzero(torch.isnan(totals)).flatten().tolist()
    if bad:
        names = [n for n, x in scores.items() if not bool((x.detach() < torch.inf).all())]
        raise NeveError(f"{' and '.join(names or scores)}: NaN or +inf in utterance {bad[0]}")


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """losses (B,) as they are ("none"), their "mean" or "sum"."""
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    raise NeveError(f"reduction: must be none, mean or sum, not {reduction!r}")
