"""N-gram models that score words one after another, with back-off only where an n-gram is missing.

The automaton is a G in which the label #0 leads to the shorter history. A word takes the n-gram of
the longest history that has it (failure arcs: Allauzen, Mohri and Roark, "Generalized algorithms
for constructing statistical language models", ACL 2003), so that each sequence of words has one
score, which is that of the ARPA file.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.fsa import Graph
from neve.graphs import build_G
from neve.lang import Lang
from neve.lm import read_arpa
from neve.lm.arpa import BOS, EOS, LN10
from neve.lm.perplexity import numbered, score_tokens

NEVER = -99.0 * LN10  # of a word that the model lacks: what ARPA files write for never
END = -1
NO_WORD = 1 << 30  # the id of a word that words.txt lacks
ARPA_SUFFIXES = (".arpa", ".gz")


class WordLm:
    """States are numbers; `start` is that of the beginning of a sentence.

    Args:
        graph: a G, deterministic but for its back-off arcs.
        backoff: the label of those.
        unknown: the id of the unknown word, whose score words get that the model lacks.
        where: what errors name.
    """

    def __init__(self, graph: Graph, backoff: int, unknown: int | None = None, where="G"):
        if graph.num_states == 0:
            raise NeveError(f"{where}: there is nothing in it")
        src = graph.src.astype(np.int64)
        width = int(graph.labels.max(initial=0)) + 2
        keys = src * width + graph.labels + 1  # END is 0
        order = np.argsort(keys, kind="stable")
        self._keys, self._width = keys[order], width
        self._dst, self._scores = graph.dst[order], graph.scores[order].astype(np.float64)
        if (graph.labels == 0).any() or (np.diff(self._keys) == 0).any():
            raise NeveError(
                f"{where}: an arc without a word, or two of one word from the same state; an "
                "n-gram is needed here (lm.arpa, or the G.fst.txt made of it)"
            )
        self._backoff, self._unknown = backoff, unknown
        self._known: dict[tuple[int, int], tuple[int, float]] = {}
        self.start = 0

    @classmethod
    def read(cls, path: str | os.PathLike, lang: Lang, scale: float = 1.0) -> WordLm:
        """The model of an ARPA file (.arpa, .gz), or of the text of a G over the words of `lang`.

        Scores are multiplied by scale. Raises NeveError naming a file that cannot be read.
        """
        path = Path(path)
        if path.suffix in ARPA_SUFFIXES:
            from neve.lm import arpa_to_fst

            with tempfile.TemporaryDirectory() as scratch:
                text = Path(scratch) / "G.fst.txt"
                arpa_to_fst(path, lang.directory / "words.txt", text)
                graph = build_G(text, scale)
        else:
            graph = build_G(path, scale)
        if "#0" not in lang.words:
            raise NeveError(f"{lang.directory / 'words.txt'}: no symbol #0; run stage 3 again")
        names = [name for name in (lang.unk_word, "<unk>", "<UNK>") if name in lang.words]
        return cls(graph, lang.words["#0"], lang.words[names[0]] if names else None, path)

    @classmethod
    def uniform(cls, words: list[int], scale: float = 1.0) -> WordLm:
        """All words equally likely, and the end of a sentence certain, as in a graph HL."""
        labels = np.array([*sorted(words), END])
        scores = np.where(labels == END, 0.0, -scale * math.log(len(words)))
        ends = labels == END
        return cls(Graph.from_arcs(2, 0 * labels, ends * 1, labels, scores, labels), 2**30)

    def step(self, state: int, word: int) -> tuple[int, float]:
        """The state after `word` and its log-probability."""
        found = self._known.get((state, word))
        if found is None:
            found = self._known[state, word] = self._look_up(state, word)
        return found

    def end(self, state: int) -> float:
        """The log-probability that the sentence ends."""
        return self.step(state, END)[1]

    def score(self, words) -> float:
        """The log-probability of a sentence of word ids, its end included."""
        state, total = self.start, 0.0
        for word in words:
            state, score = self.step(state, word)
            total += score
        return total + self.end(state)

    def _look_up(self, state: int, word: int) -> tuple[int, float]:
        here, total = state, 0.0
        while True:
            found = self._find(here, word)
            if found is not None:
                return found[0], total + found[1]
            lower = self._find(here, self._backoff)
            if lower is None:
                break
            here, total = lower[0], total + lower[1]
        if word not in (self._unknown, END) and self._unknown is not None:
            return self.step(state, self._unknown)
        return here, NEVER

    def _find(self, state: int, label: int) -> tuple[int, float] | None:
        if label + 2 > self._width:
            return None
        key = state * self._width + label + 1
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        return int(self._dst[place]), float(self._scores[place])


class SentenceLm:
    """What an n-gram of words says of sentences as they are written.

    An ARPA file has words of its own, whatever words.txt has; a G has those of `lang`. Words that
    it lacks are its unknown word, or as improbable as `NEVER`.

    Args:
        path: an ARPA file (.arpa, .gz), or the text of a G.
        lang: of which the G is.

    Raises:
        NeveError: the file cannot be read; it is named.
    """

    def __init__(self, path: str | os.PathLike, lang: Lang):
        self.words = lang.words
        self.arpa = self.graph = None
        if Path(path).suffix in ARPA_SUFFIXES:
            self.arpa = read_arpa(path)
        else:
            self.graph = WordLm.read(path, lang)

    def score(self, sentences: Sequence[Sequence[str]]) -> list[float]:
        """The log-probabilities of sentences, given as their words, ends included."""
        if self.graph is not None:
            numbers = ((self._number(word) for word in words) for words in sentences)
            return [self.graph.score(ids) for ids in numbers]
        totals: list[float] = []
        for tokens, _ in numbered(self.arpa, sentences):
            found = score_tokens(self.arpa, tokens)[0] * LN10
            found = np.where(np.isfinite(found), found, NEVER)
            found[tokens == self.arpa.ids.get(BOS, NO_WORD)] = 0.0
            ends = np.flatnonzero(tokens == self.arpa.ids[EOS])
            totals += np.add.reduceat(found, np.concatenate(([0], ends[:-1] + 1))).tolist()
        return totals

    def _number(self, word: str) -> int:
        return self.words[word] if word in self.words else NO_WORD
