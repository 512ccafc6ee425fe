"""Alignment of a reference with a hypothesis, and the counts that error rates are made of.

The distance is Levenshtein's: a substitution, a deletion and an insertion cost one each, and the
alignment is one of those with the fewest errors. Where several have as few, kaldialign's choice is
taken; it depends on nothing but the two sequences.

Rates where something is empty, as jiwer has them: nothing recognised is all deletions (rate 1);
words where the reference has none are insertions, and the rate of a set without any reference word
is the number of insertions; both empty is no error (rate 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import kaldialign

Pair = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Counts:
    """How the tokens of an alignment fell: correct, substituted, deleted, inserted."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Number of tokens in the reference."""
        return self.correct + self.substitutions + self.deletions

    @property
    def hypothesis(self) -> int:
        """Number of tokens in the hypothesis."""
        return self.correct + self.substitutions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token (1.0 is 100 %); without reference tokens, the errors."""
        return self.errors / max(self.reference, 1)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.correct + other.correct,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def split_words(text: str) -> list[str]:
    """The words of `text`: what stands between any white space."""
    return text.split()


def split_characters(text: str, spaces: bool = True) -> str:
    """The characters (Unicode code points) of `text`, one space between words, or none."""
    return (" " if spaces else "").join(text.split())


def align(ref: Sequence[str], hyp: Sequence[str]) -> list[Pair]:
    """Align two sequences of tokens (words in a list, or a string of characters).

    Returns pairs `(reference token, hypothesis token)`; None in first place is an insertion, in
    second place a deletion. Time and memory grow with `len(ref) * len(hyp)`.
    """
    if isinstance(ref, str) != isinstance(hyp, str):
        raise TypeError("align takes two strings or two lists of words, not one of each")
    if ref == hyp:
        return list(zip(ref, hyp, strict=True))
    # Numbers instead of the tokens leave -1 free to mean "none": any word may occur in a text.
    numbers: dict[str, int] = {}
    ref_numbers = [numbers.setdefault(token, len(numbers)) for token in ref]
    hyp_numbers = [numbers.setdefault(token, len(numbers)) for token in hyp]
    tokens: list[str | None] = [*numbers, None]
    return [(tokens[r], tokens[h]) for r, h in kaldialign.align(ref_numbers, hyp_numbers, -1)]


def count_pairs(pairs: Iterable[Pair]) -> Counts:
    """Count what an alignment consists of."""
    correct = substitutions = deletions = insertions = 0
    for ref, hyp in pairs:
        if ref == hyp:
            correct += 1
        elif ref is None:
            insertions += 1
        elif hyp is None:
            deletions += 1
        else:
            substitutions += 1
    return Counts(correct, substitutions, deletions, insertions)
