"""A lattice followed by a word automaton: best paths and totals of what both accept.

The automaton is any object with a `start` and the methods `step(state, word)`, the state after a
word and its score, or None, and `end(state)`, a key and a score, or None. Paths with the same key
end in the same final state: for a language model (`LmWords`) all of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.decoding.word_lm import WordLm


@dataclasses.dataclass(frozen=True, eq=False)
class Lattice:
    """One utterance's lattice, its states sorted so that arcs go to later ones; A arcs.

    splits (S+1,): the arcs that leave state s are splits[s] .. splits[s+1]-1. dst (A,), scores (A,)
    float64. spoken: the words that each arc says, ids as a ragged list: splits (A+1,), values.
    graph_arcs (A,): the arcs of the graph, -1 for an end that the graph does not have. partial: no
    path is complete.
    """

    splits: np.ndarray
    dst: np.ndarray
    scores: np.ndarray
    spoken: tuple[np.ndarray, np.ndarray]
    graph_arcs: np.ndarray
    partial: bool

    @functools.cached_property
    def words(self) -> list[tuple[int, ...]]:
        """What each arc says, a tuple of ids."""
        ends, values = (array.tolist() for array in self.spoken)
        return [tuple(values[a:b]) if b > a else () for a, b in zip(ends, ends[1:])]

    @property
    def automaton(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row splits, targets and scores."""
        return self.splits, self.dst, self.scores

    @property
    def num_states(self) -> int:
        return len(self.splits) - 1

    @property
    def src(self) -> np.ndarray:
        return np.repeat(np.arange(self.num_states), np.diff(self.splits))

    @property
    def frame_arcs(self) -> int:
        """How many arcs take a frame: all but those that end a path."""
        return int((self.dst != self.num_states - 1).sum())

    def said(self, arcs: Iterable[int]) -> tuple[int, ...]:
        """The words of a path."""
        ends, values = self.spoken
        return tuple(word for arc in arcs for word in values[ends[arc] : ends[arc + 1]].tolist())


class WordPath(NamedTuple):
    """The best path of one key: arcs of the lattice, its score, and the log of all paths' sum."""

    arcs: list[int]
    score: float
    total: float


class LmWords:
    """A language model, added `scale` times to paths' scores, without what `own` says of them."""

    def __init__(self, lm: WordLm, scale: float, own: WordLm | None = None):
        self.lm, self.scale, self.own = lm, scale, own
        self.start = (lm.start, own.start if own else 0)

    def step(self, state, word):
        new, score = self.lm.step(state[0], word)
        score, old = score * self.scale, 0
        if self.own:
            old, removed = self.own.step(state[1], word)
            score -= removed
        return (new, old), score

    def end(self, state):
        score = self.lm.end(state[0]) * self.scale
        return 0, score - (self.own.end(state[1]) if self.own else 0.0)


def word_paths(lattice: Lattice, automaton) -> dict[Hashable, WordPath]:
    """Of each key that some path ends with, the best path and the total of all."""
    splits, last = lattice.splits.tolist(), lattice.num_states - 1
    targets, spoken = lattice.dst.tolist(), lattice.words
    reached: list[dict] = [{} for _ in range(lattice.num_states)]
    if last < 1:
        return {}
    reached[0][automaton.start] = 0
    count = 1
    sources, ends, arcs, added = [], [], [], []
    for state in range(last):
        leaving = range(splits[state], splits[state + 1])
        for known, number in reached[state].items():
            for arc in leaving:
                after, score = known, 0.0
                for word in spoken[arc]:
                    step = automaton.step(after, word)
                    if step is None:
                        break
                    after, score = step[0], score + step[1]
                else:
                    target = targets[arc]
                    if target == last:
                        end = automaton.end(after)
                        if end is None:
                            continue
                        after, score = end[0], score + end[1]
                    there = reached[target]
                    place = there.get(after)
                    if place is None:
                        place = there[after] = count
                        count += 1
                    sources.append(number)
                    ends.append(place)
                    arcs.append(arc)
                    added.append(score)
        if state:
            reached[state] = {}
    src, dst = (np.array(column, np.int64) for column in (sources, ends))
    scores = lattice.scores[np.array(arcs, np.int64)] + np.array(added, np.float64)
    best, back, total = _forward(src, dst, scores, count)
    found = {}
    for key, place in reached[last].items():
        path, at = [], place
        while at:
            path.append(arcs[back[at]])
            at = sources[back[at]]
        found[key] = WordPath(path[::-1], float(best[place]), float(total[place]))
    return found


@njit(cache=True, nogil=True)
def _forward(src, dst, scores, count):
    """Best scores, best arcs, log-sums of paths from 0; arcs follow those that enter their src."""
    best = np.full(count, -np.inf)
    total = np.full(count, -np.inf)
    back = np.full(count, -1, np.int64)
    best[0] = total[0] = 0.0
    for arc in range(len(src)):
        came, to = best[src[arc]] + scores[arc], dst[arc]
        if came > best[to]:
            best[to], back[to] = came, arc
        more = total[src[arc]] + scores[arc]
        high, low = max(total[to], more), min(total[to], more)
        if high > -np.inf:
            total[to] = high + np.log1p(np.exp(low - high))
    return best, back, total
