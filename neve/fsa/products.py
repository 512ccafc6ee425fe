"""Composition and intersection of automata; attributes of both sides follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import whole_numbers
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.ragged import RaggedTensor
from neve.kernels.product import product
from neve.kernels.structure import arc_order


def intersect(
    a_fsa: Fsa, b_fsa: Fsa, treat_epsilons_specially: bool = True, ret_arc_maps: bool = False
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """What both automata accept; scores add up.

    Two Fsas give an Fsa; with an FsaVec on one side or both, automata are taken one by one. With
    treat_epsilons_specially, label 0 moves one side alone; without, it is a symbol like others.
    With ret_arc_maps also the arcs (int32, -1: none) of a_fsa and b_fsa that each arc comes from.
    An attribute on both sides must be float and is added.
    """
    _same_device(a_fsa, b_fsa)
    result, maps = _products(a_fsa, b_fsa, _pairs(a_fsa, b_fsa), treat_epsilons_specially, None)
    result = _shaped(result, a_fsa, b_fsa)
    return (result, *maps) if ret_arc_maps else result


def intersect_device(
    a_fsas: FsaVec,
    b_fsas: FsaVec,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    ret_arc_maps: bool = False,
) -> FsaVec | tuple[FsaVec, Tensor, Tensor]:
    """Each automaton of b_fsas intersected with automaton b_to_a_map[i] of a_fsas.

    Label 0 is a symbol like others. The result may have dead ends. sorted_match_a is k2's (whether
    a_fsas is arc-sorted) and makes no difference here. Others as for `intersect`.
    """
    _same_device(a_fsas, b_fsas)
    which = whole_numbers(b_to_a_map, "b_to_a_map")
    if which.shape != (b_fsas.num_fsas,) or (
        len(which) and not 0 <= int(which.min()) <= int(which.max()) < a_fsas.num_fsas
    ):
        raise NeveError(
            f"b_to_a_map: {b_fsas.num_fsas} numbers in 0..{a_fsas.num_fsas - 1} are needed"
        )
    pairs = [(a, b) for b, a in enumerate(which.tolist())]
    result, maps = _products(a_fsas, b_fsas, pairs, False, None)
    return (result, *maps) if ret_arc_maps else result


def compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    inner_labels: str | None = None,
) -> Fsa:
    """a_fsa's aux_labels matched with b_fsa's labels; scores add up.

    The result has a_fsa's labels and b_fsa's aux_labels (its labels if it has none). inner_labels
    names an attribute that gets the matched symbols. Otherwise as `intersect`.

    Raises NeveError if a_fsa has no aux_labels, or ragged ones.
    """
    _same_device(a_fsa, b_fsa)
    match = a_fsa.attributes.get("aux_labels")
    if not isinstance(match, Tensor) or match.dtype != torch.int32:
        kind = "ragged ones" if isinstance(match, RaggedTensor) else "none"
        raise NeveError(
            f"a_fsa: int32 aux_labels, one an arc, are needed to compose; it has {kind}"
        )
    pairs = _pairs(a_fsa, b_fsa)
    result, _ = _products(a_fsa, b_fsa, pairs, treat_epsilons_specially, inner_labels, match)
    return _shaped(result, a_fsa, b_fsa)


def _same_device(a: Fsa, b: Fsa) -> None:
    if a.device != b.device:
        raise NeveError(f"b_fsa: on {b.device}, but a_fsa is on {a.device}; move one of them")


def _pairs(a: Fsa, b: Fsa) -> list[tuple[int, int]]:
    """Which automata meet: one with all of the other side, or each with its own."""
    if isinstance(a, FsaVec) and isinstance(b, FsaVec) and a.num_fsas != b.num_fsas:
        raise NeveError(f"b_fsa: {b.num_fsas} automata for {a.num_fsas} of a_fsa")
    count = max(a.num_fsas, b.num_fsas)
    count = min(a.num_fsas, b.num_fsas) if 0 in (a.num_fsas, b.num_fsas) else count
    return [
        (i if isinstance(a, FsaVec) else 0, i if isinstance(b, FsaVec) else 0) for i in range(count)
    ]


def _shaped(result: FsaVec, a: Fsa, b: Fsa) -> Fsa:
    several = isinstance(a, FsaVec) or isinstance(b, FsaVec)
    return result if several else result[0]


class _Side:
    """The automata of one side as arrays, each sorted by label once if need be."""

    def __init__(self, fsas: Fsa, match: Tensor, sort: bool):
        arrays = (fsas.src, fsas.dst, match)
        self.src, self.dst, self.match = (x.detach().cpu().numpy() for x in arrays)
        self.states, self.arcs = fsas.state_splits.tolist(), fsas.arc_splits.tolist()
        self.sort = sort
        self.made: dict[int, tuple[np.ndarray, ...]] = {}

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """(row splits, dst, labels, the arc of all automata that each arc is)."""
        if index not in self.made:
            arcs = slice(*self.arcs[index : index + 2])
            src, dst, match = self.src[arcs], self.dst[arcs], self.match[arcs]
            count = self.states[index + 1] - self.states[index]
            order = np.arange(len(src), dtype=np.int32)
            if self.sort:
                order = arc_order(src, dst, match, count)
            counts = np.bincount(src, minlength=count)
            rows = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
            self.made[index] = (rows, dst[order], match[order], order + arcs.start)
        return self.made[index]


def _products(
    a: Fsa,
    b: Fsa,
    pairs: Sequence[tuple[int, int]],
    epsilons: bool,
    inner_labels: str | None,
    a_match: Tensor | None = None,
) -> tuple[FsaVec, tuple[Tensor, Tensor]]:
    composing = a_match is not None
    # the side with more arcs a state is the one where labels are looked up
    swap = a.num_arcs * b.num_states > b.num_arcs * a.num_states
    side_a = _Side(a, a_match if composing else a.labels, sort=swap)
    side_b = _Side(b, b.labels, sort=not swap)
    columns: list[tuple[np.ndarray, ...]] = []
    states, arcs = [0], [0]
    for i, j in pairs:
        *left, arcs_a = side_a[i]
        *right, arcs_b = side_b[j]
        if swap:
            count, src, dst, arc_b, arc_a = product(*right, *left, epsilons)
        else:
            count, src, dst, arc_a, arc_b = product(*left, *right, epsilons)
        # arcs of all automata instead of those of one
        arc_a = np.append(arcs_a, np.int64(-1))[arc_a].astype(np.int32)
        arc_b = np.append(arcs_b, np.int64(-1))[arc_b].astype(np.int32)
        columns.append((src, dst, arc_a, arc_b))
        states.append(states[-1] + count)
        arcs.append(arcs[-1] + len(src))
    none = (np.empty(0, np.int32),) * 4
    joined = [np.concatenate(parts) for parts in zip(none, *columns)]
    src, dst, arc_a, arc_b = (torch.from_numpy(x).to(a.device) for x in joined)
    index_a, index_b = arc_a.long(), arc_b.long()
    labels = _at(a.labels, index_a, 0)
    if not composing:
        labels = torch.where(index_a >= 0, labels, _at(b.labels, index_b, 0))
    scores = _at(a.scores, index_a, 0.0) + _at(b.scores, index_b, 0.0)
    attributes = _attributes(a, b, index_a, index_b, skip={"aux_labels"} if composing else set())
    if composing:
        emitted = b.attributes.get("aux_labels", b.labels)
        attributes["aux_labels"] = (
            emitted[index_b]
            if isinstance(emitted, RaggedTensor)
            else _at(emitted, index_b, b.get_filler("aux_labels"))
        )
        if inner_labels is not None:
            matched = torch.where(index_a >= 0, _at(a_match, index_a, 0), _at(b.labels, index_b, 0))
            attributes[inner_labels] = matched
    splits = (torch.tensor(states), torch.tensor(arcs))
    return FsaVec._make(src, dst, labels, scores, *splits, attributes), (arc_a, arc_b)


def _at(values: Tensor, index: Tensor, filler: float) -> Tensor:
    if len(values) == 0:
        return values.new_full((len(index), *values.shape[1:]), filler)
    shape = (-1, *[1] * (values.ndim - 1))
    return torch.where((index >= 0).reshape(shape), values[index.clamp(min=0)], filler)


def _attributes(a: Fsa, b: Fsa, index_a: Tensor, index_b: Tensor, skip: set[str]) -> dict[str, Any]:
    """Attributes of one side are copied, float ones of both are added."""
    found = {}
    both = set(a.arc_attributes()) & set(b.arc_attributes())
    for name in both - skip:
        for side in (a, b):
            value = getattr(side, name)
            if isinstance(value, RaggedTensor) or not value.is_floating_point():
                raise NeveError(
                    f"{name}: an attribute that both automata have must be float, to be added; "
                    "delete or rename one of them"
                )
        found[name] = _at(getattr(a, name), index_a, 0.0) + _at(getattr(b, name), index_b, 0.0)
    for side, index in ((b, index_b), (a, index_a)):
        for name, value in side.arc_attributes().items():
            if name in both or name in skip:
                continue
            found[name] = (
                value[index]
                if isinstance(value, RaggedTensor)
                else _at(value, index, side.get_filler(name))
            )
        found.update(side.other_attributes())
    return found
