"""Lexicons: words and what they are made of, and disambiguation symbols.

A lexicon file has one pronunciation a line, `WORD PHONE PHONE ...`; a word with several has several
lines. Kaldi's form with a probability between word and phones is understood.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang.lines import read_lines

EPSILON = "<eps>"
RESERVED_WORDS = (EPSILON, "#0", "<s>", "</s>")
DISAMBIG = re.compile(r"#[0-9]+")
PROBABILITY = re.compile(r"(0?\.[0-9]+|1\.0*|[0-9.]+e-[0-9]+)")


class LexiconEntry(NamedTuple):
    """One pronunciation of a word."""

    word: str
    tokens: tuple[str, ...]


def read_lexicon(path: str | os.PathLike) -> tuple[list[LexiconEntry], list[str]]:
    """The entries of a lexicon file, and remarks on what was amiss but harmless.

    If each line has a probability after the word, the pronunciations of a word are put in the order
    of falling probability, so that the first is the usual one. A pronunciation that stands twice is
    taken once, which a remark tells with file and lines.

    Raises NeveError with file and line for a word without phones, for phones and words whose
    names are reserved (<eps>, #0, #1, ..., <s>, </s>) and for a probability column with holes.
    """
    rows: list[tuple[int, str, list[str]]] = []
    for number, line in read_lines(path, "lexicon"):
        word, *tokens = line.split()
        if not tokens:
            raise NeveError(
                f"{path}:{number}: {word} has no phones; write `WORD PHONE PHONE ...` or remove it"
            )
        rows.append((number, word, [sys.intern(token) for token in tokens]))
    if not rows:
        raise NeveError(f"{path}: is empty; a lexicon has `WORD PHONE PHONE ...` on each line")
    weighted = _take_probabilities(rows, path)
    first: dict[LexiconEntry, int] = {}
    remarks = []
    ranked: dict[str, list[tuple[float, LexiconEntry]]] = {}
    for (number, word, tokens), probability in zip(rows, weighted):
        where = f"{path}:{number}"
        _check_names(word, tokens, where)
        entry = LexiconEntry(word, tuple(tokens))
        if entry in first:
            remarks.append(
                f"{where}: {word} {' '.join(tokens)} stands in line {first[entry]} already; "
                "taken once"
            )
            continue
        first[entry] = number
        ranked.setdefault(word, []).append((-probability, entry))
    entries = []
    for variants in ranked.values():
        entries += [entry for _, entry in sorted(variants, key=lambda variant: variant[0])]
    return entries, remarks


def _take_probabilities(rows: list[tuple[int, str, list[str]]], path) -> list[float]:
    """The probability of each row, removed from its tokens; 1 where the file has no such column."""
    having = [bool(PROBABILITY.fullmatch(tokens[0])) for _, _, tokens in rows]
    if not any(having):
        return [1.0] * len(rows)
    for (number, word, tokens), has in zip(rows, having):
        if not has:
            raise NeveError(
                f"{path}:{number}: {word} has no probability after the word (found {tokens[0]}), "
                f"but line {rows[having.index(True)][0]} has; give one in each line or in none"
            )
        if len(tokens) == 1:
            raise NeveError(f"{path}:{number}: {word} has a probability but no phones")
    return [float(tokens.pop(0)) for _, _, tokens in rows]


def _check_names(word: str, tokens: list[str], where: str) -> None:
    if word in RESERVED_WORDS:
        raise NeveError(f"{where}: the word {word} is reserved; remove or rename it")
    for token in tokens:
        if DISAMBIG.fullmatch(token):
            raise NeveError(
                f"{where}: the phone {token} of {word} clashes with a disambiguation symbol (#0, "
                "#1, ...); rename it (take lexicon.txt, not lexicon_disambig.txt)"
            )
        if token in (EPSILON, "<blk>"):
            raise NeveError(f"{where}: the phone {token} of {word} is reserved; rename it")


def write_lexicon(path: str | os.PathLike, entries: Iterable[LexiconEntry]) -> None:
    """Write `word token token ...` lines."""
    with atomic_open(path) as stream:
        for word, tokens in entries:
            stream.write(f"{word} {' '.join(tokens)}\n")


def add_disambiguation(entries: Sequence[LexiconEntry]) -> tuple[list[LexiconEntry], int]:
    """Entries with #1, #2, ... appended where needed, and the highest number used (0: none).

    A pronunciation that several entries share, or that another one starts with, gets #1 at its
    first entry, #2 at its second and so on: then none is a prefix of another and the lexicon
    transducer can be determinized (Mohri, Pereira, Riley 2002; as Kaldi and icefall number them).
    """
    counts = Counter(tokens for _, tokens in entries)
    beginnings = (tokens[:length] for tokens in counts for length in range(1, len(tokens)))
    prefixes = {tokens for tokens in beginnings if tokens in counts}
    used: Counter = Counter()
    result = []
    for word, tokens in entries:
        if counts[tokens] > 1 or tokens in prefixes:
            used[tokens] += 1
            tokens = (*tokens, f"#{used[tokens]}")
        result.append(LexiconEntry(word, tokens))
    return result, max(used.values(), default=0)
