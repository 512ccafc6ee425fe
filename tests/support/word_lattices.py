"""Lattices of words that are small enough to go through all their paths."""

import numpy as np
from kaldialign import edit_distance


def random_lattice(rng, most_words=3):
    """States in a row, with arcs between any two of them; a word in three of four."""
    states = int(rng.integers(3, 8))
    arcs = [(state, state + 1) for state in range(states - 1)]
    for _ in range(int(rng.integers(2, 10))):
        arcs.append(tuple(sorted(rng.choice(states, 2, replace=False).tolist())))
    src, dst = np.array(sorted(arcs)).T
    splits = np.searchsorted(src, np.arange(states + 1))
    return splits, dst, rng.normal(size=len(src)), rng.integers(0, most_words + 1, len(src))


def all_paths(splits, dst, scores, words, state=0):
    """(score, words) of each path."""
    if state == len(splits) - 2:
        return [(0.0, ())]
    found = []
    for arc in range(splits[state], splits[state + 1]):
        said = (int(words[arc]),) if words[arc] else ()
        for score, rest in all_paths(splits, dst, scores, words, dst[arc]):
            found.append((scores[arc] + score, said + rest))
    return found


def distance(one, other):
    return edit_distance([str(word) for word in one], [str(word) for word in other])["total"]


def expected(paths, words):
    weights = np.exp([score for score, _ in paths])
    return float(weights @ [distance(said, words) for _, said in paths] / weights.sum())
