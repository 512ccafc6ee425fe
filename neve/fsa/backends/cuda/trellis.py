"""All states of graphs through all frames, and what of that is near the best path.

It is neve.kernels.dense_trellis: scores forwards and backwards (a program a graph, lanes over its
arcs), then which states and arcs to keep (a program a graph and frame), counted first and written
when the host has made room. Maxima do not depend on the order of atomics, results are the same from
run to run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.backends.cuda.launch import start, tl, triton, warps
from neve.fsa.backends.structures import Graphs, Lattices

LANES = 256


@triton.jit
def _graph(graph, rows, begins, counts, offsets, lengths, segments):
    """(first state, states, first arc, end of arcs, place in the trellis, segment, its frames)."""
    begin = tl.load(begins + graph)
    count = tl.load(counts + graph)
    segment = tl.load(segments + graph)
    first, end = tl.load(rows + begin), tl.load(rows + begin + count)
    return begin, count, first, end, tl.load(offsets + graph), segment, tl.load(lengths + segment)


@triton.jit
def _arcs(e, end, sources, dst, labels, scores, begin, frame_scores, at_end):
    """(source, destination, score in the frame) of arcs e; -inf for those that have none."""
    there = e < end
    label = tl.load(labels + e, mask=there, other=-1)
    score = tl.load(scores + e, mask=there, other=-float("inf"))
    spoken = there & (label >= tl.where(at_end, 0x7FFFFFFF, 0))
    with_frame = score + tl.load(frame_scores + label, mask=spoken, other=0.0)
    silent = label < tl.where(at_end, 0, -0x7FFFFFFF)
    score = tl.where(spoken, with_frame, tl.where(silent, score, -float("inf")))
    source = tl.load(sources + e, mask=there, other=0) - begin
    return source, tl.load(dst + e, mask=there, other=0), score


@triton.jit(do_not_specialize=["max_frames", "classes"])
def _best_scores(
    rows, dst, labels, scores, begins, counts, sources, offsets, log_probs, lengths, segments,
    forward, backward, max_frames, classes, lanes: tl.constexpr,
):  # fmt: skip
    """Fills forward and backward (frames + 2, states) of a graph, -inf everywhere before."""
    graph = tl.program_id(0).to(tl.int64)
    begin, count, first, end, offset, segment, length = _graph(
        graph, rows, begins, counts, offsets, lengths, segments
    )
    log_probs += segment * max_frames * classes
    forward += offset
    backward += offset
    lane = tl.arange(0, lanes)
    if count > 1:
        tl.store(forward, 0.0)
        tl.store(backward + (length + 2) * count - 1, 0.0)
    tl.debug_barrier()
    for t in range(0, length + 1):
        for e0 in range(first, end, lanes):
            source, to, score = _arcs(
                e0 + lane, end, sources, dst, labels, scores, begin, log_probs + t * classes,
                t == length,
            )  # fmt: skip
            alive = score > -float("inf")
            score += tl.load(forward + t * count + source, mask=alive, other=-float("inf"))
            alive = alive & (score > -float("inf"))
            tl.atomic_max(forward + (t + 1) * count + to, score, mask=alive, sem="relaxed")
        tl.debug_barrier()
    for back in range(0, length + 1):
        t = length - back
        for e0 in range(first, end, lanes):
            source, to, score = _arcs(
                e0 + lane, end, sources, dst, labels, scores, begin, log_probs + t * classes,
                t == length,
            )  # fmt: skip
            alive = score > -float("inf")
            score += tl.load(backward + (t + 1) * count + to, mask=alive, other=-float("inf"))
            alive = alive & (score > -float("inf"))
            tl.atomic_max(backward + t * count + source, score, mask=alive, sem="relaxed")
        tl.debug_barrier()


@triton.jit(do_not_specialize=["max_frames", "classes"])
def _keep(
    rows, dst, labels, scores, begins, counts, sources, offsets, log_probs, lengths, segments,
    forward, backward, number, states_kept, arcs_kept, state_firsts, arc_firsts,
    out_src, out_dst, out_arc, out_score, out_frame, beam, max_frames, classes,
    write: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Counts states and arcs of a frame that are near the best path; or writes the arcs.

    number of each state kept is its number in its frame.
    """
    graph = tl.program_id(0).to(tl.int64) // (max_frames + 2)
    t = tl.program_id(0).to(tl.int64) % (max_frames + 2)
    begin, count, first, end, offset, segment, length = _graph(
        graph, rows, begins, counts, offsets, lengths, segments
    )
    last_state = forward + offset + (length + 2) * count - 1
    total = tl.load(last_state, mask=count > 1, other=-float("inf"))
    total = tl.minimum(total, tl.load(backward + offset, mask=count > 1, other=-float("inf")))
    cut = total - beam
    lane = tl.arange(0, lanes)
    here = offset + t * count
    there = here + count
    kept = tl.zeros([], tl.int32)
    if not write:
        for s0 in range(0, tl.where((t < length + 2) & (count > 1), count, 0), lanes):
            s = s0 + lane
            score = tl.load(forward + here + s, mask=s < count, other=-float("inf"))
            score += tl.load(backward + here + s, mask=s < count, other=-float("inf"))
            keep = score > cut
            tl.store(number + here + s, kept + tl.cumsum(keep.to(tl.int32), 0) - 1, mask=s < count)
            kept += tl.sum(keep.to(tl.int32), 0)
        tl.store(states_kept + tl.program_id(0), kept)
    else:
        source_first = tl.load(state_firsts + tl.program_id(0)).to(tl.int32)
        to_first = tl.load(state_firsts + tl.program_id(0) + 1, mask=t <= length, other=0)
        to_first = to_first.to(tl.int32)
        out = tl.load(arc_firsts + tl.program_id(0))
    kept = tl.zeros([], tl.int32)
    for e0 in range(first, tl.where((t < length + 1) & (count > 1), end, first), lanes):
        e = e0 + lane
        source, to, score = _arcs(
            e, end, sources, dst, labels, scores, begin, log_probs + (segment * max_frames + t)
            * classes, t == length,
        )  # fmt: skip
        alive = score > -float("inf")
        before = tl.load(forward + here + source, mask=alive, other=-float("inf"))
        after = tl.load(backward + there + to, mask=alive, other=-float("inf"))
        keep = alive & (before + score + after > cut)
        of_source = tl.load(backward + here + source, mask=keep, other=-float("inf"))
        keep = keep & (before + of_source > cut)
        of_to = tl.load(forward + there + to, mask=keep, other=-float("inf"))
        keep = keep & (of_to + after > cut)
        if write:
            at = out + kept + tl.cumsum(keep.to(tl.int32), 0) - 1
            source = source_first + tl.load(number + here + source, mask=keep, other=0)
            to = to_first + tl.load(number + there + to, mask=keep, other=0)
            tl.store(out_src + at, source, mask=keep)
            tl.store(out_dst + at, to, mask=keep)
            tl.store(out_arc + at, e.to(tl.int32), mask=keep)
            tl.store(out_score + at, score, mask=keep)
            tl.store(out_frame + at, (t + lane * 0).to(tl.int32), mask=keep)
        kept += tl.sum(keep.to(tl.int32), 0)
    if not write:
        tl.store(arcs_kept + tl.program_id(0), kept)


class _Trellis(NamedTuple):
    """Arguments that the kernels share, and the scores they have found."""

    shared: tuple
    forward: Tensor
    backward: Tensor
    sizes: tuple[int, int]
    programs: int


def _scored(graphs: Graphs, log_probs: Tensor, lengths: Tensor, segments: Tensor) -> _Trellis:
    log_probs = log_probs.contiguous()
    rows = graphs.rows
    states = torch.arange(len(rows) - 1, device=rows.device)
    sources = torch.repeat_interleave(states, torch.diff(rows), output_size=len(graphs.dst))
    sizes = (lengths[segments] + 2) * graphs.counts
    offsets = sizes.cumsum(0) - sizes
    shared = (*graphs, sources, offsets, log_probs, lengths, segments)
    size = int(sizes.sum())
    forward, backward = (log_probs.new_full((size + 1,), -torch.inf) for _ in range(2))
    sizes = (log_probs.shape[1], log_probs.shape[2])
    start(
        _best_scores, len(segments), *shared, forward, backward, *sizes, lanes=LANES,
        num_warps=warps(LANES, 64),
    )  # fmt: skip
    return _Trellis(shared, forward, backward, sizes, len(segments) * (sizes[0] + 2))


def lattice_unpruned(
    graphs: Graphs,
    log_probs: Tensor,
    lengths: Tensor,
    segments: Tensor,
    output_beam: float,
    max_states: int,
    max_arcs: int,
) -> Lattices:
    """The lattice of each graph with the row `segments` (graphs,) int64 of log_probs (K, T, C).

    See neve.kernels.dense_trellis.intersect_dense. Waits for the device for each size that depends
    on the scores. Raises NeveError if not even the best paths are within max_states and max_arcs.
    """
    trellis = _scored(graphs, log_probs, lengths, segments)
    device, programs = log_probs.device, trellis.programs
    number = torch.empty(len(trellis.forward), dtype=torch.int32, device=device)
    kept = torch.zeros((2, programs), dtype=torch.int32, device=device)

    def keep(beam, write, firsts, out):
        start(
            _keep, programs, *trellis.shared, trellis.forward, trellis.backward, number, *kept,
            *firsts, *out, float(beam), *trellis.sizes, write=write, lanes=LANES,
            num_warps=warps(LANES, 64),
        )  # fmt: skip

    beam = output_beam
    while True:
        keep(beam, False, kept, [number] * 3 + [trellis.forward, number])
        states, arcs = kept.sum(1).tolist()
        excess = max(states / max_states, arcs / max_arcs)
        if excess <= 1:
            break
        beam *= min(max(math.sqrt(1 / excess), 0.25), 0.75)
        if beam < 1e-6:
            raise NeveError(
                f"max_states, max_arcs: even the best paths have {states} states and {arcs} arcs"
            )
    counts = kept.long().reshape(2, len(segments), -1)
    of_graphs = counts.sum(2)
    state_firsts = counts[0].cumsum(1) - counts[0]
    arc_firsts = counts[1].flatten().cumsum(0) - counts[1].flatten()
    out = [torch.empty(arcs, dtype=torch.int32, device=device) for _ in range(4)]
    src, dst, arc_map, frames = out
    scores = log_probs.new_empty(arcs)
    firsts = (state_firsts.flatten().contiguous(), arc_firsts)
    keep(beam, True, firsts, (src, dst, arc_map, scores, frames))
    splits = torch.nn.functional.pad(of_graphs.cumsum(1).cpu(), (1, 0))
    labels = graphs.labels[arc_map.long()]
    return Lattices(*splits, src, dst, labels, scores, arc_map, frames)
