"""What is true of an automaton, as k2's flags."""

from __future__ import annotations

import torch

from neve.fsa.fsa import Fsa

VALID = 1
NONEMPTY = 2
TOPSORTED = 4
TOPSORTED_AND_ACYCLIC = 8
ARC_SORTED = 16
ARC_SORTED_AND_DETERMINISTIC = 32
EPSILON_FREE = 64
ACCESSIBLE = 128
COACCESSIBLE = 256
ALL = 511

_NAMES = (
    "Valid",
    "Nonempty",
    "TopSorted",
    "TopSortedAndAcyclic",
    "ArcSorted",
    "ArcSortedAndDeterministic",
    "EpsilonFree",
    "MaybeAccessible",
    "MaybeCoaccessible",
)


def get_properties(fsa: Fsa) -> int:
    """The flags that hold, of every automaton if there are several; see `properties_to_str`.

    MaybeAccessible and MaybeCoaccessible are, as in k2, about states alone: each but the start is
    entered by an arc from another state, and each but the final one is left by one to another.
    """
    src, dst = (torch.from_numpy(x) for x in fsa.flat_states())
    labels = fsa.labels.cpu()
    states, num_states = torch.diff(fsa.state_splits), fsa.num_states
    found = VALID
    if bool((states > 0).all()):
        found |= NONEMPTY
    if bool((src <= dst).all()):
        found |= TOPSORTED
    if bool((src < dst).all()):
        found |= TOPSORTED_AND_ACYCLIC
    if not bool((labels == 0).any()):
        found |= EPSILON_FREE
    same_state = src[1:] == src[:-1]
    unsigned = torch.where(labels < 0, 2**32 + labels.long(), labels.long())
    keys = unsigned * (num_states + 1) + dst
    rising = keys[1:] >= keys[:-1]
    if bool((rising | ~same_state).all()):
        found |= ARC_SORTED
        if not bool((same_state & (unsigned[1:] == unsigned[:-1])).any()):
            found |= ARC_SORTED_AND_DETERMINISTIC
    present = fsa.state_splits[:-1][states > 0]
    entered = torch.zeros(num_states, dtype=torch.bool)
    onward = src != dst
    entered[dst[onward].long()] = True
    entered[present] = True
    left = torch.zeros(num_states, dtype=torch.bool)
    left[src[onward].long()] = True
    left[fsa.state_splits[1:][states > 0] - 1] = True
    found |= ACCESSIBLE * bool(entered.all()) | COACCESSIBLE * bool(left.all())
    return found


def properties_to_str(p: int) -> str:
    """The names of flags, joined by |."""
    return "|".join(name for i, name in enumerate(_NAMES) if p & (1 << i))


def is_arc_sorted(p: int) -> bool:
    return bool(p & ARC_SORTED)


def is_accessible(p: int) -> bool:
    return bool(p & ACCESSIBLE)


def is_coaccessible(p: int) -> bool:
    return bool(p & COACCESSIBLE)
