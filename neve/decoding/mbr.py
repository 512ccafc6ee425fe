"""The words with the least expected word errors, and the posterior of each as its confidence.

All paths of the lattice vote, each with its probability: `neve.kernels.bayes_risk`. A word's times
are the mean of those that it has on the paths that say it there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neve.decoding.lattices import BestPath, Searched
from neve.decoding.word_paths import Lattice
from neve.errors import ConfigError
from neve.kernels.bayes_risk import WordLattice
from neve.results import Hypothesis, Word

RARE = 0.05  # of a word's probability: an arc with a smaller part does not count for its times


class MinimumBayesRisk(BestPath):
    """One hypothesis, whose score is minus its expected number of word errors."""

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if not config.posterior_scale > 0:
            raise ConfigError(f"decoding.posterior_scale={config.posterior_scale} must be positive")

    def second_pass(self, found, scales, texts=None):
        return [[self.least_risk(one)] for one in found]

    def least_risk(self, found: Searched) -> Hypothesis:
        if not found.lattice:
            return Hypothesis.nothing()
        spoken = SpokenLattice(found.lattice, self.said, self.config.posterior_scale)
        best = [word for arc in found.best for word in spoken.numbers[arc]]
        words, votes = spoken.words.least_risk(best)
        known: dict[tuple[int, ...], list[Word]] = {}
        timed, last = [], 0.0
        for place, word in enumerate(words):
            arcs, parts = voters(*votes.spoken[place], spoken.words.words == word)
            heard = [self.heard(found, spoken, arc, known) for arc in arcs.tolist()]
            times = [(one.start, one.end) for one in heard]
            begin, end = np.average(times, axis=0, weights=parts).tolist()
            begin = max(begin, last)  # a mean may reach into the next word's
            last = max(end, begin)
            confidence = min(1.0, float(votes.votes[2 * place + 1, word]))
            likeliest = heard[int(parts.argmax())]
            timed.append(Word(spoken.names[word], begin, last, confidence, likeliest.spoken))
        return Hypothesis(timed, -votes.risk, found.lattice.partial)

    def heard(self, found: Searched, spoken: SpokenLattice, arc: int, known) -> Word:
        """An arc's word as it is on the best path with it."""
        path, place = spoken.path_through(arc)
        key = tuple(path)
        if key not in known:
            known[key] = self.of_path(found, path, 0.0).words
        return known[key][place]


def voters(arcs: np.ndarray, parts: np.ndarray, says: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arcs that count for a word's times, and their weights.

    Args:
        arcs, parts: those that say the word at its place, and with which probability.
        says: (A,) which of all arcs say it at all. Where no probability is more than 0, being too
            small for a float, all these count, and equally.
    """
    total = parts.sum()
    if not total > 0:
        arcs = np.flatnonzero(says)
        return arcs, np.ones(len(arcs))
    much = parts >= RARE * total
    return arcs[much], parts[much]


class SpokenLattice:
    """The lattice with a written word at most on each arc; one with several becomes a chain.

    Attributes:
        numbers: of each arc of the lattice, the words that it says, as numbers from 1.
        names: the words of the numbers; 0 is none.
        words: the lattice that votes.

    Args:
        lattice: of an utterance.
        said: gives the written words of an arc's ids.
        scale: the lattice's scores are multiplied by this.
    """

    def __init__(
        self, lattice: Lattice, said: Callable[[tuple[int, ...]], list[str]], scale: float = 1.0
    ):
        ids: dict[str, int] = {}
        self.numbers = [
            tuple(ids.setdefault(name, len(ids) + 1) for name in said(words)) if words else ()
            for words in lattice.words
        ]
        self.names = ["", *ids]
        further = np.array([max(0, len(words) - 1) for words in self.numbers], np.int64)
        count = lattice.num_states
        more = np.bincount(lattice.src, further, count).astype(np.int64)
        place = np.arange(count) + np.cumsum(more) - more  # after each state those of its chains
        src, dst = place[lattice.src], place[lattice.dst]
        words = np.array([said[0] if said else 0 for said in self.numbers], np.int64)
        chains, free = [], place + 1
        for arc in np.flatnonzero(further).tolist():
            state, end = lattice.src[arc], dst[arc]
            dst[arc] = free[state]
            for word in self.numbers[arc][1:]:
                chains.append([free[state], free[state] + 1, word])
                free[state] += 1
            chains[-1][1] = end
        links = np.array(chains, np.int64).reshape(-1, 3)
        origin = np.concatenate((np.arange(len(dst)), np.full(len(links), -1)))
        src = np.concatenate((src, links[:, 0]))
        order = np.argsort(src, kind="stable")
        self._origin = origin[order]
        self.words = WordLattice(
            np.searchsorted(src[order], np.arange(count + len(links) + 1)),
            np.concatenate((dst, links[:, 1]))[order],
            np.concatenate((lattice.scores * scale, np.zeros(len(links))))[order],
            np.concatenate((words, links[:, 2]))[order],
        )

    def path_through(self, arc: int) -> tuple[list[int], int]:
        """The best path with an arc of `words`, as the lattice's arcs, and which of its words."""
        path = self.words.path_through(arc)
        before = path[: path.index(arc)]
        arcs = self._origin[path]
        return arcs[arcs >= 0].tolist(), int(np.count_nonzero(self.words.words[before]))
