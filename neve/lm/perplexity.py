"""How well an n-gram model predicts a text: perplexity, unknown words, hits of each order."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from neve.lm.arpa import BOS, EOS, UNK, ArpaLm, in_reach

TOKENS = 1 << 17  # that are scored together


@dataclass
class Perplexity:
    """How well a model predicts a text.

    sentences, words: counts; the end of a sentence is not a word. oov: words that the model does
    not know. log_prob: base 10, of all words and sentence ends but the OOV words. hits: for each
    order from 1, how many of these were predicted by an n-gram of that order. unknown: the OOV
    words with their counts.
    """

    sentences: int = 0
    words: int = 0
    oov: int = 0
    log_prob: float = 0.0
    hits: list[int] = field(default_factory=list)
    unknown: collections.Counter = field(default_factory=collections.Counter)

    @property
    def predicted(self) -> int:
        """Words without OOVs, and sentence ends."""
        return self.words - self.oov + self.sentences

    @property
    def value(self) -> float:
        """Perplexity per predicted token: words without OOVs, and sentence ends."""
        count = self.predicted
        return 10.0 ** (-self.log_prob / count) if count else math.nan

    def __add__(self, other: Perplexity) -> Perplexity:
        """That of both texts together."""
        return Perplexity(
            self.sentences + other.sentences,
            self.words + other.words,
            self.oov + other.oov,
            self.log_prob + other.log_prob,
            [sum(pair) for pair in itertools.zip_longest(self.hits, other.hits, fillvalue=0)],
            self.unknown + other.unknown,
        )

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences, {self.words} words, {self.oov} OOVs: "
            f"perplexity {self.value:.2f}"
        )


def perplexity(model: ArpaLm, sentences: Iterable[str | Sequence[str]]) -> Perplexity:
    """That of a text; words outside the vocabulary are counted, not predicted."""
    result = Perplexity(hits=[0] * model.order)
    for tokens, unknown in numbered(model, sentences, result.unknown):
        log_probs, orders = score_tokens(model, tokens)
        counted = (tokens != model.ids.get(BOS, -1)) & ~unknown
        result.log_prob += float(log_probs[counted].sum())
        hits = np.bincount(orders[counted], minlength=model.order + 1)[1:]
        result.hits = [one + int(other) for one, other in zip(result.hits, hits)]
        ends = int((tokens == model.ids[EOS]).sum())
        result.sentences += ends
        result.words += int(len(tokens) - ends - (tokens == model.ids.get(BOS, -1)).sum())
        result.oov += int(unknown.sum())
    return result


def numbered(
    model: ArpaLm,
    sentences: Iterable[str | Sequence[str]],
    counts: collections.Counter | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parts of a text, in whole sentences: (t,) ids and (t,) whether it is an unknown word.

    Sentences have <s> in front (if the model has it) and </s> behind. Unknown words have the id of
    <unk>, or -1 if the model has none; `counts` counts them.
    """
    begin = [model.ids[BOS]] if BOS in model.ids else []
    none = model.ids.get(UNK, -1)
    ids: list[int] = []
    unknown: list[int] = []
    for sentence in sentences:
        words = sentence.split() if isinstance(sentence, str) else sentence
        ids += begin
        for word in words:
            index = model.ids.get(word, -1)
            if index < 0 or word in (UNK, BOS, EOS):
                unknown.append(len(ids))
                index = none
                if counts is not None:
                    counts[word] += 1
            ids.append(index)
        ids.append(model.ids[EOS])
        if len(ids) >= TOKENS:
            yield _arrays(ids, unknown)
            ids, unknown = [], []
    if ids:
        yield _arrays(ids, unknown)


def _arrays(ids: list[int], unknown: list[int]) -> tuple[np.ndarray, np.ndarray]:
    flags = np.zeros(len(ids), bool)
    flags[unknown] = True
    return np.array(ids, np.int64), flags


def score_tokens(model: ArpaLm, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t,) log10 probability and (t,) order of the n-gram that gave it, for ids of `numbered`.

    The probability of -1 is -inf, its order 0. What <s> gets has no meaning.
    """
    first = model.levels[0]
    ends = np.flatnonzero(tokens == model.ids[EOS])
    starts = np.zeros(len(tokens), bool)  # where nothing of the same sentence comes before
    starts[0] = True
    starts[ends[ends + 1 < len(tokens)] + 1] = True
    found = [tokens]  # of each order, which n-gram ends here
    orders = (tokens >= 0).astype(np.int64)
    log_probs = np.where(tokens >= 0, in_reach(first.log_prob)[np.maximum(tokens, 0)], -math.inf)
    for level in model.levels[1:]:
        here = (tokens >= 0) & ~starts
        here[1:] &= found[-1][:-1] >= 0
        at = np.flatnonzero(here)
        rows = level.rows(found[-1][at - 1], tokens[at])
        index = np.full(len(tokens), -1)
        index[at] = rows
        found.append(index)
        at, rows = at[rows >= 0], rows[rows >= 0]
        log_probs[at] = in_reach(level.log_prob)[rows]
        orders[at] = len(found)
    for length, (level, index) in enumerate(zip(model.levels[:-1], found), start=1):
        here = (orders <= length) & ~starts
        here[1:] &= index[:-1] >= 0
        at = np.flatnonzero(here)
        log_probs[at] += in_reach(level.backoff)[index[at - 1]]
    return log_probs, orders
