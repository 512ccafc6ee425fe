"""Operations that give automata another shape; attributes follow the arcs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neve import kernels
from neve.errors import NeveError
from neve.fsa.arguments import same_device, whole_numbers
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.list_maps import from_lists
from neve.fsa.ragged import RaggedTensor
from neve.kernels.graph import check_size
from neve.kernels.structure import useful_states
from neve.kernels.top_sort import top_order


def _each(fsas: Fsa, operation) -> Fsa:
    """operation(one automaton) of an Fsa, or of each automaton of an FsaVec."""
    if isinstance(fsas, FsaVec):
        return FsaVec([operation(fsa) for fsa in fsas]) if len(fsas) else fsas
    return operation(fsas)


def _built(
    fsa: Fsa, num_states: int, src: Tensor, dst: Tensor, labels: Tensor, arc_map: Tensor
) -> Fsa:
    """An automaton whose arcs come from arcs `arc_map` of `fsa`; -1: score 0 and fillers.

    Arcs are put in the order of their sources, those of one state keeping theirs.
    """
    device = fsa.device
    src, dst, labels, arc_map = (x.to(device) for x in (src, dst, labels, arc_map.long()))
    order = torch.argsort(src, stable=True)
    src, dst, labels, arc_map = (x[order] for x in (src, dst, labels, arc_map))
    if len(fsa.scores):
        scores = torch.where(arc_map >= 0, fsa.scores[arc_map.clamp(min=0)], 0.0)
    else:
        scores = fsa.scores.new_zeros(len(arc_map))
    splits = (torch.tensor([0, num_states]), torch.tensor([0, len(src)]))
    return Fsa._make(
        *(x.to(torch.int32) for x in (src, dst, labels)),
        scores,
        *splits,
        fsa.attributes_at(arc_map),
    )


def _one(fsa: Fsa, what: str) -> None:
    if isinstance(fsa, FsaVec):
        raise NeveError(f"{what}: one automaton is needed, not an FsaVec of {len(fsa)}")


def arc_sort(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """The arcs of each state by label, -1 last, then by destination.

    With ret_arc_map also the arc (int32) that each arc of the result was.
    """
    src, dst = fsa.flat_states()
    labels = fsa.labels.cpu().numpy()
    order = torch.from_numpy(kernels.arc_order(src, dst, labels, fsa.num_states))
    index = order.to(fsa.device).long()
    result = fsa.select(fsa.state_splits, fsa.src, fsa.dst[index], fsa.arc_splits, order)
    return (result, order.to(fsa.device)) if ret_arc_map else result


def connect(fsa: Fsa) -> Fsa:
    """Without the states that are on no path from start to end."""
    src, dst = fsa.flat_states()
    keep = useful_states(src, dst, fsa.state_splits.numpy())
    arcs = np.nonzero(keep[src] & keep[dst])[0]
    # how many states and arcs are kept before each
    number = torch.from_numpy(np.concatenate(([0], np.cumsum(keep))))
    state_splits = number[fsa.state_splits]
    arc_splits = torch.from_numpy(np.searchsorted(arcs, fsa.arc_splits.numpy()))
    first = torch.repeat_interleave(state_splits[:-1], torch.diff(arc_splits))
    src, dst = ((number[x[arcs]] - first).to(torch.int32) for x in (src, dst))
    return fsa.select(state_splits, src, dst, arc_splits, torch.from_numpy(arcs))


def top_sort(fsa: Fsa) -> Fsa:
    """States numbered so that every arc leads to a higher one.

    What is sorted already is returned as it is; else states that the start does not reach are lost.
    Raises NeveError for an automaton with a cycle.
    """
    if bool((fsa.src < fsa.dst).all()):
        return fsa

    def one(fsa: Fsa) -> Fsa:
        graph = fsa.to_graph()
        number = top_order(graph.row_splits, graph.dst)
        if len(number) and number[0] < 0:
            raise NeveError("fsa: it has a cycle, and cannot be sorted topologically")
        number = torch.from_numpy(number).to(fsa.device)
        keep = torch.nonzero(number[fsa.src.long()] >= 0).flatten()
        src, dst = (number[x[keep].long()] for x in (fsa.src, fsa.dst))
        count = int((number >= 0).sum())
        return _built(fsa, count, src, dst, fsa.labels[keep], keep)

    return _each(fsa, one)


def remove_epsilon(fsa: Fsa) -> Fsa:
    """Equivalent automata without label 0, tropical.

    An arc of the result stands for several: its score is their sum, so are float attributes; int
    attributes become ragged, theirs concatenated without zeros. Raises NeveError for an epsilon
    cycle of positive score.
    """

    def one(fsa: Fsa) -> Fsa:
        result, splits, arcs = kernels.remove_epsilon(fsa.to_graph())
        arrays = (result.src, result.dst, result.labels, splits, arcs)
        return from_lists(fsa, result.num_states, *arrays)

    return _each(fsa, one)


def remove_epsilon_self_loops(fsa: Fsa) -> Fsa:
    """Without the arcs of label 0 from a state to itself."""
    keep = (fsa.labels != 0) | (fsa.src != fsa.dst)
    arc_map = torch.nonzero(keep).flatten()
    counts = torch.nn.functional.pad(keep.cpu().cumsum(0), (1, 0))
    splits = (fsa.state_splits, fsa.src[arc_map], fsa.dst[arc_map], counts[fsa.arc_splits])
    return fsa.select(*splits, arc_map)


def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """With an arc of label 0 and score 0 from each state but the final one to itself, first there.

    With ret_arc_map also the arc (int32) that each arc of the result was, -1 for the new ones.
    """
    states, arcs = torch.diff(fsa.state_splits), torch.diff(fsa.arc_splits)
    loops = (states - 1).clamp(min=0)
    which = torch.repeat_interleave(torch.arange(len(loops)), loops)
    first = torch.nn.functional.pad(loops.cumsum(0), (1, 0))
    looped = torch.arange(int(first[-1])) - first[which]
    old = torch.arange(fsa.num_arcs)
    owner = torch.repeat_interleave(torch.arange(len(arcs)), arcs)
    # by automaton, state, and then the loop before the others
    src = torch.cat((looped, fsa.src.cpu().long()))
    base = torch.cat((fsa.state_splits[which], fsa.state_splits[owner]))
    order = torch.argsort(base + src, stable=True)
    arc_map = torch.cat((torch.full_like(looped, -1), old))[order].to(fsa.device)
    dst = torch.cat((looped, fsa.dst.cpu().long()))[order].to(fsa.device, torch.int32)
    src = src[order].to(fsa.device, torch.int32)
    attributes = fsa.attributes_at(arc_map)
    kept = arc_map >= 0
    labels = fsa.labels.new_zeros(len(arc_map)).masked_scatter(kept, fsa.labels)
    scores = fsa.scores.new_zeros(len(arc_map)).masked_scatter(kept, fsa.scores)
    splits = torch.nn.functional.pad((arcs + loops).cumsum(0), (1, 0))
    result = fsa._make(src, dst, labels, scores, fsa.state_splits, splits, attributes)
    return (result, arc_map.to(torch.int32)) if ret_arc_map else result


def remove_epsilon_and_add_self_loops(fsa: Fsa, remove_filler: bool = True) -> Fsa:
    """`add_epsilon_self_loops(remove_epsilon(fsa))`; fillers in lists are always removed."""
    return add_epsilon_self_loops(remove_epsilon(fsa))


def union(fsas: FsaVec) -> Fsa:
    """One automaton that accepts what any of several does.

    A new start state has an arc of label 0 and score 0 to the start of each; the arcs labelled -1
    all enter one new final state. Raises NeveError for automata without states.
    """
    states = torch.diff(fsas.state_splits)
    if bool((states < 2).any()):
        raise NeveError(
            f"fsas: automaton {int(torch.nonzero(states < 2)[0])} is empty and cannot be joined"
        )
    offsets = 1 + fsas.state_splits[:-1] - torch.arange(len(states))
    count = int(fsas.state_splits[-1]) - len(states) + 2
    shift = torch.repeat_interleave(offsets, torch.diff(fsas.arc_splits)).to(fsas.device)
    src = fsas.src + shift
    dst = torch.where(fsas.labels == -1, count - 1, fsas.dst + shift)
    starts = offsets.to(fsas.device)
    new = torch.zeros_like(starts)
    return _built(
        fsas,
        check_size(count, "the union"),
        torch.cat((new, src)),
        torch.cat((starts, dst)),
        torch.cat((new, fsas.labels.long())),
        torch.cat((new - 1, torch.arange(len(src), device=fsas.device))),
    )


def _without_end(fsa: Fsa, result: Fsa) -> Fsa:
    """`result`, with 0 in place of the -1 that int attributes have on arcs that no longer end."""
    ends = result.labels == -1
    for name, value in result.arc_attributes().items():
        if isinstance(value, Tensor) and value.dtype == torch.int32:
            result.attributes[name] = torch.where((value == -1) & ~ends, 0, value)
            result.attributes[name][ends] = -1
    return result


def closure(fsa: Fsa) -> Fsa:
    """Kleene closure: any number of what `fsa` accepts, one after another, or nothing.

    Arcs to the final state go back to the start instead, with label 0; the start has an arc of
    score 0 to the final state, its last.
    """
    _one(fsa, "closure")
    if fsa.num_states == 0:
        count, arcs = 2, torch.empty(0, dtype=torch.int64, device=fsa.device)
    else:
        count, arcs = fsa.num_states, torch.arange(fsa.num_arcs, device=fsa.device)
    ends = fsa.labels == -1
    zero, last = arcs.new_zeros(1), arcs.new_full((1,), count - 1)
    result = _built(
        fsa,
        count,
        torch.cat((fsa.src.long(), zero)),
        torch.cat((torch.where(ends, 0, fsa.dst).long(), last)),
        torch.cat((torch.where(ends, 0, fsa.labels).long(), zero - 1)),
        torch.cat((arcs, zero - 1)),
    )
    return _without_end(fsa, result)


def reverse(fsa: Fsa) -> Fsa:
    """Automata that accept the strings of `fsa` read backwards, with the same scores.

    The arcs that entered the final state leave the new start with label 0.
    """

    def one(fsa: Fsa) -> Fsa:
        count = fsa.num_states
        if count == 0:
            return fsa
        # the start and the final state change places, and the new final state is last
        number = torch.arange(count, device=fsa.device)
        number[0], number[-1] = count - 1, 0
        src, dst = number[fsa.src.long()], number[fsa.dst.long()]
        ends = fsa.labels == -1
        arcs = torch.arange(fsa.num_arcs, device=fsa.device)
        one, last = arcs.new_ones(1), arcs.new_full((1,), count)
        result = _built(
            fsa,
            count + 1,
            torch.cat((torch.where(ends, 0, dst), number[:1])),
            torch.cat((src, last)),
            torch.cat((torch.where(ends, 0, fsa.labels).long(), -one)),
            torch.cat((arcs, -one)),
        )
        return _without_end(fsa, result)

    return _each(fsa, one)


def create_fsa_vec(fsas: Sequence[Fsa]) -> FsaVec:
    """Several automata as one FsaVec; attributes that all of them have are kept."""
    return FsaVec(list(fsas))


def index_fsa(src: FsaVec, indexes: Tensor) -> FsaVec:
    """Automata `indexes` (int32) of an FsaVec, in that order."""
    chosen = whole_numbers(indexes, "indexes")
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < src.num_fsas:
        raise NeveError(f"indexes: a row of numbers in 0..{src.num_fsas - 1} is needed")
    arcs, states = (torch.diff(x)[chosen] for x in (src.arc_splits, src.state_splits))
    splits = [torch.nn.functional.pad(x.cumsum(0), (1, 0)) for x in (states, arcs)]
    shift = torch.repeat_interleave(src.arc_splits[:-1][chosen] - splits[1][:-1], arcs)
    arc_map = (torch.arange(len(shift)) + shift).to(src.device)
    return src.select(splits[0], src.src[arc_map], src.dst[arc_map], splits[1], arc_map)


def replace_fsa(
    src: FsaVec, index: Fsa, symbol_begin_range: int = 1, ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """`index` with arcs replaced by automata: class-based language models are made so.

    An arc whose label is symbol_begin_range + i, i < len(src), becomes an arc of label 0 to a copy
    of automaton i of `src`, whose final arcs, labelled 0, lead to where the arc led. Attributes of
    one side are kept, with fillers for arcs of the other. With ret_arc_map also the arcs (int32,
    -1: none) of src and of index that each arc comes from.
    """
    same_device("src", src.scores, "index", index.device)
    _one(index, "index")
    labels = index.labels.cpu().long()
    which = labels - symbol_begin_range
    replaced = (which >= 0) & (which < src.num_fsas) & (labels > 0)
    slots = torch.nonzero(replaced).flatten()
    chosen = which[slots]
    states, arcs = (torch.diff(x)[chosen] for x in (src.state_splits, src.arc_splits))
    if bool((states < 2).any()):
        raise NeveError("src: an automaton that is to be put in is empty")
    # the states of a copy come right after the state that the arc leaves
    old_src = index.src.cpu().long()
    more = torch.zeros(index.num_states + 1, dtype=torch.int64)
    more = more.index_add_(0, old_src[slots] + 1, states - 1).cumsum(0)
    number = torch.arange(index.num_states) + more[:-1]
    count = index.num_states + int(more[-1])
    check_size(count, "the automaton with replaced arcs")
    copies = old_src[slots] + 1 + (states - 1).cumsum(0) - (states - 1)
    # arcs of index
    index_dst = number[index.dst.cpu().long()]
    entered = index_dst.clone()
    entered[slots] = copies
    index_labels = torch.where(replaced, 0, labels)
    # arcs of the copies
    copy = torch.repeat_interleave(torch.arange(len(slots)), arcs)
    first = torch.nn.functional.pad(arcs.cumsum(0), (1, 0))
    arc = torch.arange(len(copy)) - first[copy] + src.arc_splits[chosen][copy]
    copy_labels = src.labels.cpu().long()[arc]
    ends = copy_labels == -1
    copy_src = src.src.cpu().long()[arc] + copies[copy]
    copy_dst = torch.where(ends, index_dst[slots][copy], src.dst.cpu().long()[arc] + copies[copy])
    own = torch.arange(len(labels))
    columns = (
        (number[old_src], copy_src),
        (entered, copy_dst),
        (index_labels, torch.where(ends, 0, copy_labels)),
        (own, torch.full_like(arc, -1)),
        (torch.full_like(own, -1), arc),
    )
    columns = [torch.cat(pair) for pair in columns]
    order = torch.argsort(columns[0], stable=True)
    new_src, new_dst, new_labels, from_index, from_src = (
        column[order].to(index.device) for column in columns
    )
    from neve.fsa.products import _at, _attributes

    scores = _at(index.scores, from_index, 0.0) + _at(src.scores, from_src, 0.0)
    attributes = {}
    both = set(src.arc_attributes()) & set(index.arc_attributes())
    for name in both:  # each arc comes from one side only, so that ints can be kept, too
        sides = [(getattr(index, name), from_index), (getattr(src, name), from_src)]
        if any(isinstance(value, RaggedTensor) for value, _ in sides):
            raise NeveError(f"{name}: ragged on one side; expand_ragged_attributes first")
        filler = index.get_filler(name)
        values = _at(sides[0][0], from_index, filler)
        attributes[name] = torch.where(
            from_index >= 0, values, _at(sides[1][0], from_src, filler).to(values.dtype)
        )
    attributes.update(_attributes(index, src, from_index, from_src, skip=both))
    splits = (torch.tensor([0, count]), torch.tensor([0, len(new_src)]))
    result = Fsa._make(
        *(x.to(torch.int32) for x in (new_src, new_dst, new_labels)), scores, *splits, attributes
    )
    result = _without_end(index, result)
    if not ret_arc_map:
        return result
    return result, from_src.to(torch.int32), from_index.to(torch.int32)
