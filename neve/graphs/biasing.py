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

import math
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from neve.errors import NeveError
from neve.lang.lines import read_lines

INT64_MAX = 2**63 - 1


class BiasingGraph:
    """Phrases as an automaton of S states; 0 is the start.

    `step` and `finish` take numbers or arrays of any shape, for all hypotheses of a batch at once.
    A search steps for each token that it emits, and not for blanks.

    Attributes:
        start: the state before the first token, 0.
        num_states: S, at most one more than the tokens of all phrases.
        held: (S,) float64, what phrases that are only begun have earned in a state, and what
            `finish` takes back.
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
        boosts = np.broadcast_to(np.asarray(boosts, np.float64), lengths.shape)
        if not np.isfinite(boosts).all():
            at = int(np.flatnonzero(~np.isfinite(boosts))[0])
            raise NeveError(f"boosts: number {at} is {boosts[at]}, not a finite number")
        self._width = int(flat.max(initial=0)) + 1
        total = int(lengths.sum()) + 1
        if total > INT64_MAX // self._width:
            raise NeveError("phrases: too many tokens, or ids too large, to be numbered")
        self._build(flat, lengths, boosts)

    def _build(self, flat: np.ndarray, lengths: np.ndarray, boosts: np.ndarray) -> None:
        begins = np.cumsum(lengths) - lengths
        nodes = np.zeros(len(lengths), np.int64)  # where each phrase is
        alive = np.arange(len(lengths))
        keys, levels = [], [np.zeros(1, np.int64)]
        best, own = [np.zeros(1)], [np.zeros(1)]
        ends = [np.zeros(1, bool)]
        count, depth = 1, 0
        while len(alive):
            key = nodes[alive] * self._width + flat[begins[alive] + depth]
            unique, which = np.unique(key, return_inverse=True)
            nodes[alive] = count + which
            keys.append(unique)
            levels.append(count + np.arange(len(unique)))
            count += len(unique)
            depth += 1
            highest = np.full(len(unique), -np.inf)
            np.maximum.at(highest, which, boosts[alive])
            best.append(highest)
            whole = lengths[alive] == depth
            bonus = np.full(len(unique), -np.inf)
            np.maximum.at(bonus, which[whole], boosts[alive[whole]] * depth)
            ends.append(bonus > -np.inf)
            own.append(np.where(ends[-1], bonus, 0.0))
            alive = alive[~whole]
        # states are numbered by depth and, within one, by their keys: all keys are sorted
        self._keys = np.concatenate(keys) if keys else np.zeros(0, np.int64)
        self._fail = np.zeros(count, np.int64)
        self.num_states = count
        self._root = np.zeros(self._width, np.int64)
        if keys:
            self._root[keys[0]] = levels[1]
        self._out = np.concatenate(own)
        credit, self.held = np.zeros(count), np.zeros(count)
        for level, states in enumerate(levels[1:], start=1):
            parents, tokens = np.divmod(keys[level - 1], self._width)
            if level > 1:
                self._fail[states] = self._next(self._fail[parents], tokens)
            fail = self._fail[states]
            self._out[states] += self._out[fail]
            credit[states] = np.where(ends[level], 0.0, credit[parents] + best[level])
            self.held[states] = np.maximum(credit[states], self.held[fail])

    def _next(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(n,) states after tokens, which may be any."""
        result = np.zeros(len(states), np.int64)
        known = (tokens >= 0) & (tokens < self._width)
        result[known & (states == 0)] = self._root[tokens[known & (states == 0)]]
        todo = np.flatnonzero(known & (states > 0))
        states = states[todo]
        while len(todo):
            key = states * self._width + tokens[todo]
            at = np.searchsorted(self._keys, key)
            found = (at < len(self._keys)) & (
                self._keys[np.minimum(at, len(self._keys) - 1)] == key
            )
            result[todo[found]] = at[found] + 1
            todo, states = todo[~found], self._fail[states[~found]]
            at_root = states == 0
            result[todo[at_root]] = self._root[tokens[todo[at_root]]]
            todo, states = todo[~at_root], states[~at_root]
        return result

    def step(self, state, token):
        """(the state after a token, the delta of the score).

        Numbers give numbers; arrays, which are broadcast, give arrays. Tokens that no phrase has
        lead to the start.
        """
        if np.ndim(state) == 0 and np.ndim(token) == 0:
            after = int(self._next(np.array([state], np.int64), np.array([token], np.int64))[0])
            return after, float(self._delta(state, after))
        states, tokens = np.broadcast_arrays(
            np.asarray(state, np.int64), np.asarray(token, np.int64)
        )
        after = self._next(states.reshape(-1), tokens.reshape(-1)).reshape(states.shape)
        return after, self._delta(states, after)

    def _delta(self, states, after):
        return self._out[after] + self.held[after] - self.held[states]

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
        try:
            value = float(given) if given.strip() else boost
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
            f"{lang.directory / 'words.txt'}: {', '.join(missing[:20])} of the list of phrases are "
            "not there; add them first (`neve graph --add-words FILE`)"
        )
    return BiasingGraph([[lang.words[w] for w in words] for words, _ in rows], [b for _, b in rows])
