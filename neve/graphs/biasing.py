"""Biasing a search towards listed phrases: an automaton of all of them, with bonuses.

The automaton is that of Aho and Corasick (1975) over token ids: a state stands for the longest end
of what was read that begins a phrase. A search adds the `delta` of each token to its score. What a
phrase that is only begun has earned is taken back as soon as it cannot become whole any more, as
is usual in contextual biasing (Zhao et al., "Shallow-fusion end-to-end contextual biasing",
Interspeech 2019).

The definition: the deltas of a sequence and that of its end are in sum

    sum over all phrases p of  boost(p) * length(p) * (how often p stands in the sequence),

where occurrences that overlap, or lie within one another, all count.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from neve.errors import NeveError, named
from neve.kernels.graph import INT32_MAX
from neve.kernels.phrases import Phrases, connect, fill_rows, steps
from neve.lang.lines import read_lines


class BiasingGraph:
    """Phrases as an automaton of S states; 0 is the start.

    `step` and `finish` take numbers or arrays of any shape, for all hypotheses of a batch at once;
    compiled searches take `automaton` and step by the functions of `neve.kernels.phrases`. However
    it is done, a search keeps a state of the automaton beside each hypothesis:

    - it begins with `start`;
    - it steps for each token that it emits, and not for blanks, and adds the delta to the score
      before it prunes;
    - hypotheses become one, by sum or maximum, only if their states are equal too, which they are
      if all their tokens are; where they are known by less (the last tokens, a state of a graph),
      the state belongs to what they are known by;
    - at the end it adds `finish`, and then chooses.

    Attributes:
        start: the state before the first token, 0.
        num_states: S, at most one more than the tokens of all phrases.
        held: (S,) float64, what phrases that are only begun have earned in a state, and what
            `finish` takes back.
        automaton: a `neve.kernels.Phrases`, 32 bytes a state.
    """

    start = 0

    def __init__(self, phrases: Sequence[Sequence[int]], boosts: float | Sequence[float] = 1.0):
        """Build the automaton.

        Args:
            phrases: token ids (1 or more) of each phrase.
            boosts: bonus for each token of a phrase, one number or one for each phrase; negative
                ones make phrases less likely. Of phrases that are listed twice the larger counts.

        Raises NeveError for an empty phrase, ids below 1, and boosts that are not finite.
        """
        lengths = np.array([len(phrase) for phrase in phrases], np.int64)
        if len(lengths) and lengths.min() == 0:
            raise NeveError(f"phrases: number {int(lengths.argmin())} has no token")
        flat = np.fromiter((t for phrase in phrases for t in phrase), np.int64, lengths.sum())
        if len(flat) and flat.min() < 1:
            at = int(np.searchsorted(lengths.cumsum(), flat.argmin(), "right"))
            raise NeveError(
                f"phrases: number {at} has the token {int(flat.min())}; ids are 1 or more"
            )
        if int(lengths.sum()) >= INT32_MAX or flat.max(initial=0) >= INT32_MAX:
            raise NeveError("phrases: too many tokens, or ids too large, to be numbered")
        self._lengths = lengths
        self._ends, self._first, self._symbol = _tree(flat, lengths)
        self._root = np.zeros(int(flat.max(initial=0)) + 1, np.int32)
        begun = np.arange(self._first[0], self._first[1], dtype=np.int32)
        self._root[self._symbol[begun]] = begun
        self.num_states = len(self._symbol)
        self._connect(boosts)

    def with_boosts(self, boosts: float | Sequence[float]) -> BiasingGraph:
        """The same phrases with other boosts, in a fraction of the time."""
        other = copy.copy(self)
        other._connect(boosts)
        return other

    def _connect(self, boosts: float | Sequence[float]) -> None:
        boosts = np.array(np.broadcast_to(np.asarray(boosts, np.float64), self._lengths.shape))
        if not np.isfinite(boosts).all():
            at = int(np.flatnonzero(~np.isfinite(boosts))[0])
            raise NeveError(f"boosts: number {at} is {boosts[at]}, not a finite number")
        tree = self._first, self._symbol, self._root
        fail, rest, out, held, gain = connect(*tree, self._ends, self._lengths, boosts)
        self.held = held
        self.automaton = Phrases(
            self._first, self._symbol, fail, rest, out, held, self._root, float(gain)
        )

    def step(self, state, token):
        """(the state after a token, the delta of the score).

        Numbers give numbers; arrays, which are broadcast, give arrays. Tokens that no phrase has
        lead to the start.
        """
        states, tokens = np.broadcast_arrays(
            np.asarray(state, np.int64), np.asarray(token, np.int64)
        )
        after, delta = np.empty(states.size, np.int64), np.empty(states.size)
        steps(self.automaton, states.reshape(-1), tokens.reshape(-1), after, delta)
        if states.ndim == 0:
            return int(after[0]), float(delta[0])
        return after.reshape(states.shape), delta.reshape(states.shape)

    def deltas(self, states: Sequence[int], count: int) -> np.ndarray:
        """(M, count) float32 deltas of the tokens 0 .. count-1 after M states; 0 for blank, 0."""
        added = np.empty((len(states), count), np.float32)
        fill_rows(self.automaton, np.asarray(states, np.int64), added)
        return added

    def finish(self, state):
        """The delta of a sequence that ends in a state: what is taken back; array or number."""
        if np.ndim(state) == 0:
            return -float(self.held[state])
        return -self.held[np.asarray(state)]

    def score(self, tokens: Sequence[int]) -> float:
        """The bonus of a whole sequence."""
        state, total = self.start, 0.0
        for token in tokens:
            state, delta = self.step(state, token)
            total += delta
        return total + self.finish(state)


def _tree(flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tree of phrases whose tokens are `flat`, row after row.

    Returns (P,) where each phrase is whole, and `first` and `symbol` of `neve.kernels.Phrases`.
    """
    width = int(flat.max(initial=0)) + 1
    begins = np.cumsum(lengths) - lengths
    ends = np.zeros(len(lengths), np.int64)  # as far as they are read
    alive = np.arange(len(lengths))
    keys = [np.zeros(0, np.int64)]
    count, depth = 1, 0
    while len(alive):
        key = ends[alive] * width + flat[begins[alive] + depth]
        unique, which = np.unique(key, return_inverse=True)
        ends[alive] = count + which
        keys.append(unique)
        count += len(unique)
        depth += 1
        alive = alive[lengths[alive] > depth]
    # states are numbered by depth and, within one, by parent and token: all keys are sorted
    parents, symbols = np.divmod(np.concatenate(keys), width)
    children = np.bincount(parents, minlength=count)
    first = np.concatenate(([1], 1 + np.cumsum(children))).astype(np.int32)
    return ends, first, np.concatenate(([0], symbols)).astype(np.int32)


def read_phrases(
    path: str | os.PathLike, normal: Callable[[str], str] | None = None, boost: float = 1.0
) -> list[tuple[list[str], float]]:
    """(words, boost) of each line of a list: a phrase and, after a tab, perhaps its boost.

    `normal` gives words their normal form. Raises NeveError with file and line for a boost that is
    no number and a line without a word.
    """
    phrases = []
    for number, line in read_lines(path, "list of phrases"):
        phrase, _, given = line.partition("\t")
        value = boost
        if given.strip():
            try:
                value = float(given)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise NeveError(f"{path}:{number}: the boost {given.strip()!r} is not a number")
        words = (" ".join(map(normal, phrase.split())) if normal else phrase).split()
        if not words:
            raise NeveError(f"{path}:{number}: there is no word in {line!r} (section text)")
        phrases.append((words, value))
    if not phrases:
        raise NeveError(f"{path}: is empty; write a phrase on each line")
    return phrases


def token_biasing(lang, phrases: Iterable[tuple[Sequence[str], float]]) -> BiasingGraph:
    """The automaton over the tokens of a lang directory, for searches that emit tokens.

    Each word is spelled in its first pronunciation; words need not be in the lexicon (pieces,
    characters). Raises UnknownWordError for words that cannot be spelled.
    """
    rows = list(phrases)
    return BiasingGraph([lang.encode(" ".join(w)) for w, _ in rows], [b for _, b in rows])


def word_biasing(lang, phrases: Iterable[tuple[Sequence[str], float]]) -> BiasingGraph:
    """The automaton over the words of a lang directory, for lattices of words.

    Raises NeveError that names words that words.txt lacks: a graph cannot find them at all.
    """
    rows = list(phrases)
    missing = sorted({w for words, _ in rows for w in words if w not in lang.words})
    if missing:
        raise NeveError(
            f"{lang.directory / 'words.txt'}: {named(missing)} of the list of phrases are not "
            "there; add them first (`neve graph --add-words FILE`)"
        )
    return BiasingGraph([[lang.words[w] for w in words] for words, _ in rows], [b for _, b in rows])
