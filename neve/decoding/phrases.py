"""The list `decoding.phrases`: what a search favours, for each default boost that is tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neve.decoding.transducer.histories import Histories
from neve.errors import NeveError
from neve.graphs import BiasingGraph, read_phrases, word_biasing
from neve.lang import Lang, UnknownWordError
from neve.lang.tokenizers import UNKNOWN


class PhraseList:
    """A list of phrases, in the form of the transcripts, over tokens or words of a lang directory.

    Args:
        path: the list, as `neve.graphs.read_phrases` reads it.
        lang: spells the phrases.
        biasing: `token_biasing` or `word_biasing`.

    Raises:
        NeveError: the list is missing or malformed, or has words (all are named) that the search
            cannot find, for the lang directory cannot spell them, or words.txt lacks them.
    """

    def __init__(self, path: str | Path, lang: Lang, biasing: Callable[..., BiasingGraph]):
        self.path, self.lang, self.biasing = Path(path), lang, biasing
        given = read_phrases(path)
        self._known: tuple[float, BiasingGraph | None] | None = None
        words = dict.fromkeys(word for phrase, _ in given for word in phrase)
        if biasing is word_biasing:
            missing = [word for word in words if not lang.is_word(word)]
            remedy = "add them first (`neve graph --add-words FILE`)"
        else:
            missing = [word for word in words if not spelled(word, lang)]
            remedy = "write them as transcripts are written"
        if missing:
            raise NeveError(
                f"{path}: {', '.join(missing[:20])}"
                f"{f' and {len(missing) - 20} more' if len(missing) > 20 else ''} cannot be "
                f"recognised with {lang.directory}; {remedy}, or leave them out"
            )

    def with_boost(self, boost: float) -> BiasingGraph | None:
        """The automaton; phrases without a boost of their own have this. None if all are 0."""
        if self._known is None or self._known[0] != boost:
            phrases = read_phrases(self.path, boost=boost)
            graph = self.biasing(self.lang, phrases) if any(own for _, own in phrases) else None
            self._known = boost, graph
        return self._known[1]


def spelled(word: str, lang: Lang) -> bool:
    """Whether the tokens of `lang` spell a word without the token for what is unknown."""
    if lang.kind == "phone":
        return lang.is_word(word)
    try:
        ids = lang.encode(word)
    except UnknownWordError:
        return False
    return UNKNOWN not in lang.tokens or lang.tokens[UNKNOWN] not in ids


class PhraseBonus:
    """The phrases' part of one search over token histories; a history's state is kept.

    Args:
        graph: over the transducer's tokens.
        tokens: number of these, blank (0) included.
    """

    def __init__(self, graph: BiasingGraph, tokens: int):
        self.graph, self.tokens = graph, tokens
        self.states = {0: graph.start}

    def _state(self, node: int, histories: Histories) -> int:
        """The state after a history, which is one token longer than one that was asked for."""
        if node not in self.states:
            before = self.states[histories.parents[node]]
            self.states[node], _ = self.graph.step(before, histories.labels[node])
        return self.states[node]

    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """(M, V) what is added to the log-probabilities of the next token after each history."""
        states = np.array([self._state(node, histories) for node in nodes], np.int64)
        _, added = self.graph.step(states[:, None], np.arange(self.tokens)[None])
        added[:, 0] = 0.0  # blank says nothing
        return torch.from_numpy(added).float()

    def end(self, node: int, histories: Histories) -> float:
        """What is added at the end of a history: minus what its unfinished phrases have earned."""
        return self.graph.finish(self._state(node, histories))
