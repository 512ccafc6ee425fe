"""RNN-T kernels: what `neve.fsa.backends.cpu.rnnt` has, on a CUDA device.

The pruned loss takes three kernels: log-sum-exp and gather of a row of logits (a program a row,
the logits are read once), the recursion (`recursion`), and the gradient of a row of logits (read
once, written once).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neve.fsa.backends.cuda import recursion
from neve.fsa.backends.cuda.launch import power_of_two, start, tl, triton, warps

mutual_information = recursion.full


@triton.jit
def _exp_rows(rows, out, highest, classes, block: tl.constexpr):
    i = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, block)
    rows += i * classes
    high = tl.full([], -float("inf"), rows.dtype.element_ty)
    for c0 in range(0, classes, block):
        x = tl.load(rows + c0 + c, mask=c0 + c < classes, other=-float("inf"))
        high = tl.maximum(high, tl.max(x, 0))
    tl.store(highest + i, high)
    for c0 in range(0, classes, block):
        x = tl.load(rows + c0 + c, mask=c0 + c < classes, other=-float("inf"))
        tl.store(out + i * classes + c0 + c, tl.exp(x - high), mask=c0 + c < classes)


def _block(classes: int) -> int:
    return power_of_two(classes, 16, 4096)


def exp_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(exp(rows - highest), highest (N, 1)) of contiguous rows (N, C)."""
    out, highest = torch.empty_like(rows), rows.new_empty((len(rows), 1))
    block = _block(rows.shape[1])
    start(
        _exp_rows, len(rows), rows, out, highest, rows.shape[1],
        block=block, num_warps=warps(block, 256),
    )  # fmt: skip
    return out, highest


@triton.jit
def _log_sigmoid(x):
    return tl.minimum(x, 0.0) - tl.log(1 + tl.exp(-tl.abs(x)))


@triton.jit
def _symbol_of(symbols, begins, boundary, row, frames, width, num_symbols):
    """(utterance, is the row inside its box, has it a next symbol, that symbol)."""
    b = row // (frames * width)
    t = (row // width) % frames
    s = tl.load(begins + b * frames + t) + row % width
    last = tl.load(boundary + b * 4 + 2)
    inside = (t >= tl.load(boundary + b * 4 + 1)) & (t < tl.load(boundary + b * 4 + 3))
    inside = inside & (s >= tl.load(boundary + b * 4)) & (s <= last)
    has_symbol = inside & (s < last)
    return b, inside, has_symbol, tl.load(symbols + b * num_symbols + s, mask=has_symbol, other=0)


@triton.jit(do_not_specialize=["frames", "width", "num_symbols", "blank"])
def _log_probs(
    logits, symbols, begins, boundary, norm, px, py, frames, width, num_symbols, classes, blank,
    hat: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    b, inside, has_symbol, symbol = _symbol_of(
        symbols, begins, boundary, row, frames, width, num_symbols
    )
    if inside:
        logits += row * classes
        c = tl.arange(0, block)
        high = tl.full([], -float("inf"), logits.dtype.element_ty)
        total = tl.zeros([], logits.dtype.element_ty)
        for c0 in range(0, classes, block):
            counts = c0 + c < classes
            if hat:
                counts = counts & (c0 + c > 0)
            x = tl.load(logits + c0 + c, mask=counts, other=-float("inf"))
            higher = tl.maximum(high, tl.max(x, 0))
            shrink = tl.where(high == higher, 1.0, tl.exp(high - higher))
            from_here = tl.where(higher == -float("inf"), 0.0, higher)  # -inf - -inf is NaN
            total = total * shrink + tl.sum(tl.exp(x - from_here), 0)
            high = higher
        total = high + tl.log(total)
        of_blank = tl.load(logits + blank)
        of_symbol = tl.load(logits + symbol)
        usable = total < float("inf")  # no NaN, no +inf
        if hat:
            usable = usable & (of_blank < float("inf"))
        total = tl.where(usable, total, float("nan"))
        if hat:
            y = _log_sigmoid(of_blank) + total * 0
            x = of_symbol - total + _log_sigmoid(-of_blank)
        else:
            y = of_blank - total
            x = of_symbol - total
        tl.store(norm + row, total)
        tl.store(px + row, tl.where(has_symbol, x, -float("inf")))
        tl.store(py + row, y)


@triton.jit(do_not_specialize=["frames", "width", "num_symbols", "blank"])
def _logit_gradient(
    logits, symbols, begins, boundary, norm, gx, gy, grad, out, frames, width, num_symbols, classes,
    blank, hat: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    b, inside, has_symbol, symbol = _symbol_of(
        symbols, begins, boundary, row, frames, width, num_symbols
    )
    scale = tl.load(grad + b)
    x_mass = tl.load(gx + row, mask=inside, other=0.0) * scale
    y_mass = tl.load(gy + row, mask=inside, other=0.0) * scale
    counts = inside & ((x_mass != 0) | (y_mass != 0))
    total = tl.load(norm + row, mask=counts, other=0.0)
    logits += row * classes
    out += row * classes
    c = tl.arange(0, block)
    read = tl.where(counts, classes, 0)
    for c0 in range(0, classes, block):
        at = c0 + c
        logit = tl.load(logits + at, mask=at < read, other=0.0)
        if hat:
            emit = 1 / (1 + tl.exp(-logit))
            of_blank = y_mass * (1 - emit) - x_mass * emit
            value = tl.where(at == blank, of_blank, -x_mass * tl.exp(logit - total))
        else:
            value = -(x_mass + y_mass) * tl.exp(logit - total)
            value += tl.where(at == blank, y_mass, 0.0)
        value += tl.where(at == symbol, x_mass, 0.0)
        tl.store(out + at, tl.where(at < read, value, 0.0), mask=at < classes)


class Pruned(NamedTuple):
    """What the backward pass of one batch needs; see neve.kernels.rnnt.pruned."""

    logits: Tensor
    symbols: Tensor
    begins: Tensor
    boundary: Tensor
    blank: int
    hat: bool
    norm: Tensor
    gx: Tensor
    gy: Tensor


def pruned(
    logits: Tensor,
    symbols: Tensor,
    begins: Tensor,
    blank: int,
    rnnt_type: str,
    boundary: Tensor,
    delay_penalty: float,
    hat: bool,
) -> tuple[Tensor, Pruned]:
    """(totals (B,), what `pruned_gradient` wants): see neve.kernels.rnnt.pruned."""
    logits, symbols, begins, boundary = (
        x.detach().contiguous() for x in (logits, symbols, begins, boundary)
    )
    batch, frames, width, classes = logits.shape
    num_symbols = symbols.shape[1]
    norm, px, py = (logits.new_empty((batch, frames, width)) for _ in range(3))
    block = _block(classes)
    start(
        _log_probs, batch * frames * width, logits, symbols, begins, boundary, norm, px, py,
        frames, width, num_symbols, classes, blank, hat=hat, block=block,
        num_warps=warps(block, 256),
    )  # fmt: skip
    totals, gx, gy = recursion.band(
        px, py, begins, num_symbols, rnnt_type, boundary, float(delay_penalty)
    )
    return totals, Pruned(logits, symbols, begins, boundary, blank, hat, norm, gx, gy)


def pruned_gradient(saved: Pruned, grad: Tensor) -> Tensor:
    """(B, T, R, C): the gradient of sum(grad * totals) with respect to the logits."""
    batch, frames, width, classes = saved.logits.shape
    out = torch.empty_like(saved.logits)
    block = _block(classes)
    start(
        _logit_gradient, batch * frames * width, saved.logits, saved.symbols, saved.begins,
        saved.boundary, saved.norm, saved.gx, saved.gy, grad.contiguous(), out, frames, width,
        saved.symbols.shape[1], classes, saved.blank, hat=saved.hat, block=block,
        num_warps=warps(block, 256),
    )  # fmt: skip
    return out
