"""A lattice of words, and its best path with the scores of a language model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
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
    """Arcs of the lattice, and the score of the path."""

    arcs: list[int]
    score: float


class LmWords:
    """A language model, added `scale` times to paths' scores, without what `own` says of them.

    `step` gives the state after a word and its score, `end` the score of the end.
    """

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
        return score - (self.own.end(state[1]) if self.own else 0.0)


def best_word_path(lattice: Lattice, lm: LmWords) -> WordPath | None:
    """The best path with the scores of `lm`; None where no path ends."""
    splits, last = lattice.splits.tolist(), lattice.num_states - 1
    targets, spoken = lattice.dst.tolist(), lattice.words
    reached: list[dict] = [{} for _ in range(lattice.num_states)]
    if last < 1:
        return None
    reached[0][lm.start] = 0
    count = 1
    sources, ends, arcs, added = [], [], [], []
    for state in range(last):
        leaving = range(splits[state], splits[state + 1])
        for known, number in reached[state].items():
            for arc in leaving:
                after, score = known, 0.0
                for word in spoken[arc]:
                    after, more = lm.step(after, word)
                    score += more
                target = targets[arc]
                if target == last:
                    score += lm.end(after)
                    after = None  # all that ends ends in one place
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
    if not reached[last]:
        return None
    src, dst = (np.array(column, np.int64) for column in (sources, ends))
    scores = lattice.scores[np.array(arcs, np.int64)] + np.array(added, np.float64)
    best, back = _forward(src, dst, scores, count)
    end = at = reached[last][None]
    path = []
    while at:
        path.append(arcs[back[at]])
        at = sources[back[at]]
    return WordPath(path[::-1], float(best[end]))


@njit(cache=True, nogil=True)
def _forward(src, dst, scores, count):
    """Best scores and best arcs of paths from 0; arcs follow those that enter their src."""
    best = np.full(count, -np.inf)
    back = np.full(count, -1, np.int64)
    best[0] = 0.0
    for arc in range(len(src)):
        came, to = best[src[arc]] + scores[arc], dst[arc]
        if came > best[to]:
            best[to], back[to] = came, arc
    return best, back
