"""Back-off n-gram models in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

BOS, EOS, UNK = "<s>", "</s>", "<unk>"


@dataclass
class Level:
    """All n-grams of one order, in the order of (context, word).

    context: (m,) int64, index of the first n-1 words in the level below (0 for single words).
    word: (m,) int32, id of the last word. Level 1 has every word, at the index that is its id.
    log_prob, backoff: (m,) float64, base 10.
    """

    context: np.ndarray
    word: np.ndarray
    log_prob: np.ndarray
    backoff: np.ndarray

    def __len__(self) -> int:
        return len(self.word)


@dataclass
class Perplexity:
    """How well a model predicts a text.

    sentences, words: counts; the end of a sentence is not a word. oov: words that the model does
    not know. log_prob: base 10, of all words and sentence ends but the OOV words.
    """

    sentences: int = 0
    words: int = 0
    oov: int = 0
    log_prob: float = 0.0

    @property
    def value(self) -> float:
        """Perplexity per predicted token: words without OOVs, and sentence ends."""
        count = self.words - self.oov + self.sentences
        return 10.0 ** (-self.log_prob / count) if count else math.nan

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences, {self.words} words, {self.oov} OOVs: "
            f"perplexity {self.value:.2f}"
        )


@dataclass
class ArpaLm:
    """An n-gram model with back-off: the content of an ARPA file.

    words: the vocabulary; the index of a word is its id. levels: one for each order from 1.
    """

    words: list[str]
    levels: list[Level]
    _ids: dict[str, int] = field(init=False, repr=False)
    _index: list[dict[int, int]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self):
        self._ids = {word: index for index, word in enumerate(self.words)}

    @property
    def order(self) -> int:
        """The number of words of the longest n-grams."""
        return len(self.levels)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def ngrams(self, order: int) -> list[str]:
        """All n-grams of `order` as words with spaces between them, in the order of their level."""
        names = list(self.words)
        for level in self.levels[1:order]:
            names = [
                f"{names[context]} {self.words[word]}"
                for context, word in zip(level.context.tolist(), level.word.tolist())
            ]
        return names

    def find(self, ids: Sequence[int]) -> int:
        """The index of an n-gram of word ids in the level of its length, or -1."""
        if self._index is None:
            size = len(self.words)
            self._index = [{}]
            for level in self.levels[1:]:
                keys = (level.context * size + level.word).tolist()
                self._index.append({key: index for index, key in enumerate(keys)})
        index = ids[0]
        for length, word in enumerate(ids[1:], start=1):
            index = self._index[length].get(index * len(self.words) + word, -1)
            if index < 0:
                break
        return index

    def log_prob(self, history: Sequence[str], word: str) -> float:
        """log10 P(word | history); back-off over the last order-1 words of `history`.

        An unknown word has the probability of <unk>, or none (-inf) if the model has no <unk>.
        """
        unknown = self._ids.get(UNK, -1)
        known = [self._ids.get(name, unknown) for name in history]
        return self._log_prob(known, self._ids.get(word, unknown))

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
        unknown = self._ids.get(UNK, -1)
        ids = [self._ids.get(word, unknown) for word in words]
        history = [self._ids[BOS]] if bos and BOS in self._ids else []
        total = 0.0
        for word in [*ids, self._ids[EOS]] if eos else ids:
            total += self._log_prob(history, word)
            history.append(word)
        return total

    def perplexity(self, sentences: Iterable[str | Sequence[str]]) -> Perplexity:
        """Perplexity of a text; words outside the vocabulary are counted, not predicted."""
        result = Perplexity()
        unknown = self._ids.get(UNK, -1)
        for sentence in sentences:
            words = sentence.split() if isinstance(sentence, str) else list(sentence)
            history = [self._ids[BOS]] if BOS in self._ids else []
            for word in [*words, EOS]:
                index = self._ids.get(word, unknown)
                if word in self._ids and word != UNK:
                    result.log_prob += self._log_prob(history, index)
                else:
                    result.oov += 1
                history.append(index)
            result.words += len(words)
            result.sentences += 1
        return result
