"""CTC losses: exact ones, over all alignments, and k2's, over those near the best.

Gradients are with respect to log-probabilities: minus the probability of each label in each frame.
(torch.nn.functional.ctc_loss hands back exp(log_probs) minus that, which is the same after the
log-softmax.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import with_data
from neve.fsa.backends import kernel
from neve.fsa.dense import DenseFsaVec
from neve.fsa.fsa import Fsa
from neve.fsa.ragged import RaggedTensor
from neve.fsa.topologies import ctc_targets


class _Exact(torch.autograd.Function):
    """Losses whose gradient, as large as log_probs, comes with them and is handed on uncopied.

    So it is there once; should the graph be kept for another backward pass, it is computed again.
    """

    @staticmethod
    def forward(ctx, log_probs: Tensor, arguments: tuple, delay_penalty: float) -> Tensor:
        ctx.arguments, ctx.delay_penalty = arguments, delay_penalty
        ctx.save_for_backward(log_probs)
        losses, ctx.by_frame = _Exact.compute(ctx, log_probs, log_probs.requires_grad)
        return losses

    @staticmethod
    def compute(ctx, log_probs: Tensor, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        compute = kernel("ctc", "ctc", log_probs.device)
        return compute(log_probs, *ctx.arguments, want_grad, ctx.delay_penalty)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        (log_probs,) = ctx.saved_tensors
        by_frame, ctx.by_frame = ctx.by_frame, None
        if by_frame is None:
            _, by_frame = _Exact.compute(ctx, log_probs, True)
        # a large product can be spared, if finding out does not mean waiting for the device
        if grad.device.type != "cpu" or not bool((grad == 1).all()):
            by_frame *= grad.reshape(-1, 1, 1)
        return by_frame, None, None


class _AnyGraph(torch.autograd.Function):
    @staticmethod
    def forward(ctx, log_probs: Tensor, scores: Tensor, graphs, lengths, delay_penalty) -> Tensor:
        compute = kernel("ctc", "dense_totals", log_probs.device)
        want_grad = log_probs.requires_grad or scores.requires_grad
        totals, grad, arc_grad = compute(
            graphs, scores, log_probs, lengths, delay_penalty, want_grad
        )
        counts = torch.tensor([graph.num_arcs for graph in graphs])
        ctx.save_for_backward(grad, arc_grad.to(scores.dtype), counts)
        return -totals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        by_frame, by_arc, counts = ctx.saved_tensors
        each = torch.repeat_interleave(-grad, counts.to(grad.device))
        return -grad.reshape(-1, 1, 1) * by_frame, each * by_arc, None, None, None


def exact_ctc_loss(
    log_probs: Tensor,
    targets: Tensor | RaggedTensor,
    input_lengths: Tensor,
    target_lengths: Tensor | None = None,
    blank: int = 0,
    modified: bool = False,
    reduction: str = "none",
    zero_infinity: bool = False,
    delay_penalty: float = 0.0,
) -> Tensor:
    """torch's ctc_loss with the batch first: minus the log-sum over all alignments, (N,).

    log_probs (N, T, C) float32 or float64; targets (N, S) padded, or one after another (sum of
    target_lengths,), or ragged; input_lengths and target_lengths (N,). `modified` lets equal tokens
    follow each other without a blank. reduction: "none", "sum", or "mean" of losses divided by
    their target's length. A target that does not fit its frames has loss inf, or 0 with
    zero_infinity, and no gradient. delay_penalty > 0 favours early tokens.

    Raises NeveError, naming the argument, for lengths and tokens out of range, NaN and +inf.
    """
    log_probs = _checked_log_probs(log_probs)
    batch, frames, classes = log_probs.shape
    lengths = _checked_lengths(input_lengths, "input_lengths", batch, frames)
    targets, counts = _checked_targets(targets, target_lengths, batch)
    if not 0 <= blank < classes:
        raise NeveError(f"blank: {blank} is not in 0..{classes - 1}")
    used = torch.arange(targets.shape[1]) < counts.unsqueeze(1)
    tokens = targets[used]
    wrong = tokens[(tokens < 0) | (tokens >= classes) | (tokens == blank)]
    if len(wrong):
        raise NeveError(
            f"targets: {int(wrong[0])} is not one of the {classes} classes or is the blank, {blank}"
        )
    arguments = (lengths, targets, counts, blank, modified)
    device = log_probs.device
    arguments = tuple(x.to(device) if isinstance(x, Tensor) else x for x in arguments)
    losses = _Exact.apply(log_probs, arguments, float(delay_penalty))
    _check_losses(losses, "log_probs")
    if zero_infinity:
        losses = torch.where(losses < torch.inf, losses, 0.0)
    return _reduced(losses, reduction, counts)


def ctc_loss(
    decoding_graph: Fsa,
    dense_fsa_vec: DenseFsaVec,
    output_beam: float = 10,
    delay_penalty: float = 0.0,
    reduction: str = "sum",
    use_double_scores: bool = True,
    target_lengths: Tensor | None = None,
    pruning: str = "exact",
) -> Tensor:
    """k2's ctc_loss: minus the log total of each graph over its segment's dense scores.

    pruning "exact" sums over all paths, and output_beam does not matter; "k2" sums over the arcs
    that intersect_dense keeps within output_beam, which gives the loss of k2, a little larger.
    reduction "mean" divides by target_lengths and averages, "sum", "none" (N,). delay_penalty
    favours paths that emit early. The gradient reaches log_probs, and the graph's scores.
    """
    if pruning not in ("exact", "k2"):
        raise NeveError(f"pruning: must be exact or k2, not {pruning!r}")
    if reduction == "mean" and target_lengths is None:
        raise NeveError('target_lengths: needed for reduction "mean"')
    if not isinstance(dense_fsa_vec, DenseFsaVec):
        kind = type(dense_fsa_vec).__name__
        raise NeveError(f"dense_fsa_vec: a DenseFsaVec is needed, not {kind}")
    with_data(decoding_graph.scores, "decoding_graph")
    if decoding_graph.num_fsas != len(dense_fsa_vec):
        raise NeveError(
            f"decoding_graph: {decoding_graph.num_fsas} graphs for {len(dense_fsa_vec)} segments"
        )
    if pruning == "k2":
        losses = _pruned(
            decoding_graph, dense_fsa_vec, output_beam, delay_penalty, use_double_scores
        )
    else:
        losses = _exact(decoding_graph, dense_fsa_vec, delay_penalty)
        _check_losses(losses, "dense_fsa_vec")
    return _reduced(losses, reduction, target_lengths)


def _exact(graph: Fsa, dense: DenseFsaVec, delay_penalty: float) -> Tensor:
    known = None if graph.requires_grad else ctc_targets(graph)
    log_probs = dense.segments()
    lengths = dense.lengths.to(log_probs.device)
    if known is not None and (known[0].numel() == 0 or int(known[0].max()) < dense.num_classes):
        targets, counts, modified = known
        arguments = (lengths, targets, counts, 0, modified)
        device = log_probs.device
        arguments = tuple(x.to(device) if isinstance(x, Tensor) else x for x in arguments)
        return _Exact.apply(log_probs, arguments, float(delay_penalty))
    graphs = [one.to_graph() for one in graph] if len(graph.shape) == 3 else [graph.to_graph()]
    for n, one in enumerate(graphs):
        if one.max_label >= dense.num_classes:
            raise NeveError(
                f"decoding_graph: graph {n} has label {one.max_label}, the dense scores have "
                f"{dense.num_classes} classes"
            )
    return _AnyGraph.apply(log_probs, graph.scores, graphs, lengths.cpu(), float(delay_penalty))


def _pruned(graph, dense, output_beam, delay_penalty, use_double_scores) -> Tensor:
    from neve.fsa.lattice import intersect_dense

    name = "ctc_loss_frame"
    lattice = intersect_dense(graph, dense, output_beam, frame_idx_name=name)
    if delay_penalty > 0.0:
        aux = lattice.aux_labels
        if isinstance(aux, RaggedTensor):
            raise NeveError("delay_penalty: the graph's aux_labels must be one number an arc")
        counts = torch.diff(lattice.arc_splits).to(lattice.device)
        middle = torch.repeat_interleave((dense.lengths // 2).to(lattice.device), counts)
        early = delay_penalty * (middle - getattr(lattice, name))
        bonus = torch.where(aux > 0, early, 0.0).to(lattice.scores.dtype)
        lattice.scores = lattice.scores + bonus
    total = lattice.get_tot_scores(use_double_scores=use_double_scores, log_semiring=True)
    return -total.to(lattice.scores.dtype)


class CtcLoss(torch.nn.Module):
    """`ctc_loss` with its settings kept."""

    def __init__(
        self,
        output_beam: float = 10,
        reduction: str = "sum",
        use_double_scores: bool = True,
        pruning: str = "exact",
    ):
        super().__init__()
        self.output_beam = output_beam
        self.reduction = reduction
        self.use_double_scores = use_double_scores
        self.pruning = pruning

    def forward(
        self,
        decoding_graph: Fsa,
        dense_fsa_vec: DenseFsaVec,
        delay_penalty: float = 0.0,
        target_lengths: Tensor | None = None,
    ) -> Tensor:
        return ctc_loss(
            decoding_graph,
            dense_fsa_vec,
            self.output_beam,
            delay_penalty,
            self.reduction,
            self.use_double_scores,
            target_lengths,
            self.pruning,
        )


def _checked_log_probs(log_probs: Tensor) -> Tensor:
    if log_probs.ndim != 3:
        raise NeveError(f"log_probs: (N, T, C) is needed, not {tuple(log_probs.shape)}")
    if log_probs.dtype in (torch.float16, torch.bfloat16):
        log_probs = log_probs.float()
    if log_probs.dtype not in (torch.float32, torch.float64):
        raise NeveError(f"log_probs: floats are needed, not {log_probs.dtype}")
    return log_probs.contiguous()


def _checked_lengths(lengths: Tensor, name: str, batch: int, most: int | None) -> Tensor:
    lengths = with_data(torch.as_tensor(lengths), name).cpu()
    if lengths.shape != (batch,) or lengths.is_floating_point():
        raise NeveError(f"{name}: {batch} whole numbers are needed, not {tuple(lengths.shape)}")
    if batch and (int(lengths.min()) < 0 or (most is not None and int(lengths.max()) > most)):
        limit = "" if most is None else f"..{most}"
        raise NeveError(f"{name}: {lengths.tolist()} are not all within 0{limit}")
    return lengths.long()


def _checked_targets(targets, target_lengths, batch: int) -> tuple[Tensor, Tensor]:
    """(N, S) int64 and lengths (N,) on the CPU, of padded, flat or ragged targets."""
    if isinstance(targets, RaggedTensor):
        counts = torch.diff(targets.row_splits).cpu().long()
        return targets.pad("constant", 0).cpu().long(), _checked_lengths(
            counts, "targets", batch, None
        )
    if target_lengths is None:
        raise NeveError("target_lengths: needed unless targets are ragged")
    if targets.is_floating_point() or targets.ndim not in (1, 2):
        raise NeveError("targets: (N, S), or one row of all, of whole numbers is needed")
    targets = targets.cpu().long()
    most = targets.shape[1] if targets.ndim == 2 else None
    counts = _checked_lengths(target_lengths, "target_lengths", batch, most)
    if targets.ndim == 1:
        if int(counts.sum()) != len(targets):
            raise NeveError(
                f"target_lengths: they add up to {int(counts.sum())}, there are {len(targets)} "
                "targets"
            )
        splits = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        targets = RaggedTensor.from_splits(splits, targets).pad("constant", 0).long()
    elif len(targets) != batch:
        raise NeveError(f"targets: {len(targets)} rows for {batch} rows of log_probs")
    return targets.contiguous(), counts


def _check_losses(losses: Tensor, name: str) -> None:
    if losses.device.type == "cpu":
        bad = torch.nonzero(torch.isnan(losses.detach())).flatten().tolist()
        if bad:
            raise NeveError(f"{name}: NaN or +inf in the scores of row {bad[0]}")


def _reduced(losses: Tensor, reduction: str, target_lengths: Tensor | None) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        counts = target_lengths.to(losses.device).clamp(min=1)
        return (losses / counts).mean()
    raise NeveError(f"reduction: must be none, mean or sum, not {reduction!r}")
