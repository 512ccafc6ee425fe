"""Spotting keywords in the output of a CTC model; each detection has a score to hold against a bar.

The graph has the keywords beside a filler, a loop of all tokens and blank, and a path may change
from the filler to a keyword and back in any frame. The score of a detection is the likelihood ratio
of the best alignment of the keyword to the filler's best path over the same frames, taken as the
geometric mean over the keyword's tokens: 1 where the model hears exactly the keyword, near 0 where
it hears something else (log-likelihood ratios of keyword and filler models: Rose and Paul, "A
hidden Markov model based keyword recognition system", ICASSP 1990). As the filler's best path is
the best class of each frame, all keywords are searched for at once, frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neve.errors import NeveError

DEAD = -1e30
HOLD = 15  # frames that a better match of the same keyword is waited for


@dataclass(frozen=True)
class Detection:
    """A keyword in frames start..end-1; score in (0, 1]."""

    keyword: str
    start: int
    end: int
    score: float


class KeywordSpotter:
    """Looks for keywords in a stream of log-probabilities; frames are counted from the last reset.

    Of detections of one keyword that overlap only the best is reported.
    """

    def __init__(
        self,
        keywords: Mapping[str, Sequence[Sequence[int]]],
        threshold: float = 0.5,
        thresholds: Mapping[str, float] | None = None,
        hold: int = HOLD,
    ):
        """
        Args:
            keywords: of each keyword the token ids of its pronunciations (see `keyword_tokens`).
            threshold: the score that a detection must have, in (0, 1].
            thresholds: those of single keywords.
            hold: frames that a detection is held back for a better one; the delay of a stream.

        Raises NeveError for a keyword without tokens or with ids below 1, and bad thresholds.
        """
        self.names = list(keywords)
        if not self.names:
            raise NeveError("keywords: there is none")
        bars = {**dict.fromkeys(self.names, threshold), **(thresholds or {})}
        unknown = sorted(set(bars) - set(self.names))
        if unknown:
            raise NeveError(f"thresholds: {unknown[0]} is not among the keywords")
        for name, bar in bars.items():
            if not 0.0 < bar <= 1.0:
                raise NeveError(f"threshold of {name}: {bar} is not above 0 and at most 1")
        labels, first, skip, ends, owner, lengths = [], [], [], [], [], []
        for number, name in enumerate(self.names):
            if not keywords[name]:
                raise NeveError(f"keywords: {name} has no pronunciation")
            for tokens in keywords[name]:
                if not len(tokens) or min(tokens) < 1:
                    raise NeveError(f"keywords: {name} has no tokens, or ids below 1")
                for place, token in enumerate(tokens):
                    if place:  # a blank may stand between, and must where a token is repeated
                        labels.append(0)
                        first.append(False)
                        skip.append(False)
                    labels.append(int(token))
                    first.append(place == 0)
                    skip.append(place > 0 and token != tokens[place - 1])
                ends.append(len(labels) - 1)
                owner.append(number)
                lengths.append(len(tokens))
        self._labels = np.array(labels)
        self._first, self._skip = np.array(first), np.array(skip)
        self._ends, self._owner = np.array(ends), np.array(owner)
        self._lengths = np.array(lengths, np.float64)
        self._bars = np.log([bars[name] for name in self.names])
        self._hold = hold
        self.reset()

    def reset(self) -> None:
        """Forget all that was read."""
        self._scores = np.full(len(self._labels), DEAD)
        self._starts = np.zeros(len(self._labels), np.int64)
        self._frame = 0
        self._pending: dict[int, tuple[float, int, int]] = {}
        self._done: list[Detection] = []

    def spot(self, log_probs: np.ndarray) -> list[Detection]:
        """All detections in (T, C) log-probabilities of a whole recording, by their ends."""
        self.reset()
        return [*self.accept(log_probs), *self.finish()]

    def accept(self, log_probs: np.ndarray) -> list[Detection]:
        """Read the next (T, C) frames of a stream; the detections that have become certain."""
        log_probs = np.asarray(log_probs, np.float64)
        if log_probs.ndim != 2 or log_probs.shape[1] <= self._labels.max():
            raise NeveError(
                f"log_probs has the shape {log_probs.shape}, but (frames, classes) with a class "
                f"for token {self._labels.max()} are needed; is this the lang of the model?"
            )
        ratios = log_probs - log_probs.max(axis=1, keepdims=True)
        found = []
        for row in ratios:
            found += self._step(row[self._labels])
        return found

    def finish(self) -> list[Detection]:
        """The detections that were still held back when the stream ended."""
        found = [self._detection(number) for number in list(self._pending)]
        self._pending.clear()
        return sorted(found, key=lambda one: (one.end, one.keyword))

    def _step(self, ratios: np.ndarray) -> list[Detection]:
        scores, starts = self._scores, self._starts
        best, begin = scores.copy(), starts.copy()
        for back, allowed in ((1, ~self._first), (2, self._skip)):
            came = np.full(len(scores), DEAD)
            came[back:] = scores[:-back]
            better = allowed & (came > best)
            best[better] = came[better]
            begin[better] = starts[np.flatnonzero(better) - back]
        enter = self._first & (best < 0.0)  # the filler's path up to here has the ratio 0
        best[enter] = 0.0
        begin[enter] = self._frame
        self._scores, self._starts = np.maximum(best + ratios, DEAD), begin
        self._frame += 1
        means = self._scores[self._ends] / self._lengths
        for way in np.flatnonzero(means >= self._bars[self._owner]).tolist():
            self._note(int(self._owner[way]), float(means[way]), int(begin[self._ends[way]]))
        certain = [n for n, (_, _, end) in self._pending.items() if self._frame >= end + self._hold]
        found = [self._detection(number) for number in certain]
        for number in certain:
            del self._pending[number]
        return self._flush(found)

    def _note(self, number: int, mean: float, start: int) -> None:
        """A match that ends in this frame: keep the better one of those that overlap."""
        old = self._pending.get(number)
        if old is not None and start >= old[2]:
            self._done.append(self._detection(number))
            old = None
        if old is None or mean > old[0]:
            self._pending[number] = (mean, start, self._frame)

    def _flush(self, found: list[Detection]) -> list[Detection]:
        found = [*self._done, *found]
        self._done.clear()
        return sorted(found, key=lambda one: (one.end, one.keyword))

    def _detection(self, number: int) -> Detection:
        mean, start, end = self._pending[number]
        return Detection(self.names[number], start, end, float(np.exp(mean)))


def keyword_tokens(lang, keywords: Sequence[str]) -> dict[str, list[list[int]]]:
    """Token ids of the pronunciations of keywords, which may be phrases.

    Phrases take each word's pronunciations in all combinations. Raises UnknownWordError for words
    that the lang directory cannot spell.
    """
    result = {}
    for keyword in keywords:
        ways: list[list[int]] = [[]]
        for word in keyword.split():
            spoken = lang.pronunciations(word)
            ways = [way + tokens for way in ways for tokens in spoken]
        result[keyword] = [list(way) for way in dict.fromkeys(map(tuple, ways))]
    return result
