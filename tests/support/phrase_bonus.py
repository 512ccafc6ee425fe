"""What listed phrases are defined to add to the score of a sequence."""

import numpy as np


def defined(phrases, boosts, tokens):
    """Sum over phrases of boost * length * occurrences."""
    best = {}
    for phrase, boost in zip(phrases, boosts):
        best[tuple(phrase)] = max(boost, best.get(tuple(phrase), -np.inf))
    total = 0.0
    for phrase, boost in best.items():
        n = len(phrase)
        found = sum(tuple(tokens[i : i + n]) == phrase for i in range(len(tokens) - n + 1))
        total += boost * n * found
    return total
