"""Dense scores intersected with graphs: best paths and pruned lattices of a batch.

What is computed is neve.kernels.search; tokens, arcs and ties come out the same. Tokens and arcs go
into room that is set aside beforehand. If it was too little, the search is done again with twice as
much; the host waits once, for that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.backends.cuda import dense_kernels as _kernels
from neve.fsa.backends.cuda.launch import start, warps
from neve.fsa.backends.cuda.trellis import lattice_unpruned
from neve.fsa.backends.structures import Graphs, Lattices, Paths

__all__ = ["lattice", "lattice_unpruned", "one_best"]

NONE = 0x7FFFFFFF  # see token_passing
LANES = 1024
# Room that is tried first: tokens a frame, and arcs.
TOKENS_A_FRAME = 1024
ARCS = 1 << 18
# of all tokens, or of all arcs, of one sequence
MOST = 1 << 30


def _searched(search, graphs: Graphs, log_probs: Tensor):
    """search(room for tokens, for arcs, slots, where each sequence's begin, faults) that had room.

    Raises NeveError if there is not enough room on the device.
    """
    batch, most_frames, _ = log_probs.shape
    tokens, arcs = TOKENS_A_FRAME * (most_frames + 2), ARCS
    slot_begins = graphs.counts.cumsum(0) - graphs.counts
    num_slots = int(graphs.counts.sum())
    while True:
        try:
            faults = log_probs.new_zeros(batch, dtype=torch.int32)
            slots = torch.full_like(faults[:1], NONE).repeat(num_slots)
            found = search(tokens, arcs, slots, slot_begins, faults)
        except torch.OutOfMemoryError as error:
            raise NeveError(
                "log_probs: the batch needs more memory than the device has with these beams; "
                "lower max_active or search_beam, or search fewer or shorter sequences at once"
            ) from error
        more_tokens, more_arcs = ((faults & bit).any() for bit in (1, 2))
        more_tokens, more_arcs = torch.stack((more_tokens, more_arcs)).tolist()
        if not more_tokens and not more_arcs:
            return found
        tokens, arcs = tokens << more_tokens, arcs << more_arcs
        if max(tokens, arcs) > MOST:
            raise NeveError(
                "log_probs: too long for these beams; cut the recording into segments, or lower "
                "search_beam or max_active"
            )


def _room(log_probs: Tensor, count: int, *dtypes: torch.dtype) -> list[Tensor]:
    """Arrays of `count` for each sequence."""
    return [log_probs.new_empty((len(log_probs), count), dtype=dtype) for dtype in dtypes]


def _ragged(counts: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """(sequence, place in an array (N, room)) of the first counts[n] items of each sequence n.

    Waits for the device, for the size depends on counts (N,) int64.
    """
    total = int(counts.sum())
    device = counts.device
    sequence = torch.repeat_interleave(
        torch.arange(len(counts), device=device), counts, output_size=total
    )
    begins = counts.cumsum(0) - counts
    return sequence, torch.arange(total, device=device) + (sequence * room - begins[sequence])


INT, FLOAT = torch.int32, torch.float32


def one_best(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    search_beam: float,
    min_active: int,
    max_active: int,
    allow_partial: bool,
) -> Paths:
    """The best path of each sequence; log_probs (N, T, C) float32, lengths (N,) int64.

    See neve.kernels.best_path.one_best. Raises NeveError if the device lacks the memory.
    """
    log_probs = log_probs.contiguous()
    batch, most_frames, classes = log_probs.shape
    path = torch.zeros((batch, most_frames + 1), dtype=INT, device=log_probs.device)
    counts = torch.zeros_like(lengths)
    scores = log_probs.new_empty(batch)

    def search(tokens, arcs, slots, slot_begins, faults):
        start(
            _kernels.one_best, batch, *graphs, log_probs, lengths, slots, slot_begins,
            *_room(log_probs, tokens, INT, FLOAT, INT, torch.int64, INT, INT),
            *_room(log_probs, arcs, INT, INT, INT, FLOAT),
            path, counts, scores, faults, float(search_beam), min_active, max_active, most_frames,
            classes, tokens, arcs, allow_partial=allow_partial, lanes=LANES,
            num_warps=warps(LANES, 64),
        )  # fmt: skip

    _searched(search, graphs, log_probs)
    if allow_partial and batch and len(graphs.labels):
        last = path.gather(1, (counts - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        cut_short = (counts > 0) & (graphs.labels[last.long()] != -1)
        counts = counts - cut_short.long()
    sequence, at = _ragged(counts, most_frames + 1)
    arcs = path.flatten()[at]
    frames = at - sequence * (most_frames + 1)
    labels = graphs.labels[arcs.long()].long()
    spoken = (labels >= 0) & (frames < most_frames)
    where = (sequence * most_frames + frames.clamp(max=most_frames - 1)) * classes + labels
    acoustic = log_probs.flatten()[where.clamp(min=0) * spoken] if log_probs.numel() else 0.0
    arc_scores = graphs.scores[arcs.long()] + torch.where(spoken, acoustic, 0.0)
    return Paths(counts, scores, arcs, arc_scores)


def lattice(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    search_beam: float,
    output_beam: float,
    min_active: int,
    max_active: int,
    allow_partial: bool,
    exact: bool,
) -> Lattices:
    """The pruned lattice of each sequence; see neve.kernels.search.lattice_search.

    `exact` prunes as "exact" there does, otherwise as "k2". Raises NeveError if the device lacks
    the memory.
    """
    log_probs = log_probs.contiguous()
    batch, most_frames, classes = log_probs.shape
    first = torch.zeros((batch, most_frames + 3), dtype=INT, device=log_probs.device)
    arc_first = torch.zeros((batch, most_frames + 2), dtype=INT, device=log_probs.device)

    def search(tokens, arcs, slots, slot_begins, faults):
        room = _room(log_probs, arcs, INT, INT, INT, FLOAT, INT)
        start(
            _kernels.lattice, batch, *graphs, log_probs, lengths, slots, slot_begins,
            *_room(log_probs, tokens, INT, FLOAT, INT, FLOAT), *room, first, arc_first, faults,
            float(search_beam), float(output_beam), min_active, max_active, most_frames, classes,
            tokens, arcs, allow_partial=allow_partial, exact=exact, lanes=LANES,
            num_warps=warps(LANES, 64),
        )  # fmt: skip
        return room

    src, dst, arc_id, scores, _ = _searched(search, graphs, log_probs)
    ends = first.gather(1, torch.stack((lengths + 1, lengths + 2), 1)).long()
    num_arcs = arc_first.gather(1, lengths.unsqueeze(1) + 1).squeeze(1).long()
    ended = ends[:, 1] > ends[:, 0]
    if exact:
        num_states, num_arcs = ends[:, 1] * ended, num_arcs * ended
    else:
        num_states = ends[:, 1] + (~ended & (graphs.counts > 1)).long()
    sequence, at = _ragged(num_arcs, src.shape[1])
    src, dst, arc_id, scores = (x.flatten()[at] for x in (src, dst, arc_id, scores))
    # the frame of an arc: how many frames of its sequence begin at it or before, but for the first
    begins = (num_arcs.cumsum(0) - num_arcs).unsqueeze(1)
    borders = torch.minimum(arc_first[:, 1:].cummax(1).values, num_arcs.unsqueeze(1)) + begins
    places = torch.arange(len(src), device=src.device)
    frames = torch.searchsorted(borders.flatten(), places, right=True)
    frames = (frames - sequence * borders.shape[1]).to(INT)
    labels = graphs.labels[arc_id.long()]
    partial = (frames == lengths[sequence]) & (labels != -1)
    labels, arc_id = labels.masked_fill(partial, -1), arc_id.masked_fill(partial, -1)
    splits = torch.stack((num_states, num_arcs)).cumsum(1).cpu()
    splits = torch.nn.functional.pad(splits, (1, 0))
    return Lattices(splits[0], splits[1], src, dst, labels, scores, arc_id, frames)
