"""The words with the least expected word errors, and the posterior of each as its confidence.

The words of each place are voted for by the word sequences of the n-best list, with the posterior
of a sequence in the lattice (all of its paths) as its weight, until the expected number of errors
falls no further: Xu, Povey, Mangu and Zhu, "Minimum Bayes risk decoding and system combination
based on a recursion for edit distance" (Computer Speech and Language 25, 2011), with the list in
place of the lattice's recursion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neve.decoding.lattices import Nbest
from neve.decoding.word_paths import Lattice
from neve.results import Hypothesis, Word

NOTHING = ""


class Place(NamedTuple):
    """A word of the result, its posterior, and (sequence, position) where it is likeliest."""

    word: str
    posterior: float
    origin: tuple[int, int]


class MinimumBayesRisk(Nbest):
    """One hypothesis, whose score is minus its expected number of word errors."""

    def second_pass(self, found, scales, texts=None):
        return [[self.least_risk(one)] for one in found]

    def least_risk(self, found) -> Hypothesis:
        if not found.candidates:
            return Hypothesis([], -1e30)
        lattice: Lattice = found.lattice
        merged: dict[tuple[str, ...], float] = {}
        paths = {}
        for candidate in found.candidates:
            text = tuple(self.said(candidate.words))
            merged[text] = np.logaddexp(merged.get(text, -np.inf), candidate.path.total)
            paths.setdefault(text, candidate.path)
        texts = list(merged)
        logs = np.array([merged[text] for text in texts])
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        places, risk = least_risk(texts, weights.tolist())
        timed: dict[int, list[Word]] = {}
        words, last = [], 0.0
        for place in places:
            sequence, position = place.origin
            if sequence not in timed:
                path = paths[texts[sequence]]
                timed[sequence] = self.of_path(found, path.arcs, path.score).words
            word = timed[sequence][position]
            begin = max(word.start, last)
            last = max(word.end, begin)
            words.append(Word(place.word, begin, last, min(1.0, place.posterior)))
        return Hypothesis(words, -risk, lattice.partial)


def least_risk(
    sequences: Sequence[Sequence[str]], weights: Sequence[float]
) -> tuple[list[Place], float]:
    """The words with the least expected edit distance, and that distance.

    It begins with the sequence whose own is the least (Stolcke, König and Weintraub, "Explicit word
    error minimization in N-best list rescoring", Eurospeech 1997), and votes from there.

    Args:
        sequences: different word sequences.
        weights: their probabilities, of the sum 1.
    """
    now = list(min(sequences, key=lambda sequence: _risk(sequences, weights, sequence)))
    while True:
        risk, votes = _votes(sequences, weights, now)
        chosen = [max(place, key=lambda word: (place[word][0], word != NOTHING)) for place in votes]
        places = [
            Place(word, place[word][0], place[word][2])
            for word, place in zip(chosen, votes)
            if word != NOTHING
        ]
        better = [place.word for place in places]
        if better == now or _risk(sequences, weights, better) >= risk - 1e-9:
            # what stands: the words of `now`, which are at the odd places of the votes
            kept = [
                Place(word, place[word][0], place[word][2])
                for word, place in zip(now, votes[1::2])
                if word in place
            ]
            if len(kept) == len(now):
                return kept, risk
            return places, _risk(sequences, weights, better)
        now = better


def _risk(sequences, weights, words) -> float:
    from kaldialign import edit_distance

    words = list(words)
    return sum(
        weight * edit_distance(list(sequence), words)["total"]
        for sequence, weight in zip(sequences, weights)
    )


def _votes(sequences, weights, now) -> tuple[float, list[dict]]:
    """The expected errors of `now`, and at each place (before, at and after its words) the words.

    Of each word its total weight, and the weight and position of the likeliest sequence with it.
    """
    votes: list[dict] = [{} for _ in range(2 * len(now) + 1)]
    risk = 0.0
    for number, (sequence, weight) in enumerate(zip(sequences, weights)):
        errors, pairs = _alignment(now, sequence)
        risk += weight * errors
        here = [(NOTHING, -1)] * len(votes)
        for place, position in pairs:
            if here[place][1] < 0:  # of several words between two, the first
                here[place] = (sequence[position], position)
        for place, (word, position) in zip(votes, here):
            total, most, origin = place.get(word, (0.0, -math.inf, None))
            if weight > most:
                most, origin = weight, (number, position)
            place[word] = (total + weight, most, origin)
    return risk, votes


def _alignment(now: Sequence[str], other: Sequence[str]) -> tuple[int, list[tuple[int, int]]]:
    """The edit distance, and (place, position in other) of each word of `other`.

    Place 2i + 1 is word i of `now`, place 2i the gap before it.
    """
    rows, columns = len(now) + 1, len(other) + 1
    costs = [[i + j if not i * j else 0 for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        above, row = costs[i - 1], costs[i]
        for j in range(1, columns):
            row[j] = min(above[j - 1] + (now[i - 1] != other[j - 1]), above[j] + 1, row[j - 1] + 1)
    pairs, i, j = [], rows - 1, columns - 1
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (now[i - 1] != other[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((2 * i + 1, j))
        elif j and costs[i][j] == costs[i][j - 1] + 1:
            j -= 1
            pairs.append((2 * i, j))
        else:
            i -= 1
    return costs[-1][-1], pairs[::-1]
