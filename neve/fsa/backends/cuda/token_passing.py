"""Token passing over a graph inside one kernel, a program a sequence, no frame seen by the host.

It is neve.kernels.token_passing step by step, with the lanes of a program over tokens or arcs:
tokens come out in the same order, so that results are the same, ties included. Each sequence has

tokens, of all frames one after another: tok_state and tok_forward (score), tok_offset (where the
    arcs of a token begin among those of its frame); tokens of frame t from first[t] on
arcs: arc_src (token), arc_dst (graph state, later token), arc_id (graph arc), arc_score; of the
    frame only, or of the lattice so far
slot: for each graph state NONE, or a number while a frame is computed

Phases of a frame end with a barrier; what they write is read after it.
"""

from __future__ import annotations

from neve.fsa.backends.cuda.launch import tl, triton

NONE = tl.constexpr(0x7FFFFFFF)
NO_BEAM = tl.constexpr(1e10)
TOO_FEW_TOKENS = tl.constexpr(1)
TOO_FEW_ARCS = tl.constexpr(2)


@triton.jit
def next_beam(beam, search_beam, active, frame, num_frames, min_active, max_active):
    """The beam for the arcs that leave `frame`; see neve.kernels.token_passing."""
    near_end = frame + 5 >= num_frames
    least = tl.where(near_end, tl.maximum(min_active, max_active // 2), min_active)
    crowded = tl.where(near_end, beam, 0.8 * tl.minimum(beam, search_beam))
    normal = 0.8 * beam + 0.2 * search_beam
    sparse = 1.25 * tl.maximum(beam, search_beam)
    calm = tl.where((active >= least) | (active == 0), normal, sparse)
    found = tl.where(active > max_active, crowded, calm)
    return tl.where(frame == num_frames - 1, NO_BEAM, found)


@triton.jit
def offsets_of_arcs(rows, tok_state, tok_offset, begin, end, lanes: tl.constexpr):
    """Fills tok_offset of the tokens begin..end; returns the number of their arcs."""
    lane = tl.arange(0, lanes)
    total = tl.zeros([], tl.int32)
    for k0 in range(begin, end, lanes):
        k = k0 + lane
        state = tl.load(tok_state + k, mask=k < end, other=0)
        after = tl.load(rows + state + 1, mask=k < end, other=0)
        degree = (after - tl.load(rows + state, mask=k < end, other=0)).to(tl.int32)
        tl.store(tok_offset + k, total + tl.cumsum(degree, 0) - degree, mask=k < end)
        total += tl.sum(degree, 0)
    tl.debug_barrier()
    return total


@triton.jit
def score_arcs(
    rows, dst, labels, scores, frame_scores, last, partial, final, tok_state, tok_forward,
    tok_offset, begin, end, num_arcs, arc_src, arc_dst, arc_id, arc_score, base,
    lanes: tl.constexpr,
):  # fmt: skip
    """Lists the arcs that have a score in this frame, from `base` on.

    Returns (how many there are, the best token's score after one, whether any is labelled -1).
    With `last` only arcs labelled -1 have a score, with `partial` all, without the frame's, and
    they lead to the final state.
    """
    lane = tl.arange(0, lanes)
    spoken_from = tl.where(last, NONE, 0)  # labels that take the frame's score
    silent_below = tl.where(partial, NONE, tl.where(last, 0, -NONE))  # labels that need none
    least_state = tl.where(partial, final, 0)
    count = tl.zeros([], tl.int32)
    best = tl.full([], -float("inf"), tl.float32)
    can_end = tl.zeros([], tl.int32)
    for p0 in range(0, num_arcs, lanes):
        p = p0 + lane
        there = p < num_arcs
        low = begin + lane * 0
        high = end + lane * 0
        span = end - begin
        while span > 1:  # the last token whose arcs begin at p or before
            middle = (low + high) // 2
            right = tl.load(tok_offset + middle, mask=there, other=0) <= p
            low = tl.where(right, middle, low)
            high = tl.where(right, high, middle)
            span = (span + 1) // 2
        state = tl.load(tok_state + low, mask=there, other=0)
        forward = tl.load(tok_forward + low, mask=there, other=0.0)
        offset = tl.load(tok_offset + low, mask=there, other=0)
        arc = (tl.load(rows + state, mask=there, other=0) + p - offset).to(tl.int32)
        label = tl.load(labels + arc, mask=there, other=0)
        score = tl.load(scores + arc, mask=there, other=-float("inf"))
        spoken = there & (label >= spoken_from)
        spoken_score = score + tl.load(frame_scores + label, mask=spoken, other=0.0)
        score = tl.where(spoken, spoken_score,
                         tl.where(label < silent_below, score, -float("inf")))  # fmt: skip
        keep = there & (score > -float("inf"))
        at = base + count + tl.cumsum(keep.to(tl.int32), 0) - 1
        tl.store(arc_src + at, low, mask=keep)
        to = tl.maximum(tl.load(dst + arc, mask=keep, other=0), least_state)
        tl.store(arc_dst + at, to, mask=keep)
        tl.store(arc_id + at, arc, mask=keep)
        tl.store(arc_score + at, score, mask=keep)
        count += tl.sum(keep.to(tl.int32), 0)
        best = tl.maximum(best, tl.max(tl.where(keep, forward + score, -float("inf")), 0))
        can_end = tl.maximum(can_end, tl.max((there & (label < 0)).to(tl.int32), 0))
    tl.debug_barrier()
    return count, best, can_end


@triton.jit
def pack(score, number):
    """An int64 that is larger for larger scores and, of equal ones, for larger numbers."""
    bits = (score + 0.0).to(tl.int32, bitcast=True)  # + 0.0: there is no -0.0 then
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | number.to(tl.int64)


@triton.jit
def claim_states(
    arc_src, arc_dst, arc_score, base, count, cut, slot, tok_state, tok_forward, tok_best, next_tok,
    most_tokens, packed: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Makes a token of each state that an arc reaches above `cut`; returns how many.

    They are numbered from next_tok on in the order of the first arc that reaches each, and hold
    what that arc brings. slot of each state is its token afterwards. Those beyond most_tokens are
    counted, but not made.
    """
    lane = tl.arange(0, lanes)
    for i0 in range(0, count, lanes):
        i = i0 + lane
        there = i < count
        src = tl.load(arc_src + base + i, mask=there, other=0)
        score = tl.load(arc_score + base + i, mask=there, other=-float("inf"))
        reaches = there & (tl.load(tok_forward + src, mask=there, other=0.0) + score > cut)
        state = tl.load(arc_dst + base + i, mask=there, other=0)
        tl.atomic_min(slot + state, i, mask=reaches, sem="relaxed")
    tl.debug_barrier()
    made = tl.zeros([], tl.int32)
    for i0 in range(0, count, lanes):
        i = i0 + lane
        there = i < count
        src = tl.load(arc_src + base + i, mask=there, other=0)
        score = tl.load(arc_score + base + i, mask=there, other=-float("inf"))
        state = tl.load(arc_dst + base + i, mask=there, other=0)
        token_score = tl.load(tok_forward + src, mask=there, other=0.0) + score
        first = there & (tl.load(slot + state, mask=there, other=NONE) == i)
        token = next_tok + made + tl.cumsum(first.to(tl.int32), 0) - 1
        made += tl.sum(first.to(tl.int32), 0)
        room = first & (token < most_tokens)
        tl.store(tok_state + token, state, mask=room)
        if packed:
            tl.store(tok_best + token, pack(token_score, i), mask=room)
        else:
            tl.store(tok_forward + token, token_score, mask=room)
        # a state whose token there is no room for is as though it had not been reached
        tl.store(slot + state, i * 0 + NONE, mask=first & (token >= most_tokens))
    tl.debug_barrier()
    set_slots(slot, tok_state, next_tok, tl.minimum(next_tok + made, most_tokens), 1, lanes)
    return made


@triton.jit
def set_slots(slot, tok_state, begin, end, to_tokens: tl.constexpr, lanes: tl.constexpr):
    """slot of the states of the tokens begin..end becomes their number, or NONE."""
    lane = tl.arange(0, lanes)
    for k0 in range(begin, end, lanes):
        k = k0 + lane
        state = tl.load(tok_state + k, mask=k < end, other=0)
        if to_tokens:
            tl.store(slot + state, k, mask=k < end)
        else:
            tl.store(slot + state, k * 0 + NONE, mask=k < end)
    tl.debug_barrier()


@triton.jit
def best_arc_of_each(
    arc_src, arc_dst, arc_id, arc_score, count, slot, tok_forward, tok_best, begin, end, back_token,
    back_arc, lanes: tl.constexpr,
):  # fmt: skip
    """Gives the tokens begin..end the score of their best arc and a pointer back through it."""
    lane = tl.arange(0, lanes)
    for i0 in range(0, count, lanes):
        i = i0 + lane
        there = i < count
        src = tl.load(arc_src + i, mask=there, other=0)
        score = tl.load(arc_score + i, mask=there, other=0.0)
        score += tl.load(tok_forward + src, mask=there, other=0.0)
        state = tl.load(arc_dst + i, mask=there, other=0)
        token = tl.load(slot + state, mask=there, other=NONE)
        reached = there & (token != NONE)
        tl.atomic_max(tok_best + token, pack(score, i), mask=reached, sem="relaxed")
    tl.debug_barrier()
    for k0 in range(begin, end, lanes):
        k = k0 + lane
        i = (tl.load(tok_best + k, mask=k < end, other=0) & 0xFFFFFFFF).to(tl.int32)
        src = tl.load(arc_src + i, mask=k < end, other=0)
        score = tl.load(arc_score + i, mask=k < end, other=0.0)
        score += tl.load(tok_forward + src, mask=k < end, other=0.0)
        tl.store(back_token + k, src, mask=k < end)
        tl.store(back_arc + k, tl.load(arc_id + i, mask=k < end, other=0), mask=k < end)
        tl.store(tok_forward + k, score, mask=k < end)
    tl.debug_barrier()


@triton.jit
def arcs_between_tokens(
    arc_src, arc_dst, arc_id, arc_score, base, count, slot, tok_forward, lanes: tl.constexpr
):
    """Keeps the arcs, from `base` on, into states that have a token; returns how many.

    Their arc_dst becomes the token, whose score the best of them.
    """
    lane = tl.arange(0, lanes)
    kept = tl.zeros([], tl.int32)
    for i0 in range(0, count, lanes):
        i = i0 + lane
        there = i < count
        src = tl.load(arc_src + base + i, mask=there, other=0)
        state = tl.load(arc_dst + base + i, mask=there, other=0)
        arc = tl.load(arc_id + base + i, mask=there, other=0)
        score = tl.load(arc_score + base + i, mask=there, other=0.0)
        token = tl.load(slot + state, mask=there, other=NONE)
        keep = there & (token != NONE)
        forward = tl.load(tok_forward + src, mask=there, other=0.0)
        tl.atomic_max(tok_forward + token, forward + score, mask=keep, sem="relaxed")
        at = base + kept + tl.cumsum(keep.to(tl.int32), 0) - 1
        kept += tl.sum(keep.to(tl.int32), 0)
        tl.debug_barrier()  # all of the block is read before it is written over
        tl.store(arc_src + at, src, mask=keep)
        tl.store(arc_dst + at, token, mask=keep)
        tl.store(arc_id + at, arc, mask=keep)
        tl.store(arc_score + at, score, mask=keep)
    tl.debug_barrier()
    return kept
