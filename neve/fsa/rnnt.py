"""RNN-T losses: simple, smoothed, full and pruned; and the ranges that pruning keeps.

B utterances of T frames and S symbols over C classes. `boundary` (B, 4) int64 has a row (first
symbol, first frame, number of symbols, number of frames) for each; by default (0, 0, S, T).
rnnt_type is "regular", "modified" (at most one symbol a frame) or "constrained" (modified, and the
blank that moves on after a symbol is scored too). delay_penalty > 0 favours early symbols. Half
precision is computed in float32. Names and signatures are k2's; the pruning is that of Kuang et
al., 2022, "Pruned RNN-T for fast, memory-efficient ASR training".
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.backends import kernel
from neve.fsa.rnnt_checks import (
    check_ranges,
    check_symbols,
    check_totals,
    checked_boundary,
    checked_scores,
    checked_type,
    reduced,
)
from neve.fsa.rnnt_recursion import Recursion, fix_for_boundary
from neve.fsa.rnnt_simple import smoothed_log_probs


def _of_type(px: Tensor, py: Tensor, rnnt_type: str, boundary: Tensor | None) -> Tensor:
    """px (B, S, T) as the recursion of each type wants it."""
    if rnnt_type == "regular":
        return fix_for_boundary(torch.nn.functional.pad(px, (0, 1), value=-torch.inf), boundary)
    return px + py[:, 1:] if rnnt_type == "constrained" else px


def _delayed(px: Tensor, boundary: Tensor, delay_penalty: float) -> Tensor:
    """px with the bonus of early symbols: delay_penalty * (half the frames - frame)."""
    if delay_penalty == 0.0:
        return px
    middle = (boundary[:, 3] - 1).to(px.dtype).reshape(-1, 1, 1) / 2
    frames = torch.arange(px.shape[2], device=px.device, dtype=px.dtype)
    return px + delay_penalty * (middle - frames)


def get_rnnt_logprobs(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    rnnt_type: str = "regular",
    boundary: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(px, py) of the simple joiner, whose logits are am (B, T, C) + lm (B, S+1, C)."""
    return get_rnnt_logprobs_smoothed(
        lm, am, symbols, termination_symbol, 0.0, 0.0, boundary, rnnt_type
    )


def get_rnnt_logprobs_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """`get_rnnt_logprobs`, mixed with the log-probabilities of lm alone and of am alone.

    am alone is weighed with the average of lm's distributions over all positions of the batch.
    Both scales 0 give the simple log-probabilities.
    """
    rnnt_type = checked_type(rnnt_type)
    (lm, am), _ = checked_scores(lm=lm, am=am)
    if lm.ndim != 3 or am.ndim != 3 or lm.shape[0] != am.shape[0] or lm.shape[2] != am.shape[2]:
        raise NeveError(
            f"lm: (B, S+1, C) is needed for am (B, T, C), not {tuple(lm.shape)} for "
            f"{tuple(am.shape)}"
        )
    check_symbols(symbols, termination_symbol, len(lm), lm.shape[1] - 1, lm.shape[2], lm.device)
    if boundary is not None:
        boundary = checked_boundary(
            boundary, *lm.shape[:1], lm.shape[1] - 1, am.shape[1], lm.device
        )
    px, py = smoothed_log_probs(
        lm, am, symbols, termination_symbol, float(lm_only_scale), float(am_only_scale)
    )
    return _of_type(px, py, rnnt_type, boundary), py


def _hat_log_probs(logits: Tensor, at: Tensor, termination_symbol: int) -> tuple[Tensor, Tensor]:
    blank = logits[..., 0]
    norm = torch.logsumexp(logits[..., 1:], dim=-1)
    symbol = torch.gather(logits, -1, at.unsqueeze(-1)).squeeze(-1)
    sigmoid = torch.nn.functional.logsigmoid
    return symbol - norm + sigmoid(-blank), sigmoid(blank)


def _row_log_probs(
    logits: Tensor, at: Tensor, termination_symbol: int, use_hat_loss: bool
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the class `at` (...) and of the blank in each row of logits (..., C)."""
    if use_hat_loss:
        return _hat_log_probs(logits, at, termination_symbol)
    norm = torch.logsumexp(logits, dim=-1)
    symbol = torch.gather(logits, -1, at.unsqueeze(-1)).squeeze(-1)
    return symbol - norm, logits[..., termination_symbol] - norm


def get_rnnt_logprobs_joint(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    rnnt_type: str = "regular",
    boundary: Tensor | None = None,
    use_hat_loss: bool = False,
) -> tuple[Tensor, Tensor]:
    """(px, py) of the logits (B, T, S+1, C) of a full joiner."""
    logits, symbols, boundary, rnnt_type = _checked_joint(
        logits, symbols, termination_symbol, boundary, rnnt_type, use_hat_loss
    )
    num_symbols, frames = symbols.shape[1], logits.shape[1]
    at = torch.nn.functional.pad(symbols, (0, 1), value=termination_symbol)
    at = at.unsqueeze(1).expand(-1, frames, -1)
    px, py = _row_log_probs(logits, at, termination_symbol, use_hat_loss)
    px, py = px[:, :, :num_symbols].transpose(1, 2), py.transpose(1, 2)
    return _of_type(px, py, rnnt_type, boundary), py


def get_rnnt_logprobs_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    use_hat_loss: bool = False,
) -> tuple[Tensor, Tensor]:
    """(px, py) of the logits (B, T, R, C) of a pruned joiner; -inf outside `ranges` (B, T, R)."""
    logits, symbols, boundary, rnnt_type = _checked_joint(
        logits, symbols, termination_symbol, boundary, rnnt_type, use_hat_loss, ranges
    )
    batch, frames, num_symbols = len(logits), logits.shape[1], symbols.shape[1]
    extended = torch.nn.functional.pad(symbols, (0, 1), value=termination_symbol)
    at = torch.gather(extended, 1, ranges.reshape(batch, -1)).reshape(ranges.shape)
    px, py = _row_log_probs(logits, at, termination_symbol, use_hat_loss)
    everywhere = px.new_full((batch, frames, num_symbols + 1), -torch.inf)
    px = everywhere.scatter(2, ranges, px)[:, :, :num_symbols].transpose(1, 2)
    py = everywhere.scatter(2, ranges, py).transpose(1, 2)
    return _of_type(px, py, rnnt_type, boundary), py


def _checked_joint(
    logits, symbols, termination_symbol, boundary, rnnt_type, use_hat_loss, ranges=None
):
    """Arguments of the full and the pruned losses, checked; the boundary is filled in."""
    rnnt_type = checked_type(rnnt_type)
    (logits,), _ = checked_scores(logits=logits)
    if not isinstance(symbols, Tensor) or symbols.ndim != 2:
        kind = tuple(symbols.shape) if isinstance(symbols, Tensor) else type(symbols).__name__
        raise NeveError(f"symbols: (B, S) int64 is needed, not {kind}")
    if logits.ndim != 4:
        shape = "(B, T, S+1, C)" if ranges is None else "(B, T, R, C)"
        raise NeveError(f"logits: {shape} is needed, not {tuple(logits.shape)}")
    batch, frames, width, classes = logits.shape
    num_symbols = symbols.shape[1]
    check_symbols(symbols, termination_symbol, batch, num_symbols, classes, logits.device)
    if use_hat_loss and termination_symbol != 0:
        raise NeveError(f"termination_symbol: HAT's blank is 0, not {termination_symbol}")
    if use_hat_loss and classes < 2:
        raise NeveError("logits: HAT needs at least one class besides the blank")
    if ranges is not None:
        check_ranges(ranges, (batch, frames, width), num_symbols, logits.device)
    elif width != num_symbols + 1:
        raise NeveError(f"logits: S+1 is {num_symbols + 1}, but the shape is {tuple(logits.shape)}")
    boundary = checked_boundary(boundary, batch, num_symbols, frames, logits.device, rnnt_type)
    return logits, symbols, boundary, rnnt_type


def rnnt_loss_simple(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """The loss of the joiner that adds am (B, T, C) and lm (B, S+1, C); symbols (B, S) int64.

    reduction: "none" (B,), "mean" over utterances, "sum". With return_grad also the occupation
    probabilities of (px, py), which `get_rnnt_prune_ranges` wants.
    """
    return rnnt_loss_smoothed(
        lm, am, symbols, termination_symbol, 0.0, 0.0, boundary, rnnt_type, delay_penalty,
        reduction, return_grad,
    )  # fmt: skip


def rnnt_loss_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """`rnnt_loss_simple` of log-probabilities as `get_rnnt_logprobs_smoothed` mixes them."""
    given = boundary
    px, py = get_rnnt_logprobs_smoothed(
        lm, am, symbols, termination_symbol, lm_only_scale, am_only_scale, given, rnnt_type
    )
    shape = (len(py), py.shape[1] - 1, py.shape[2])
    boundary = checked_boundary(boundary, *shape, py.device, checked_type(rnnt_type))
    px = _delayed(px, boundary, delay_penalty)
    want_grads = return_grad or px.requires_grad or py.requires_grad
    totals, gx, gy = Recursion.apply(px, py, boundary, want_grads)
    check_totals(totals, lm=lm, am=am)
    loss = reduced(-totals, reduction)
    return (loss, (gx, gy)) if return_grad else loss


class _Pruned(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, *arguments) -> Tensor:
        totals, ctx.saved = kernel("rnnt", "pruned", logits.device)(logits, *arguments)
        ctx.device = logits.device
        return totals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        gradient = kernel("rnnt", "pruned_gradient", ctx.device)(ctx.saved, grad)
        return gradient, *[None] * 7


def rnnt_loss(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    use_hat_loss: bool = False,
) -> Tensor:
    """The loss of the logits (B, T, S+1, C) of a full joiner; symbols (B, S) int64.

    With use_hat_loss the blank, 0, has a sigmoid of its own (Variani et al., 2020).
    """
    logits, symbols, boundary, rnnt_type = _checked_joint(
        logits, symbols, termination_symbol, boundary, rnnt_type, use_hat_loss
    )
    begins = symbols.new_zeros(logits.shape[:2])
    totals = _Pruned.apply(
        logits, symbols, begins, termination_symbol, rnnt_type, boundary, delay_penalty,
        use_hat_loss,
    )  # fmt: skip
    check_totals(totals, logits=logits)
    return reduced(-totals, reduction)


def rnnt_loss_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    use_hat_loss: bool = False,
) -> Tensor:
    """The loss of the logits (B, T, R, C) of a joiner that saw only `ranges` (B, T, R).

    ranges are those of `get_rnnt_prune_ranges`: each row is first, first+1, ..., first+R-1. Other
    arguments are as for `rnnt_loss`. Nothing of the logits' size is made but their gradient.
    """
    logits, symbols, boundary, rnnt_type = _checked_joint(
        logits, symbols, termination_symbol, boundary, rnnt_type, use_hat_loss, ranges
    )
    totals = _Pruned.apply(
        logits, symbols, ranges[..., 0], termination_symbol, rnnt_type, boundary, delay_penalty,
        use_hat_loss,
    )  # fmt: skip
    check_totals(totals, logits=logits)
    return reduced(-totals, reduction)


def get_rnnt_prune_ranges(
    px_grad: Tensor, py_grad: Tensor, boundary: Tensor | None, s_range: int
) -> Tensor:
    """(B, T, R) int64: the symbols that the pruned loss looks at in each frame.

    px_grad and py_grad are what the simple loss gave with return_grad. In each frame a window of
    s_range symbols is put where most probability lies; windows never go back and move by less than
    their width (by at most 1 unless regular). R is s_range, or more if the longest utterance cannot
    be walked with it (regular), and at most S+1. (FSA-SPEC section 4.)
    """
    if px_grad.ndim != 3 or py_grad.ndim != 3 or py_grad.shape[1] != px_grad.shape[1] + 1:
        raise NeveError(
            f"px_grad: (B, S, T') is needed for py_grad (B, S+1, T), not {tuple(px_grad.shape)} "
            f"for {tuple(py_grad.shape)}"
        )
    checked_scores(px_grad=px_grad, py_grad=py_grad)
    batch, num_symbols, frames = len(px_grad), px_grad.shape[1], py_grad.shape[2]
    regular = px_grad.shape[2] == frames + 1
    boundary = checked_boundary(boundary, batch, num_symbols, frames, px_grad.device)
    symbols, lengths = boundary[:, 2:3], boundary[:, 3:4]
    least = 2 if regular else 1
    if not isinstance(s_range, int) or s_range < least:
        raise NeveError(f"s_range: at least {least} is needed, not {s_range}")
    if regular and frames and batch:
        needed = torch.div(symbols - 1, lengths.clamp(min=1), rounding_mode="trunc") + 2
        s_range = max(s_range, int(needed.max()))
    s_range = min(s_range, num_symbols + 1) if s_range > num_symbols else s_range
    mass = py_grad.detach().unfold(1, s_range, 1).sum(-1)
    mass[:, 1:] -= px_grad.detach()[:, : num_symbols + 1 - s_range, :frames]
    begins = mass.argmax(1)
    last = (symbols - s_range + 1).clamp(min=0)
    frame = torch.arange(frames, device=begins.device)
    begins = torch.where(frame < lengths - 1, begins, last)
    step = s_range - 1 if regular else 1
    begins = _lowest_from_here(begins)
    slack = _lowest_from_here(step * frame - begins).clamp(min=0)
    begins = step * frame - slack
    return begins.unsqueeze(-1) + torch.arange(s_range, device=begins.device)


def _lowest_from_here(values: Tensor) -> Tensor:
    """The least of values[..., t:] for each t."""
    if values.shape[-1] == 0:
        return values
    return values.flip(-1).cummin(-1).values.flip(-1)


def do_rnnt_pruning(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """(am_pruned, lm_pruned), both (B, T, R, ...): what the joiner adds in the pruned loss.

    am (B, T, C) is repeated R times (without a copy), of lm (B, S+1, C') the rows `ranges`
    (B, T, R) are taken.
    """
    if am.ndim != 3 or lm.ndim != 3 or len(am) != len(lm):
        raise NeveError(
            f"am: (B, T, C) is needed with lm (B, S+1, C), not {tuple(am.shape)} with "
            f"{tuple(lm.shape)}"
        )
    width = ranges.shape[-1]
    check_ranges(ranges, (*am.shape[:2], width), lm.shape[1] - 1, lm.device)
    batch, frames = am.shape[:2]
    am_pruned = am.unsqueeze(2).expand(-1, -1, width, -1)
    index = ranges.reshape(batch, frames * width, 1).expand(-1, -1, lm.shape[2])
    lm_pruned = torch.gather(lm, 1, index).reshape(batch, frames, width, lm.shape[2])
    return am_pruned, lm_pruned
