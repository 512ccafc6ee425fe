"""The RNN-T recursion over (symbol, frame) and its occupation probabilities, in one kernel.

One program an utterance, its lanes over the symbols. Cells are visited in steps such that all arcs
lead from one step to the next: the diagonals symbol + frame if symbols take no frame (regular), the
frames otherwise. A lane keeps its cell's total in a register, in float64, and what a cell gets from
its symbol arc, as a share, is all that is written down; the way back needs nothing else.

Scores lie in a full matrix (px (S, T'), py (S+1, T) of neve.kernels.mutual_information) or in a
band (T, R) that begins at symbol begins[t] in frame t (neve.kernels.rnnt).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.fsa.backends.cuda.arithmetic import lane_after, lane_before, log_add
from neve.fsa.backends.cuda.launch import power_of_two, start, tl, triton, warps

KINDS = {"regular": 0, "modified": 1, "constrained": 2}


@triton.jit
def _entering(begins, s, k, s0, t0, s1, t1, width, x_row, frames, kind: tl.constexpr,
              band: tl.constexpr):  # fmt: skip
    """The arcs into the cells of step k, one of each sort a lane.

    (frame of the symbol arc, its offset in px, is there one, offset of the blank in py, is there
    one).
    """
    t = k - s if kind == 0 else k + s * 0
    symbol_t = t if kind == 0 else t - 1
    cell = (s >= s0) & (s <= s1) & (t >= t0) & (t <= t1)
    has_blank = cell & (t > t0)
    has_symbol = cell & (s > s0) & (symbol_t >= t0)
    if band:
        has_symbol = has_symbol & (symbol_t < t1)
        first = tl.load(begins + t - 1, mask=has_blank, other=0)
        blank_at = (t - 1) * width + s - first
        has_blank = has_blank & (s >= first) & (s < first + width)
        if kind == 0:
            first = tl.load(begins + t, mask=has_symbol, other=0)
        symbol_at = symbol_t * width + s - 1 - first
        has_symbol = has_symbol & (s > first) & (s <= first + width)
    else:
        symbol_at = (s - 1) * x_row + symbol_t
        blank_at = s * frames + t - 1
    return symbol_t, symbol_at, has_symbol, blank_at, has_blank


@triton.jit
def _scores(px, py, delay, begins, s, k, s0, t0, s1, t1, width, x_row, frames, kind: tl.constexpr,
            band: tl.constexpr):  # fmt: skip
    """Step k's scores of symbol arcs and of blanks, in float64, and which of both there are."""
    symbol_t, symbol_at, has_symbol, blank_at, has_blank = _entering(
        begins, s, k, s0, t0, s1, t1, width, x_row, frames, kind, band
    )
    x = tl.load(px + symbol_at, mask=has_symbol, other=-float("inf")).to(tl.float64)
    y = tl.load(py + blank_at, mask=has_blank, other=-float("inf")).to(tl.float64)
    if band:
        if kind == 2:  # the blank that moves on is scored with the symbol
            x += y
        x += delay * ((t1 - 1) * 0.5 - symbol_t)
    return x, y, has_symbol, has_blank


@triton.jit
def _share_at(begins, s, k, t1, width, kind: tl.constexpr, band: tl.constexpr):
    """(offset, is there one) of the shares of step k; the last frame of a band has none."""
    if band:
        t = k - s if kind == 0 else k + s * 0
        inside = (t >= 0) & (t < t1)
        first = tl.load(begins + t, mask=inside, other=0)
        return t * width + s - first, inside & (s >= first) & (s < first + width)
    return k * width + s, s < width


@triton.jit(
    do_not_specialize=["px_row", "py_row", "begins_row", "shares_row", "width", "x_row", "frames"]
)
def _recursion(
    px, py, begins, delay_penalty, boundary, totals, shares, gx, gy,
    px_row, py_row, begins_row, shares_row, width, x_row, frames,
    kind: tl.constexpr, band: tl.constexpr, want_grads: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    work = px.dtype.element_ty
    px += b * px_row
    py += b * py_row
    begins += b * begins_row
    shares += b * shares_row
    s0 = tl.load(boundary + b * 4)
    t0 = tl.load(boundary + b * 4 + 1)
    s1 = tl.load(boundary + b * 4 + 2)
    t1 = tl.load(boundary + b * 4 + 3)
    delay = tl.load(delay_penalty)
    s = tl.arange(0, lanes)
    k0 = t0 + s0 if kind == 0 else t0
    k1 = t1 + s1 if kind == 0 else t1

    total = tl.where(s == s0, 0.0, -float("inf")).to(tl.float64)
    share = tl.zeros([lanes], work)
    x, y, has_symbol, has_blank = _scores(
        px, py, delay, begins, s, k0 + 1, s0, t0, s1, t1, width, x_row, frames, kind, band
    )
    for k in range(k0 + 1, k1 + 1):
        # those of the next step are asked for now, for memory is slow
        x_next, y_next, symbol_next, blank_next = _scores(
            px, py, delay, begins, s, k + 1, s0, t0, s1, t1, width, x_row, frames, kind, band
        )
        by_symbol = tl.where(has_symbol, lane_before(total, s, 1) + x, -float("inf"))
        by_blank = tl.where(has_blank, total + y, -float("inf"))
        total = log_add(by_symbol, by_blank, work)
        if want_grads:
            share = tl.exp((by_symbol - total).to(work))
            share = tl.where(total == -float("inf"), 0.0, tl.minimum(share, 1.0)).to(work)
            at, stored = _share_at(begins, s, k, t1, width, kind, band)
            tl.store(shares + at, share, mask=stored & (has_symbol | has_blank))
        x, y, has_symbol, has_blank = x_next, y_next, symbol_next, blank_next
    result = tl.sum(tl.where(s == s1, total, 0.0), 0)
    tl.store(totals + b, result)

    if want_grads:
        gx += b * px_row
        gy += b * py_row
        tl.debug_barrier()
        mass = tl.where(s == s1, 1.0, 0.0).to(work)
        steps = tl.where(tl.abs(result) < float("inf"), k1 - k0, 0)
        for i in range(0, steps):
            k = k1 - i
            at, stored = _share_at(begins, s, k - 1, t1, width, kind, band)
            share_next = tl.load(shares + at, mask=stored, other=0.0)
            symbol_t, symbol_at, has_symbol, blank_at, has_blank = _entering(
                begins, s, k, s0, t0, s1, t1, width, x_row, frames, kind, band
            )
            by_symbol = tl.where(has_symbol & (mass > 0), mass * share, 0.0)
            by_blank = tl.where(has_blank & (mass > 0), mass - by_symbol, 0.0)
            tl.store(gx + symbol_at, by_symbol, mask=has_symbol)
            with_blank = by_blank
            if band and kind == 2:
                with_blank += by_symbol
            tl.store(gy + blank_at, with_blank, mask=has_blank)
            mass = by_blank + lane_after(by_symbol, s, 1, lanes)
            share = share_next


def _start(px, py, begins, delay, boundary, kind, band, want_grads, num_symbols, sizes, rows):
    totals = px.new_empty(len(px))
    gx = torch.zeros_like(px) if want_grads else px
    gy = torch.zeros_like(py) if want_grads else py
    shares = px.new_empty((len(px), rows if want_grads else 0))
    lanes = power_of_two(num_symbols + 1, 2)
    start(
        _recursion, len(px), px, py, begins, delay, boundary, totals, shares, gx, gy,
        px[0].numel(), py[0].numel(), begins.shape[-1] if band else 0, shares.shape[1], *sizes,
        kind=kind, band=band, want_grads=want_grads, lanes=lanes, num_warps=warps(lanes),
    )  # fmt: skip
    return (totals, gx, gy) if want_grads else (totals, None, None)


def full(
    px: Tensor, py: Tensor, boundary: Tensor, want_grads: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(totals (B,), gx, gy) of px (B, S, T') and py (B, S+1, T)."""
    if len(px) == 0:
        return px.new_empty(0), *(torch.zeros_like(x) if want_grads else None for x in (px, py))
    num_symbols, frames = py.shape[1] - 1, py.shape[2]
    regular = px.shape[2] > frames
    steps = frames + 1 + (num_symbols if regular else 0)
    delay = px.new_zeros(1, dtype=torch.float64)
    sizes = (num_symbols + 1, px.shape[2], frames)
    kind = KINDS["regular" if regular else "modified"]
    return _start(
        px, py, boundary, delay, boundary, kind, False, want_grads, num_symbols, sizes,
        steps * (num_symbols + 1),
    )  # fmt: skip


def band(
    px: Tensor,
    py: Tensor,
    begins: Tensor,
    num_symbols: int,
    kind: str,
    boundary: Tensor,
    delay_penalty: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(totals (B,), gx, gy) of px and py (B, T, R) in the band from begins (B, T) on."""
    frames, width = px.shape[1:]
    delay = px.new_full((1,), delay_penalty, dtype=torch.float64)
    return _start(
        px, py, begins, delay, boundary, KINDS[kind], True, True, num_symbols,
        (width, 0, frames), frames * width,
    )  # fmt: skip
