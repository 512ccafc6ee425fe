"""The kernels of `dense`: best paths, and lattices with their backward pruning.

A program a sequence does all frames; see `token_passing` for the arrays and neve.kernels.search for
what is computed.
"""

from __future__ import annotations

from neve.fsa.backends.cuda.launch import tl, triton
from neve.fsa.backends.cuda.token_passing import (
    TOO_FEW_ARCS,
    TOO_FEW_TOKENS,
    arcs_between_tokens,
    best_arc_of_each,
    claim_states,
    next_beam,
    offsets_of_arcs,
    score_arcs,
    set_slots,
)

# Backward pruning runs over windows of this many frames, each STEP frames after the one before.
WINDOW = tl.constexpr(30)
STEP = tl.constexpr(20)

SIZES = ["min_active", "max_active", "max_frames", "classes", "most_tokens", "most_arcs"]


@triton.jit
def _list_arcs(
    rows, dst, labels, scores, frame_scores, t, num_frames, final, tok_state, tok_forward,
    tok_offset, begin, end, arc_src, arc_dst, arc_id, arc_score, base, most_arcs,
    allow_partial: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """(arcs that have a score in frame t, best token's score after one, fault)."""
    last = t == num_frames - 1
    num_arcs = offsets_of_arcs(rows, tok_state, tok_offset, begin, end, lanes)
    fault = tl.where(base + num_arcs > most_arcs, TOO_FEW_ARCS, 0)
    num_arcs = tl.where(fault == 0, num_arcs, 0)
    count, best, can_end = score_arcs(
        rows, dst, labels, scores, frame_scores, last, False, final, tok_state, tok_forward,
        tok_offset, begin, end, num_arcs, arc_src, arc_dst, arc_id, arc_score, base, lanes,
    )  # fmt: skip
    if allow_partial:
        if last & (can_end == 0):
            count, best, can_end = score_arcs(
                rows, dst, labels, scores, frame_scores, last, True, final, tok_state, tok_forward,
                tok_offset, begin, end, num_arcs, arc_src, arc_dst, arc_id, arc_score, base, lanes,
            )  # fmt: skip
    return count, best, fault


@triton.jit(do_not_specialize=SIZES)
def one_best(
    rows, dst, labels, scores, state_begins, state_counts, log_probs, lengths, slots, slot_begins,
    tok_state, tok_forward, tok_offset, tok_best, back_token, back_arc,
    arc_src, arc_dst, arc_id, arc_score, path, path_lengths, path_scores, faults,
    search_beam, min_active, max_active, max_frames, classes, most_tokens, most_arcs,
    allow_partial: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Writes the arcs of each best path, how many there are, and its score."""
    n = tl.program_id(0).to(tl.int64)
    rows += tl.load(state_begins + n)
    final = tl.load(state_counts + n).to(tl.int32) - 1
    num_frames = tl.load(lengths + n).to(tl.int32) + 1
    log_probs += n * max_frames * classes
    slot = slots + tl.load(slot_begins + n)
    tok_state += n * most_tokens
    tok_forward += n * most_tokens
    tok_offset += n * most_tokens
    tok_best += n * most_tokens
    back_token += n * most_tokens
    back_arc += n * most_tokens
    arc_src += n * most_arcs
    arc_dst += n * most_arcs
    arc_id += n * most_arcs
    arc_score += n * most_arcs
    path += n * (max_frames + 1)

    tl.store(tok_state, 0)
    tl.store(tok_forward, 0.0)
    tl.debug_barrier()
    begin = tl.zeros([], tl.int32)
    end = tl.where(final > 0, 1, 0).to(tl.int32)  # nothing can be found in a graph of one state
    beam = tl.full([], search_beam, tl.float32)
    fault = tl.zeros([], tl.int32)
    for t in range(0, num_frames):
        beam = next_beam(beam, search_beam, end - begin, t, num_frames, min_active, max_active)
        count, best, new_fault = _list_arcs(
            rows, dst, labels, scores, log_probs + t * classes, t, num_frames, final, tok_state,
            tok_forward, tok_offset, begin, end, arc_src, arc_dst, arc_id, arc_score, 0, most_arcs,
            allow_partial, lanes,
        )  # fmt: skip
        made = claim_states(
            arc_src, arc_dst, arc_score, 0, count, best - beam, slot, tok_state, tok_forward,
            tok_best, end, most_tokens, True, lanes,
        )  # fmt: skip
        fault = fault | new_fault | tl.where(end + made > most_tokens, TOO_FEW_TOKENS, 0)
        begin, end = end, tl.minimum(end + made, most_tokens)
        best_arc_of_each(
            arc_src, arc_dst, arc_id, arc_score, count, slot, tok_forward, tok_best, begin, end,
            back_token, back_arc, lanes,
        )  # fmt: skip
        set_slots(slot, tok_state, begin, end, False, lanes)
        end = tl.where(fault == 0, end, begin)  # in vain: the search will be done again
    tl.store(faults + n, fault)
    tl.store(path_lengths + n, tl.where(end > begin, num_frames, 0))
    token = begin
    tl.store(path_scores + n, tl.load(tok_forward + token, mask=end > begin, other=-float("inf")))
    for back in range(0, tl.where(end > begin, num_frames, 0)):
        tl.store(path + num_frames - 1 - back, tl.load(back_arc + token))
        token = tl.load(back_token + token)


@triton.jit
def _prune(
    first, arc_first, begin, end, tok_state, tok_forward, tok_backward, tok_number,
    arc_src, arc_dst, arc_id, arc_score, arc_mark, beam, lanes: tl.constexpr,
):  # fmt: skip
    """Backward pruning of the frames begin..end-1, in place; returns (tokens, arcs) left in all.

    See neve.kernels.search._prune_tail. `end` must be the last frame there is.
    """
    lane = tl.arange(0, lanes)
    low = tl.load(first + begin)
    opened = tl.load(first + begin + 1)  # tokens of frame `begin` end here
    closing = tl.load(first + end)  # those of frame `end` begin here
    high = tl.load(first + end + 1)
    for k0 in range(low, high, lanes):
        k = k0 + lane
        forward = tl.load(tok_forward + k, mask=k < high, other=0.0)
        score = tl.where(k >= closing, 0.0 - forward, -float("inf"))  # no -0.0: atomic_max errs
        tl.store(tok_backward + k, score, mask=k < high)
    tl.debug_barrier()
    for back in range(0, end - begin):
        t = end - 1 - back
        stop = tl.load(arc_first + t + 1)
        for e0 in range(tl.load(arc_first + t), stop, lanes):
            e = e0 + lane
            src = tl.load(arc_src + e, mask=e < stop, other=0)
            to = tl.load(arc_dst + e, mask=e < stop, other=0)
            score = tl.load(arc_score + e, mask=e < stop, other=-float("inf"))
            score += tl.load(tok_backward + to, mask=e < stop, other=-float("inf"))
            forward = tl.load(tok_forward + src, mask=e < stop, other=0.0)
            keep = (e < stop) & (score + forward >= -beam)
            tl.atomic_max(tok_backward + src, score, mask=keep, sem="relaxed")
            tl.store(arc_mark + e, keep.to(tl.int32), mask=e < stop)
        tl.debug_barrier()

    tokens = low
    for k0 in range(low, high, lanes):
        k = k0 + lane
        backward = tl.load(tok_backward + k, mask=k < high, other=-float("inf"))
        stays = (k < opened) | (k >= closing) | (backward > -float("inf"))
        stays = stays & (k < high)
        state = tl.load(tok_state + k, mask=k < high, other=0)
        forward = tl.load(tok_forward + k, mask=k < high, other=0.0)
        number = tokens + tl.cumsum(stays.to(tl.int32), 0) - stays.to(tl.int32)
        tokens += tl.sum(stays.to(tl.int32), 0)
        tl.debug_barrier()  # all of the block is read before it is written over
        tl.store(tok_number + k, number, mask=k < high)
        tl.store(tok_state + number, state, mask=stays)
        tl.store(tok_forward + number, forward, mask=stays)
    tl.debug_barrier()

    arcs = tl.load(arc_first + begin)
    stop = tl.load(arc_first + end)
    for e0 in range(arcs, stop, lanes):
        e = e0 + lane
        keep = tl.load(arc_mark + e, mask=e < stop, other=0)
        src = tl.load(arc_src + e, mask=e < stop, other=0)
        to = tl.load(arc_dst + e, mask=e < stop, other=0)
        src = tl.load(tok_number + src, mask=e < stop, other=0)
        to = tl.load(tok_number + to, mask=e < stop, other=0)
        arc = tl.load(arc_id + e, mask=e < stop, other=0)
        score = tl.load(arc_score + e, mask=e < stop, other=0.0)
        at = arcs + tl.cumsum(keep, 0) - keep
        arcs += tl.sum(keep, 0)
        tl.debug_barrier()
        tl.store(arc_mark + e, at, mask=e < stop)
        tl.store(arc_src + at, src, mask=keep > 0)
        tl.store(arc_dst + at, to, mask=keep > 0)
        tl.store(arc_id + at, arc, mask=keep > 0)
        tl.store(arc_score + at, score, mask=keep > 0)
    tl.debug_barrier()

    for t0 in range(begin, end + 2, lanes):
        t = t0 + lane
        token = tl.load(first + t, mask=t < end + 2, other=0)
        token = tl.load(tok_number + token, mask=(t < end + 2) & (token < high), other=tokens)
        tl.store(first + t, token, mask=t < end + 2)
        arc = tl.load(arc_first + t, mask=t < end + 1, other=0)
        arc = tl.load(arc_mark + arc, mask=(t < end + 1) & (arc < stop), other=arcs)
        tl.store(arc_first + t, arc, mask=t < end + 1)
    tl.debug_barrier()
    return tokens, arcs


@triton.jit(do_not_specialize=SIZES)
def lattice(
    rows, dst, labels, scores, state_begins, state_counts, log_probs, lengths, slots, slot_begins,
    tok_state, tok_forward, tok_offset, tok_backward,
    arc_src, arc_dst, arc_id, arc_score, arc_mark, first, arc_first, faults,
    search_beam, output_beam, min_active, max_active, max_frames, classes, most_tokens, most_arcs,
    allow_partial: tl.constexpr, exact: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Writes the tokens and arcs of each pruned lattice, and where those of each frame begin."""
    n = tl.program_id(0).to(tl.int64)
    rows += tl.load(state_begins + n)
    final = tl.load(state_counts + n).to(tl.int32) - 1
    num_frames = tl.load(lengths + n).to(tl.int32) + 1
    log_probs += n * max_frames * classes
    slot = slots + tl.load(slot_begins + n)
    tok_state += n * most_tokens
    tok_forward += n * most_tokens
    tok_offset += n * most_tokens
    tok_backward += n * most_tokens
    arc_src += n * most_arcs
    arc_dst += n * most_arcs
    arc_id += n * most_arcs
    arc_score += n * most_arcs
    arc_mark += n * most_arcs
    first += n * (max_frames + 3)
    arc_first += n * (max_frames + 2)

    begin = tl.zeros([], tl.int32)
    end = tl.where(final > 0, 1, 0).to(tl.int32)
    num_arcs = tl.zeros([], tl.int32)
    tl.store(tok_state, 0)
    tl.store(tok_forward, 0.0)
    tl.store(first, 0)
    tl.store(first + 1, end)
    tl.store(arc_first, 0)
    tl.debug_barrier()
    beam = tl.full([], search_beam, tl.float32)
    fault = tl.zeros([], tl.int32)
    window = tl.full([], STEP - WINDOW, tl.int32)
    for t in range(0, num_frames):
        beam = next_beam(beam, search_beam, end - begin, t, num_frames, min_active, max_active)
        count, best, new_fault = _list_arcs(
            rows, dst, labels, scores, log_probs + t * classes, t, num_frames, final, tok_state,
            tok_forward, tok_offset, begin, end, arc_src, arc_dst, arc_id, arc_score, num_arcs,
            most_arcs, allow_partial, lanes,
        )  # fmt: skip
        made = claim_states(
            arc_src, arc_dst, arc_score, num_arcs, count, best - beam, slot, tok_state,
            tok_forward, tok_forward, end, most_tokens, False, lanes,
        )  # fmt: skip
        fault = fault | new_fault | tl.where(end + made > most_tokens, TOO_FEW_TOKENS, 0)
        begin, end = end, tl.minimum(end + made, most_tokens)
        kept = arcs_between_tokens(
            arc_src, arc_dst, arc_id, arc_score, num_arcs, count, slot, tok_forward, lanes
        )
        set_slots(slot, tok_state, begin, end, False, lanes)
        # in vain: the search will be done again. Arcs lead to tokens that there are, always
        end = tl.where(fault == 0, end, begin)
        num_arcs += tl.where(fault == 0, kept, 0)
        tl.store(first + t + 2, end)
        tl.store(arc_first + t + 1, num_arcs)
        tl.debug_barrier()
        if (t == num_frames - 1) | (t + 1 == window + WINDOW):
            # tok_offset is free between frames: it holds the tokens' new numbers
            end, num_arcs = _prune(
                first, arc_first, tl.maximum(window, 0), t + 1, tok_state, tok_forward,
                tok_backward, tok_offset, arc_src, arc_dst, arc_id, arc_score, arc_mark,
                output_beam, lanes,
            )  # fmt: skip
            begin = tl.load(first + t + 1)
            window += STEP
    if exact:
        _prune(
            first, arc_first, 0, num_frames, tok_state, tok_forward, tok_backward, tok_offset,
            arc_src, arc_dst, arc_id, arc_score, arc_mark, output_beam, lanes,
        )  # fmt: skip
    tl.store(faults + n, fault)
