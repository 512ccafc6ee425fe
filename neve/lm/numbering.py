"""The text of a language model as numbers, in memory or, where it is long, on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.lm.arpa import BOS, EOS, UNK
from neve.lm.disk import DiskArray
from neve.progress import StatusLine, duration

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
SPECIAL = (UNK, BOS, EOS)
CHUNK = 1 << 20  # tokens that are numbered at a time


@dataclass
class NumberedText:
    """A text as ids.

    words: by id, sorted after the special ones. tokens: (t,) ids of all sentences, each with <s>
    and </s>; a DiskArray if it is long. last: the position at which the n-gram ends that lmplz
    sorts last.
    """

    words: list[str]
    tokens: np.ndarray | DiskArray
    last: int


def number(
    sentences: Iterable[str | Sequence[str]],
    vocab: Iterable[str],
    order: int,
    limit: int | None = None,
    scratch: Path | None = None,
    share: Callable[[], float] | None = None,
) -> NumberedText:
    """Number the words of `sentences` and those of `vocab`.

    A text of more than `limit` tokens (None: no limit) goes to a file in the directory `scratch`.
    `share` says which part of the text has been given out, to tell how long it will take.

    Raises NeveError for a text without words, or with <s>, </s> or <unk>.
    """
    ids = _Numbers(zip(SPECIAL, range(len(SPECIAL))))
    store = _Store(limit, scratch)
    last = _Last(order)
    line, begin = StatusLine(10.0), time.monotonic()
    chunk: list[int] = []
    ends: list[int] = []  # of the chunk's sentences: where their </s> are
    before = 0
    for sentence in sentences:
        chunk.append(BOS_ID)
        chunk.extend(
            map(ids.__getitem__, sentence.split() if isinstance(sentence, str) else sentence)
        )
        ends.append(len(chunk))
        chunk.append(EOS_ID)
        if len(chunk) >= CHUNK:
            _flush(chunk, ends, before, last, store)
            before += len(ends)
            chunk, ends = [], []
            if line.due():
                seconds, part = time.monotonic() - begin, share() if share else 0.0
                rate = f"{store.length / seconds:,.0f}/s"
                left = f", {duration(seconds * (1.0 / part - 1.0))} left" if part > 0.0 else ""
                line.show(f"reading text: {store.length:,} tokens, {rate}{left}")
    line.end()
    if chunk:
        _flush(chunk, ends, before, last, store)
    if len(ids) == len(SPECIAL):
        raise NeveError("the text for the language model is empty: there is not one word in it")
    for word in vocab:
        ids[word]
    words = [*SPECIAL, *sorted(list(ids)[len(SPECIAL) :])]
    renumber = np.empty(len(words), dtype=np.int32)
    for index, word in enumerate(words):
        renumber[ids[word]] = index
    return NumberedText(words, store.renumbered(renumber), last.position)


class _Numbers(dict):
    """Words and their numbers; a word that is not known yet gets the next one."""

    def __missing__(self, word: str) -> int:
        self[word] = index = len(self)
        return index


class _Store:
    """Tokens in memory, or in a file from `limit` on."""

    def __init__(self, limit: int | None, scratch: Path | None):
        self.limit, self.scratch = limit, scratch
        self.parts: list[np.ndarray] = []
        self.file: DiskArray | None = None
        self.length = 0

    def add(self, tokens: np.ndarray) -> None:
        self.length += len(tokens)
        if self.file is None and self.limit is not None and self.length > self.limit:
            self.file = DiskArray(self.scratch / "tokens", np.int32)
            for part in self.parts:
                self.file.append(part)
            self.parts = []
        if self.file is None:
            self.parts.append(tokens)
        else:
            self.file.append(tokens)

    def renumbered(self, renumber: np.ndarray) -> np.ndarray | DiskArray:
        if self.file is None:
            return renumber[np.concatenate(self.parts)].astype(np.int64)
        for start, tokens in self.file.blocks(CHUNK):
            self.file[start : start + len(tokens)] = renumber[tokens]
        return self.file


def _flush(chunk: list[int], ends: list[int], before: int, last: _Last, store: _Store) -> None:
    """Take in the whole sentences of `chunk`, which end at `ends`; `before` is their offset."""
    tokens = np.array(chunk, dtype=np.int32)
    special = tokens < len(SPECIAL)
    special[ends] = False
    special[np.array([0, *ends[:-1]]) + (np.arange(len(ends)) > 0)] = False
    if special.any():
        at = int(np.flatnonzero(special)[0])
        sentence = before + 1 + int(np.searchsorted(ends, at))
        raise NeveError(
            f"sentence {sentence} of the language model's text has {SPECIAL[tokens[at]]}, which "
            "has a meaning of its own there; remove it from the text"
        )
    last.look(tokens, store.length)
    store.add(tokens)


class _Last:
    """Where the n-gram ends that is the last one, compared from its last word to its first.

    Words have numbers in the order in which the text has them first; before a sentence are <s>.
    """

    def __init__(self, order: int):
        self.order = order
        self.best: tuple[int, ...] = ()
        self.position = 0

    def look(self, tokens: np.ndarray, offset: int) -> None:
        """Look through whole sentences whose first token has the position `offset`."""
        starts = sentence_starts(tokens)
        at = np.arange(len(tokens))
        found = []
        for back in range(self.order):
            before = at - back
            words = np.where(before >= starts[at], tokens[before], BOS_ID)
            found.append(int(words.max()))
            at = at[words == found[-1]]
        if tuple(found) > self.best:
            self.best, self.position = tuple(found), offset + int(at[0])


def sentence_starts(tokens: np.ndarray) -> np.ndarray:
    """For each token of whole sentences the position of its sentence's <s>, (t,)."""
    at = np.arange(len(tokens))
    return np.maximum.accumulate(np.where(tokens == BOS_ID, at, 0))
