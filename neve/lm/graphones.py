"""Aligning spellings with pronunciations: graphones, found by expectation maximisation.

A graphone is a pair of some letters and some phones, each of length 0 to 2, that belong together. A
word is a sequence of graphones in many ways; the probabilities of the graphones are those that make
the lexicon likeliest (Deligne, Yvon and Bimbot 1995; Bisani and Ney, "Joint-sequence models for
grapheme-to-phoneme conversion", Speech Communication 50, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neve.errors import NeveError


class Graphone(NamedTuple):
    """Letters and the phones that they stand for; either may be empty, not both."""

    letters: str
    phones: tuple[str, ...]


Units = Sequence[tuple[int, int]]  # numbers of (letters, phones) that a graphone may have

UNITS: Units = ((1, 0), (1, 1), (1, 2), (2, 1))
FLOOR = 1e-12  # probability below which a graphone is dropped


def align(
    lexicon: Sequence[tuple[str, Sequence[str]]], units: Units = UNITS, iterations: int = 12
) -> list[list[Graphone] | None]:
    """The likeliest graphones of each (word, phones) of the lexicon.

    None stands for an entry that the units cannot make, e.g. one with more than two phones a
    letter. Raises NeveError if that is true of all, and for units that are none.
    """
    for unit in units:
        if len(unit) != 2 or not all(0 <= size <= 2 for size in unit) or sum(unit) == 0:
            raise NeveError(f"units: {unit} is not a pair of sizes 0 to 2, at least one above 0")
    groups, codes = _groups(lexicon, units)
    if not groups:
        raise NeveError(
            "not one entry of the lexicon can be aligned: a word may have twice as many phones as "
            "letters at most"
        )
    probs = np.full(len(codes), 1.0 / len(codes))
    scale = float(len(codes))
    for _ in range(iterations):
        counts = np.zeros(len(codes))
        log_total, letters = 0.0, 0
        for group in groups:
            log_total += group.count(probs * scale, scale, counts)
            letters += group.num_letters * len(group.rows)
        probs = counts / counts.sum()
        probs[probs < FLOOR] = 0.0
        # all ways of writing a word are then near 1 in total, whatever its length
        scale = float(np.exp(np.clip(-log_total / letters, 0.0, 100.0)))
    names = [_graphone(code, lexicon) for code in codes]
    result: list[list[Graphone] | None] = [None] * len(lexicon)
    for group in groups:
        for row, path in zip(group.rows.tolist(), group.best(probs)):
            result[row] = [names[index] for index in path]
    return result


class _Group:
    """The entries with I letters and J phones: N of them.

    ids[i, j, u] (N,) are the graphones of unit u that end before letter i and phone j.
    """

    def __init__(self, num_letters: int, num_phones: int, rows: np.ndarray, units: Units):
        self.num_letters, self.num_phones, self.rows, self.units = (
            num_letters,
            num_phones,
            rows,
            units,
        )
        self.ids: dict[tuple[int, int, int], np.ndarray] = {}

    def cells(self):
        """(i, j) in an order in which each comes after those that lead to it."""
        return (
            (i, j)
            for i in range(self.num_letters + 1)
            for j in range(self.num_phones + 1)
            if i or j
        )

    def count(self, weights: np.ndarray, scale: float, counts: np.ndarray) -> float:
        """Add expected counts of the graphones to `counts`; returns the log-likelihood.

        `weights` are probabilities times scale, and each is to be taken to the power of its
        letters: that is what the factors below make good.
        """
        adjust = [scale ** (letters - 1) for letters, _ in self.units]
        shape = (self.num_letters + 1, self.num_phones + 1, len(self.rows))
        forward, backward = np.zeros(shape), np.zeros(shape)
        forward[0, 0] = 1.0
        backward[-1, -1] = 1.0
        for i, j in self.cells():
            for u, (a, b) in enumerate(self.units):
                ids = self.ids.get((i, j, u))
                if ids is not None:
                    forward[i, j] += forward[i - a, j - b] * weights[ids] * adjust[u]
        total = forward[-1, -1]
        with np.errstate(divide="ignore"):
            share = np.where(total > 0, 1.0 / total, 0.0)
        for i, j in reversed(list(self.cells())):
            for u, (a, b) in enumerate(self.units):
                ids = self.ids.get((i, j, u))
                if ids is not None:
                    arc = backward[i, j] * weights[ids] * adjust[u]
                    backward[i - a, j - b] += arc
                    mass = forward[i - a, j - b] * arc * share
                    counts += np.bincount(ids, mass, minlength=len(counts))
        logs = np.log(np.maximum(total, 1e-300)) - self.num_letters * np.log(scale)
        return float(logs.sum())

    def best(self, probs: np.ndarray) -> list[list[int]]:
        """The graphones of the best way of each entry."""
        with np.errstate(divide="ignore"):
            logs = np.log(probs)
        shape = (self.num_letters + 1, self.num_phones + 1, len(self.rows))
        score = np.full(shape, -np.inf)
        back = np.full(shape, -1, np.int8)
        score[0, 0] = 0.0
        for i, j in self.cells():
            for u, (a, b) in enumerate(self.units):
                ids = self.ids.get((i, j, u))
                if ids is not None:
                    new = score[i - a, j - b] + logs[ids]
                    better = (new > score[i, j]) | ((back[i, j] < 0) & (score[i - a, j - b] > -1e9))
                    score[i, j] = np.where(better, new, score[i, j])
                    back[i, j] = np.where(better, u, back[i, j])
        return [self._trace(back, n) for n in range(len(self.rows))]

    def _trace(self, back: np.ndarray, n: int) -> list[int]:
        i, j, path = self.num_letters, self.num_phones, []
        while i or j:
            u = int(back[i, j, n])
            path.append(int(self.ids[i, j, u][n]))
            i, j = i - self.units[u][0], j - self.units[u][1]
        return path[::-1]


def _groups(lexicon, units: Units) -> tuple[list[_Group], list[tuple[int, int, int, int, int]]]:
    """Entries by their numbers of letters and phones; the places where each graphone stands.

    A place is (entry, first letter, letters, first phone, phones).
    """
    letters = _numbers(mark for word, _ in lexicon for mark in word)
    phones = _numbers(phone for _, spoken in lexicon for phone in spoken)
    base_l, base_p = len(letters) + 1, len(phones) + 1
    by_size: dict[tuple[int, int], list[int]] = {}
    for row, (word, spoken) in enumerate(lexicon):
        by_size.setdefault((len(word), len(spoken)), []).append(row)
    groups: list[_Group] = []
    parts: list[tuple[_Group, tuple[int, int, int], np.ndarray]] = []
    for (num_letters, num_phones), rows in sorted(by_size.items()):
        group = _Group(num_letters, num_phones, np.array(rows), units)
        spelled = np.array([[letters[mark] for mark in lexicon[row][0]] for row in rows])
        spoken = np.array([[phones[phone] for phone in lexicon[row][1]] for row in rows])
        useful = _useful(num_letters, num_phones, units)
        if not useful:
            continue
        groups.append(group)
        for i, j, u in useful:
            a, b = units[u]
            code = np.zeros(len(rows), np.int64)
            for column in range(i - a, i):
                code = code * base_l + spelled[:, column] + 1
            for _ in range(2 - a):
                code = code * base_l
            for column in range(j - b, j):
                code = code * base_p + spoken[:, column] + 1
            for _ in range(2 - b):
                code = code * base_p
            parts.append((group, (i, j, u), code))
    if not parts:
        return [], []
    _, first, inverse = np.unique(
        np.concatenate([code for *_, code in parts]), return_index=True, return_inverse=True
    )
    inverse = inverse.reshape(-1).astype(np.int32)
    places = []
    begins = np.cumsum([0, *(len(code) for *_, code in parts)])
    for at, part in zip(first.tolist(), (np.searchsorted(begins, first, "right") - 1).tolist()):
        group, (i, j, u), _ = parts[part]
        a, b = units[u]
        places.append((int(group.rows[at - begins[part]]), i - a, a, j - b, b))
    for (group, key, _), begin, end in zip(parts, begins, begins[1:]):
        group.ids[key] = inverse[begin:end]
    return groups, places


def _useful(num_letters: int, num_phones: int, units: Units) -> list[tuple[int, int, int]]:
    """(i, j, u) of the units that are on a way from nothing to all letters and phones."""
    reached = {(0, 0)}
    arcs = []
    for i in range(num_letters + 1):
        for j in range(num_phones + 1):
            for u, (a, b) in enumerate(units):
                if (i - a, j - b) in reached:
                    reached.add((i, j))
                    arcs.append((i, j, u))
    wanted = {(num_letters, num_phones)}
    kept = []
    for i, j, u in reversed(arcs):
        if (i, j) in wanted:
            wanted.add((i - units[u][0], j - units[u][1]))
            kept.append((i, j, u))
    return kept[::-1] if (num_letters, num_phones) in reached else []


def _numbers(symbols) -> dict[str, int]:
    return {symbol: index for index, symbol in enumerate(sorted(set(symbols)))}


def _graphone(place: tuple[int, int, int, int, int], lexicon) -> Graphone:
    row, i, a, j, b = place
    word, spoken = lexicon[row]
    return Graphone(word[i : i + a], tuple(spoken[j : j + b]))
