"""Back-off n-gram models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neve.lm.disk import DiskArray

if TYPE_CHECKING:
    from neve.lm.perplexity import Perplexity

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
LN10 = math.log(10.0)  # ARPA files have logarithms to base 10
BLOCK = 1 << 18  # n-grams that are looked at together


@dataclass
class Level:
    """All n-grams of one order, in the order of (context, word).

    context: (m,) int64, index of the first n-1 words in the level below (0 for single words).
    word: (m,) int32, id of the last word. Level 1 has every word, at the index that is its id.
    log_prob, backoff: (m,) float64, base 10.
    count: (m,) how often the text has each, where the model was estimated here; else None.

    Each is an array in memory or, in a large model that has just been estimated, a DiskArray.
    """

    context: np.ndarray | DiskArray
    word: np.ndarray | DiskArray
    log_prob: np.ndarray | DiskArray
    backoff: np.ndarray | DiskArray
    count: np.ndarray | DiskArray | None = None

    def __len__(self) -> int:
        return len(self.word)

    def arrays(self) -> tuple[np.ndarray | DiskArray | None, ...]:
        """Its arrays, in the order in which it takes them."""
        return self.context, self.word, self.log_prob, self.backoff, self.count

    def row(self, context: int, word: int) -> int:
        """The index of the n-gram of `context` and `word`, or -1."""
        contexts, words = in_reach(self.context), in_reach(self.word)
        first = int(np.searchsorted(contexts, context, side="left"))
        last = int(np.searchsorted(contexts, context, side="right"))
        index = first + int(np.searchsorted(words[first:last], word))
        return index if index < last and words[index] == word else -1

    def rows(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """(q,) the index of each n-gram of (q,) contexts and words, or -1."""
        all_contexts, all_words = in_reach(self.context), in_reach(self.word)
        low = np.zeros(len(words), np.int64)
        high = np.full(len(words), len(self))
        while (low < high).any():
            middle = np.minimum((low + high) >> 1, len(self) - 1)
            at = all_contexts[middle]
            less = (at < contexts) | ((at == contexts) & (all_words[middle] < words))
            less &= low < high
            low = np.where(less, middle + 1, low)
            high = np.where(less, high, np.minimum(high, middle))
        at = np.minimum(low, max(0, len(self) - 1))
        if not len(self):
            return np.full(len(words), -1)
        found = (low < len(self)) & (all_contexts[at] == contexts) & (all_words[at] == words)
        return np.where(found, low, -1)


def in_reach(array: np.ndarray | DiskArray) -> np.ndarray:
    """The array for single elements here and there."""
    return array.mapped() if isinstance(array, DiskArray) else array


@dataclass
class ArpaLm:
    """An n-gram model with back-off: the content of an ARPA file.

    words: the vocabulary; the index of a word is its id. ids: the id of each word. levels: one for
    each order from 1.
    """

    words: list[str]
    levels: list[Level]
    ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self):
        self.ids = {word: index for index, word in enumerate(self.words)}

    @property
    def order(self) -> int:
        """The number of words of the longest n-grams."""
        return len(self.levels)

    def __contains__(self, word: str) -> bool:
        return word in self.ids

    def ngrams(self, order: int) -> list[str]:
        """All n-grams of `order` as words with spaces between them, in the order of their level."""
        return [name for _, names in self.ngram_blocks(order) for name in names]

    def ngram_blocks(self, order: int) -> Iterator[tuple[slice, list[str]]]:
        """Parts of the level of `order`: where they are, and their n-grams as `ngrams` has them."""
        count = len(self.levels[order - 1])
        for start in range(0, count, BLOCK):
            rows = np.arange(start, min(start + BLOCK, count))
            yield slice(start, start + len(rows)), self._names(order, rows)

    def _names(self, order: int, rows: np.ndarray) -> list[str]:
        """The n-grams at ascending `rows` of the level of `order`."""
        if order == 1:
            return [self.words[row] for row in rows.tolist()]
        level = self.levels[order - 1]
        contexts, places = np.unique(_at(level.context, rows), return_inverse=True)
        before = self._names(order - 1, contexts)
        words = _at(level.word, rows).tolist()
        return [
            f"{before[place]} {self.words[word]}" for place, word in zip(places.tolist(), words)
        ]

    def find(self, ids: Sequence[int]) -> int:
        """The index of an n-gram of word ids in the level of its length, or -1."""
        index = ids[0]
        for level, word in zip(self.levels[1:], ids[1:]):
            index = level.row(index, word)
            if index < 0:
                break
        return index

    def log_prob(self, history: Sequence[str], word: str) -> float:
        """log10 P(word | history); back-off over the last order-1 words of `history`.

        An unknown word has the probability of <unk>, or none (-inf) if the model has no <unk>.
        """
        unknown = self.ids.get(UNK, -1)
        known = [self.ids.get(name, unknown) for name in history]
        return self._log_prob(known, self.ids.get(word, unknown))

    def _log_prob(self, history: list[int], word: int) -> float:
        if word < 0:
            return -math.inf
        context = history[max(0, len(history) - self.order + 1) :]
        total = 0.0
        for start in range(len(context) + 1):
            ids = context[start:]
            if min(ids, default=0) < 0:
                continue
            index = self.find([*ids, word])
            if index >= 0:
                return total + float(self.levels[len(ids)].log_prob[index])
            index = self.find(ids)
            if index >= 0:
                total += float(self.levels[len(ids) - 1].backoff[index])
        raise AssertionError("every word of the vocabulary has a unigram")

    def score(self, sentence: str | Sequence[str], bos: bool = True, eos: bool = True) -> float:
        """log10 probability of a sentence (words, or a string of them), with its ends."""
        words = sentence.split() if isinstance(sentence, str) else list(sentence)
        unknown = self.ids.get(UNK, -1)
        ids = [self.ids.get(word, unknown) for word in words]
        history = [self.ids[BOS]] if bos and BOS in self.ids else []
        total = 0.0
        for word in [*ids, self.ids[EOS]] if eos else ids:
            total += self._log_prob(history, word)
            history.append(word)
        return total

    def perplexity(self, sentences: Iterable[str | Sequence[str]]) -> Perplexity:
        """See `neve.lm.perplexity`."""
        from neve.lm.perplexity import perplexity

        return perplexity(self, sentences)

    def word_ids(self, order: int, rows: slice = slice(None)) -> np.ndarray:
        """(m, order) word ids of the n-grams of `order`, or of those at `rows`."""
        level = self.levels[order - 1]
        words = np.empty((len(in_reach(level.word)[rows]), order), np.int32)
        words[:, -1] = in_reach(level.word)[rows]
        places = in_reach(level.context)[rows]
        for number in range(order - 1, 0, -1):
            level = self.levels[number - 1]
            words[:, number - 1] = in_reach(level.word)[places]
            places = in_reach(level.context)[places]
        return words

    def log_probs(self, words: np.ndarray) -> np.ndarray:
        """(m,) log10 P(last word | those before), with back-off, of (m, n) word ids.

        -1 is an unknown word, in the model without <unk>: -inf as the last word; otherwise nothing
        is seen of it and what is before.
        """
        words = words[:, max(0, words.shape[1] - self.order) :].astype(np.int64)
        last = words[:, -1]
        result = np.full(len(words), -math.inf)
        total = np.zeros(len(words))
        open_rows = np.flatnonzero(last >= 0)
        for start in range(words.shape[1]):
            if not len(open_rows):
                break
            context = words[open_rows, start] if start < words.shape[1] - 1 else None
            if context is None:
                result[open_rows] = (
                    total[open_rows] + in_reach(self.levels[0].log_prob)[last[open_rows]]
                )
                break
            number = 1
            for place in range(start + 1, words.shape[1] - 1):
                context = self._extend(number, context, words[open_rows, place])
                number += 1
            row = self._extend(number, context, last[open_rows])
            done, known = row >= 0, context >= 0
            at = open_rows[done]
            result[at] = total[at] + in_reach(self.levels[number].log_prob)[row[done]]
            more = ~done & known
            total[open_rows[more]] += in_reach(self.levels[number - 1].backoff)[context[more]]
            open_rows = open_rows[~done]
        return result

    def _extend(self, number: int, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The rows in level `number` (from 0) of `contexts` (or -1) and `words` (or -1)."""
        rows = np.full(len(words), -1)
        at = np.flatnonzero((contexts >= 0) & (words >= 0))
        rows[at] = self.levels[number].rows(contexts[at], words[at])
        return rows


def _at(array: np.ndarray | DiskArray, rows: np.ndarray) -> np.ndarray:
    """The elements at ascending `rows`; where these are close together, what is read is a slice,
    and none of a file stays in memory."""
    first, stop = int(rows[0]), int(rows[-1]) + 1
    if stop - first > 8 * len(rows):
        return in_reach(array)[rows]
    return array[first:stop][rows - first]


def in_memory(model: ArpaLm) -> ArpaLm:
    """The model with all its arrays in memory, so that no file of it is needed any more."""
    levels = [
        Level(*(None if values is None else np.asarray(values) for values in level.arrays()))
        for level in model.levels
    ]
    return ArpaLm(model.words, levels)
