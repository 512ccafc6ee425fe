"""Determinisation: no two arcs of a state have one label, and every string keeps its best score.

The subset construction for weighted automata (Mohri, 1997) in the tropical semiring, for acceptors.
Arcs of the best paths to a state's members are put out as soon as all members share them.
"""

from __future__ import annotations

import enum

import numpy as np

from neve.errors import NeveError
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.list_maps import from_lists


class DeterminizeWeightPushingType(enum.Enum):
    """Where scores go that could be on several arcs of a path; only kNoWeightPushing is offered."""

    kTropicalWeightPushing = 0
    kLogWeightPushing = 1
    kNoWeightPushing = 2


def determinize(
    fsa: Fsa,
    weight_pushing_type: DeterminizeWeightPushingType | None = None,
    most_states: int | None = None,
) -> Fsa:
    """Equivalent automata that are deterministic; label 0 is a symbol like others.

    Each arc stands for a list of arcs of the input: its score is their sum, float attributes are
    summed and int ones (`aux_labels`) concatenated. Scores lie as early on paths as is certain.

    Not every automaton with cycles has a deterministic equivalent: NeveError if there would be more
    than most_states states (by default 100 for each arc and 10,000 more).
    """
    if weight_pushing_type not in (None, DeterminizeWeightPushingType.kNoWeightPushing):
        raise NeveError(
            f"weight_pushing_type: {weight_pushing_type} is not offered; scores are not pushed"
        )
    if isinstance(fsa, FsaVec):
        return FsaVec([determinize(one, weight_pushing_type, most_states) for one in fsa])
    most = 100 * fsa.num_arcs + 10_000 if most_states is None else most_states
    leaving = _leaving(fsa)
    final = fsa.num_states - 1
    scores = fsa.scores.detach().double().tolist()
    # a member of a subset is a state and the arcs on the way to it that were not put out yet
    start = ((0, ()),)
    numbers, subsets = {start: 0}, [start]
    src, dst, labels, lists = [], [], [], []
    number = 0
    while number < len(subsets) and fsa.num_states:
        by_label: dict[int, dict[int, tuple[float, tuple[int, ...]]]] = {}
        for state, pending in subsets[number]:
            score = sum(scores[arc] for arc in pending)
            for label, to, arc in leaving[state]:
                reached = by_label.setdefault(label, {})
                total = score + scores[arc]
                if to not in reached or total > reached[to][0]:
                    reached[to] = (total, (*pending, arc))
        for label in sorted(by_label, key=lambda x: x & 0xFFFFFFFF):
            reached = by_label[label]
            if label == -1:
                src.append(number)
                dst.append(-1)
                labels.append(-1)
                lists.append(reached[final][1])
                continue
            ways = [pending for _, pending in reached.values()]
            done = _common_prefix(ways)
            key = tuple((to, way[done:]) for to, (_, way) in sorted(reached.items()))
            put_out = ways[0][:done]
            if key not in numbers:
                if len(subsets) >= most:
                    raise NeveError(
                        f"determinize: more than {most:,} states; the automaton has no "
                        "deterministic equivalent (disambiguation symbols give it one), or pass a "
                        "larger most_states"
                    )
                numbers[key] = len(subsets)
                subsets.append(key)
            src.append(number)
            dst.append(numbers[key])
            labels.append(label)
            lists.append(put_out)
        number += 1
    count = len(subsets) + 1 if fsa.num_states else 0
    dst = [count - 1 if to < 0 else to for to in dst]
    return from_lists(
        fsa,
        count,
        *(np.array(column, np.int32) for column in (src, dst, labels)),
        np.cumsum([0, *map(len, lists)]),
        np.array([arc for arcs in lists for arc in arcs], np.int64),
    )


def _leaving(fsa: Fsa) -> list[list[tuple[int, int, int]]]:
    """The arcs of each state as (label, destination, arc)."""
    found: list[list] = [[] for _ in range(fsa.num_states)]
    columns = (fsa.src, fsa.labels, fsa.dst)
    for arc, (src, label, dst) in enumerate(zip(*(x.tolist() for x in columns))):
        found[src].append((label, dst, arc))
    return found


def _common_prefix(lists: list[tuple[int, ...]]) -> int:
    """How many items all lists begin with."""
    first = lists[0]
    for i in range(min(map(len, lists))):
        if any(each[i] != first[i] for each in lists):
            return i
    return min(map(len, lists))
