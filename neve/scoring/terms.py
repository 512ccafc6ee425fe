"""How a list of terms fares: names and phrases whose recall says more than the word error rate.

A term is one or more words. Each place where it stands in a reference or a hypothesis counts, also
within a longer term of the list. It is correct where, in the alignment of both, each of its words
stands against itself and nothing is inserted between them; so the number of correct ones is the
same seen from either side, recall is their share of the reference's and precision their share of
the hypothesis'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neve.errors import NeveError

from .alignment import Pair


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How often a term (or all of a list) was said, was recognised, and both at once."""

    term: str
    reference: int = 0
    hypothesis: int = 0
    correct: int = 0

    @property
    def recall(self) -> float | None:
        """Share of what was said that was recognised; None if it was never said."""
        return self.correct / self.reference if self.reference else None

    @property
    def precision(self) -> float | None:
        """Share of what was recognised that was said; None if it was never recognised."""
        return self.correct / self.hypothesis if self.hypothesis else None


def read_terms(
    path: str | Path, normal: Callable[[str], str] | None = None
) -> list[tuple[str, ...]]:
    """The terms of a file, one a line, as words in the form that `normal` gives them; each once.

    What follows a tab is left out, so that a list of phrases with boosts will do. Raises NeveError
    if the file cannot be read or names no term.
    """
    normal = normal or str
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NeveError(
            f"{path}: the list of terms cannot be read ({error}); correct scoring.terms"
        ) from error
    terms = dict.fromkeys(tuple(normal(line.partition("\t")[0]).split()) for line in lines)
    terms.pop((), None)
    if not terms:
        raise NeveError(f"{path}: there is no term in it; write one on each line")
    return list(terms)


def count_terms(
    terms: Sequence[tuple[str, ...]], alignments: Iterable[Sequence[Pair]]
) -> list[TermCounts]:
    """The counts of each term, in the order of `terms`, over the alignments of all utterances."""
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for term in terms:
        by_first.setdefault(term[0], []).append(term)
    counts = {term: [0, 0, 0] for term in terms}
    for pairs in alignments:
        for side in (0, 1):
            places = [i for i, pair in enumerate(pairs) if pair[side] is not None]
            words = [pairs[i][side] for i in places]
            for start, word in enumerate(words):
                for term in by_first.get(word, ()):
                    end = start + len(term)
                    if tuple(words[start:end]) != term:
                        continue
                    counts[term][side] += 1
                    if side == 0:
                        span = pairs[places[start] : places[end - 1] + 1]
                        counts[term][2] += all(ref == hyp for ref, hyp in span)
    return [TermCounts(" ".join(term), *counts[term]) for term in terms]


def all_terms(counts: Iterable[TermCounts]) -> TermCounts:
    """The sums over a list."""
    counts = list(counts)
    return TermCounts(
        "all",
        sum(c.reference for c in counts),
        sum(c.hypothesis for c in counts),
        sum(c.correct for c in counts),
    )
