"""What could be reached: the words of the n-best list, or of the lattice, nearest to the reference.

The lattice is followed by the edit-distance automaton of the reference, as in Mohri, "Edit-distance
of weighted automata: general definitions and algorithms" (IJFCS 14, 2003), and its best path taken:
the fewest errors, and among equals the lattice's own score.
"""

from __future__ import annotations

import numpy as np

from neve.decoding.lattices import BestPath, Nbest
from neve.decoding.word_paths import Lattice
from neve.errors import ConfigError
from neve.results import Hypothesis


def needed(texts: list[str] | None, method: str) -> list[str]:
    if texts is None or any(text is None for text in texts):
        raise ConfigError(f"decoding.method {method} needs the reference texts of what it decodes")
    return texts


class NbestOracle(Nbest):
    """The n-best list by its word errors; of equals, by its scores."""

    def second_pass(self, found, scales, texts=None):
        from kaldialign import edit_distance

        result = []
        for one, text in zip(found, needed(texts, self.config.method)):
            reference = text.split()
            ranked = sorted(
                self.ranked(one, scales),
                key=lambda pair: edit_distance(reference, self.said(pair[1].said))["total"],
            )
            result.append(self.listed(one, ranked))
        return result


class LatticeOracle(BestPath):
    """The path of the lattice with the fewest word errors; of equals, that with the best score."""

    def second_pass(self, found, scales, texts=None):
        result = []
        for one, text in zip(found, needed(texts, self.config.method)):
            if not one.lattice:
                result.append([Hypothesis.nothing()])
                continue
            words = self.lang.words
            reference = [words[word] if word in words else -1 for word in text.split()]
            silent = {word for said in one.lattice.words for word in said if not self.said((word,))}
            arcs = nearest_path(one.lattice, reference, silent)
            result.append([self.of_path(one, arcs, float(one.lattice.scores[arcs].sum()))])
        return result


def nearest_path(lattice: Lattice, reference: list[int], silent: set[int]) -> list[int]:
    """The arcs of the path with the fewest word errors; words of `silent` are none.

    Each state has for every place of the reference the least errors with which a path that has
    said the words before that place can be there.
    """
    places = np.arange(len(reference) + 1)
    spelled = np.array([*reference, -2])
    count = lattice.num_states
    errors = np.full((count, len(places)), np.inf)
    scores = np.full((count, len(places)), -np.inf)
    back = np.full((count, len(places)), -1)
    origin = np.zeros((count, len(places)), np.int64)
    errors[0], scores[0] = places, 0.0  # what was left out until here
    src, dst = lattice.src.tolist(), lattice.dst.tolist()
    for arc, said in enumerate(lattice.words):
        wrong, score, came = errors[src[arc]], scores[src[arc]] + lattice.scores[arc], places
        for word in said:
            if word not in silent:
                wrong, score, came = _after(word, spelled, wrong, score, came)
        to = dst[arc]
        better = (wrong < errors[to]) | ((wrong == errors[to]) & (score > scores[to]))
        errors[to][better], scores[to][better] = wrong[better], score[better]
        back[to][better], origin[to][better] = arc, came[better]
    path, state, place = [], count - 1, len(reference)
    while state:
        arc = int(back[state, place])
        path.append(arc)
        state, place = src[arc], int(origin[state, place])
    return path[::-1]


def _after(word, spelled, wrong, score, came):
    """Errors, scores and places of origin after one more word."""
    errors, best, origin = wrong + 1, score.copy(), came.copy()  # inserted
    over = wrong[:-1] + (spelled[:-1] != word)  # matched or substituted
    better = (over < errors[1:]) | ((over == errors[1:]) & (score[:-1] > best[1:]))
    errors[1:][better], best[1:][better] = over[better], score[:-1][better]
    origin[1:][better] = came[:-1][better]
    for place in range(1, len(errors)):  # words of the reference that are left out
        left = errors[place - 1] + 1
        if left < errors[place] or (left == errors[place] and best[place - 1] > best[place]):
            errors[place], best[place] = left, best[place - 1]
            origin[place] = origin[place - 1]
    return errors, best, origin
