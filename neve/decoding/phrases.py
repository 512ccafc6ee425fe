"""The list `decoding.phrases`: what a search favours, for each default boost that is tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neve.decoding.spelling import spelled
from neve.decoding.transducer.histories import Histories
from neve.decoding.transducer.paths import Partial
from neve.errors import NeveError, named
from neve.graphs import BiasingGraph, read_phrases, word_biasing
from neve.lang import Lang


class PhraseList:
    """A list of phrases over tokens or words of a lang directory, which gives them its normal form.

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
        # without a boost of its own: NaN, which no list can have
        given = read_phrases(path, lang.normal, boost=math.nan)
        self._given = given
        self._own = np.array([boost for _, boost in given])
        self._graph: BiasingGraph | None = None
        self._boost: float | None = None
        words = dict.fromkeys(word for phrase, _ in given for word in phrase)
        if biasing is word_biasing:
            missing = [word for word in words if not lang.is_word(word)]
            remedy = "add them first (`neve graph --add-words FILE`)"
        else:
            missing = [word for word in words if spelled(word, lang) is None]
            remedy = "write them as transcripts are written"
        if missing:
            raise NeveError(
                f"{path}: {named(missing)} cannot be recognised with {lang.directory}; {remedy}, "
                "or leave them out"
            )

    def with_boost(self, boost: float) -> BiasingGraph | None:
        """The automaton; phrases without a boost of their own have this. None if all are 0."""
        boosts = np.where(np.isnan(self._own), boost, self._own)
        if not boosts.any():
            return None
        if self._graph is None:
            pairs = zip((words for words, _ in self._given), boosts.tolist())
            self._graph = self.biasing(self.lang, pairs)
            self._given = []  # the automaton has them
        elif self._boost != boost:
            self._graph = self._graph.with_boosts(boosts)
        self._boost = boost
        return self._graph


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
        """The state after a history."""
        missing = []
        while node not in self.states:
            missing.append(node)
            node = histories.parents[node]
        state = self.states[node]
        for node in reversed(missing):
            state, _ = self.graph.step(state, histories.labels[node])
            self.states[node] = state
        return state

    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """(M, V) what is added to the log-probabilities of the next token after each history."""
        states = [self._state(node, histories) for node in nodes]
        return torch.from_numpy(self.graph.deltas(states, self.tokens)).to(histories.device)

    def end(self, node: int, histories: Histories) -> float:
        """What is added at the end of a history: minus what its unfinished phrases have earned."""
        return self.graph.finish(self._state(node, histories))

    def end_all(self, beams: Iterable[list[Partial]], histories: Histories) -> None:
        """Add `end` to the scores of hypotheses that are at their end."""
        for partial in (partial for partials in beams for partial in partials):
            partial.score += self.end(partial.node, histories)


def favoured_labels(log_probs: np.ndarray, graph: BiasingGraph) -> tuple[np.ndarray, float]:
    """(labels (T,), score) of (T, C) log-probabilities of CTC, chosen frame by frame with phrases.

    A token earns its part where it begins, not where it goes on. What it would take back of a
    phrase that is begun counts among tokens that begin, and not against blank or the token before.
    """
    labels, total = np.zeros(len(log_probs), np.int64), 0.0
    state = before = 0
    for frame, scores in enumerate(log_probs):
        (added,) = graph.deltas([state], len(scores))
        stay = before if before and scores[before] > scores[0] else 0
        begins = scores + added
        gains = scores + np.maximum(added, 0.0)
        begins[[0, before]] = gains[[0, before]] = -np.inf
        if gains.max() > scores[stay]:
            stay = int(begins.argmax())
            total += begins[stay]
            state, _ = graph.step(state, stay)
        else:
            total += scores[stay]
        labels[frame] = before = stay
    return labels, float(total + graph.finish(state))
