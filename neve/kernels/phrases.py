"""Listed phrases as an automaton in arrays, and how a search steps through it.

The automaton of Aho and Corasick ("Efficient string matching: an aid to bibliographic search",
CACM 18, 1975) with bonuses; `neve.graphs.BiasingGraph` makes it of phrases and says what it adds.
"""

from typing import NamedTuple

import numpy as np
from numba import njit


class Phrases(NamedTuple):
    """Of S states, numbered breadth-first; 0 is the start, and what a search begins with.

    first (S+1,) int32: the states one symbol further than s are first[s] .. first[s+1]-1
    symbol (S,) int32: the last symbol on the way to a state; those of a state's children rise
    fail (S,) int32: where a symbol is looked for that no child of a state has
    rest (S,) int32: the state to go on with: what is nowhere continued is as its end is
    out (S,) float64: bonuses of the phrases that end in a state
    held (S,) float64: bonuses of what is only begun there, which may have to be given back
    root (W,) int32: the state after the start and each symbol below W, 0 where there is none
    gain: the most that one symbol can add to a score
    """

    first: np.ndarray
    symbol: np.ndarray
    fail: np.ndarray
    rest: np.ndarray
    out: np.ndarray
    held: np.ndarray
    root: np.ndarray
    gain: float


def no_phrases() -> Phrases:
    """The automaton of none: a search that heeds it is as one without."""
    none = np.zeros(1, np.int32)
    return Phrases(np.ones(2, np.int32), none, none, none, np.zeros(1), np.zeros(1), none, 0.0)


@njit(cache=True, nogil=True)
def _child(first, symbol, state, wanted):
    """The state that a symbol leads to from `state`, 0 if none."""
    low, high = first[state], first[state + 1]
    while low < high:
        middle = (low + high) // 2
        if symbol[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < first[state + 1] and symbol[low] == wanted else 0


@njit(cache=True, nogil=True)
def _next(first, symbol, fail, root, state, wanted):
    """The longest end of what was read, `wanted` included, that begins a phrase; any symbol."""
    if wanted < 0 or wanted >= len(root):
        return 0
    while state != 0:
        found = _child(first, symbol, state, wanted)
        if found != 0:
            return found
        state = fail[state]
    return root[wanted]


@njit(cache=True, nogil=True)
def step(phrases, state, symbol):
    """(the state after a symbol, what it adds to the score)."""
    after = _next(phrases.first, phrases.symbol, phrases.fail, phrases.root, state, symbol)
    added = phrases.out[after] + phrases.held[after] - phrases.held[state]
    return phrases.rest[after], added


@njit(cache=True, nogil=True)
def read(phrases, state, symbols, begin, end):
    """(the state after symbols[begin:end], what they add); symbols below 1 say nothing."""
    total = 0.0
    for place in range(begin, end):
        if symbols[place] > 0:
            state, added = step(phrases, state, symbols[place])
            total += added
    return state, total


@njit(cache=True, nogil=True)
def fill(phrases, state, added):
    """What each symbol 0 .. V-1 adds after `state`, to (V,) `added`; 0, the blank, adds nothing."""
    loan = phrases.held[state]
    for symbol in range(min(len(added), len(phrases.root))):
        after = phrases.root[symbol]
        added[symbol] = phrases.out[after] + phrases.held[after] - loan
    added[len(phrases.root) :] = -loan
    depth = 0
    chain = state
    while chain != 0:
        depth += 1
        chain = phrases.fail[chain]
    for level in range(depth):  # longer ends last, for they count
        chain = state
        for _ in range(depth - 1 - level):
            chain = phrases.fail[chain]
        for after in range(phrases.first[chain], phrases.first[chain + 1]):
            if phrases.symbol[after] < len(added):
                added[phrases.symbol[after]] = phrases.out[after] + phrases.held[after] - loan
    if len(added):
        added[0] = 0.0


@njit(cache=True, nogil=True)
def fill_rows(phrases, states, added):
    """`fill` for each of (M,) states, into (M, V)."""
    for row in range(len(states)):
        fill(phrases, states[row], added[row])


@njit(cache=True, nogil=True)
def steps(phrases, states, symbols, after, added):
    """`step` for each of (n,) states and symbols, into (n,) `after` and `added`."""
    for place in range(len(states)):
        after[place], added[place] = step(phrases, states[place], symbols[place])


@njit(cache=True, nogil=True)
def connect(first, symbol, root, ends, lengths, boosts):
    """(fail, rest, out, held, gain) of a tree of P phrases.

    ends (P,) are the states where the phrases are whole, lengths (P,) their symbols, boosts (P,)
    what each symbol earns; of phrases that are listed twice the larger counts. A symbol of a phrase
    that is only begun earns the largest boost of those that go on, and all of it is given back if
    none becomes whole; what an end of the same symbols has begun besides is not earned twice.
    """
    size = len(symbol)
    highest, bonus = np.full(size, -np.inf), np.full(size, -np.inf)
    for phrase in range(len(ends)):
        end = ends[phrase]
        highest[end] = max(highest[end], boosts[phrase])
        bonus[end] = max(bonus[end], boosts[phrase] * lengths[phrase])
    for parent in range(size - 1, -1, -1):
        for state in range(first[parent], first[parent + 1]):
            highest[parent] = max(highest[parent], highest[state])
    fail, rest = np.zeros(size, np.int32), np.zeros(size, np.int32)
    out, held, credit = np.zeros(size), np.zeros(size), np.zeros(size)
    gain = 0.0
    for parent in range(size):  # breadth-first: shorter states are known
        for state in range(first[parent], first[parent + 1]):
            end = 0
            if parent != 0:
                end = _next(first, symbol, fail, root, fail[parent], symbol[state])
            out[state] = out[end]
            if bonus[state] > -np.inf:
                out[state] += bonus[state]
            else:
                credit[state] = credit[parent] + highest[state]
            held[state] = max(credit[state], held[end])
            fail[state] = rest[end]
            rest[state] = state if first[state] < first[state + 1] else rest[end]
            gain = max(gain, out[state] + held[state] - held[parent])
    return fail, rest, out, held, gain
