"""Counting the n-grams of texts that are larger than the memory.

N-grams are counted order by order, each by the n-gram before it:

- Every position of the text knows the number of the (n-1)-gram that ends there. Parts of the text
  that fit in memory are sorted by the context of the n-gram that ends at each position (runs), and
  put on disk.
- The contexts are cut into ranges that occur about equally often. For each range, what the runs
  have of it is gathered, sorted by context and word, and numbered: these are the n-grams of that
  range in their final order. The numbers go back to where the contexts stood in the runs,
- and, run by run, to their positions in the text, where the next order finds them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neve.lm.disk import DiskArray
from neve.lm.numbering import BOS_ID, NumberedText
from neve.progress import StatusLine, duration


@dataclass
class Grams:
    """As `kneser_ney._Grams`, in files; the n-grams that start with <s> are `from_bos` (a range),
    because they stand together. `adjusted` is `count` until the estimation sets it."""

    context: DiskArray
    word: DiskArray
    suffix: DiskArray
    count: DiskArray
    adjusted: DiskArray
    from_bos: tuple[int, int]
    last: int
    allowed: DiskArray | None = None  # as `kneser_ney._Grams`
    kept: DiskArray | None = None


class Counter:
    """Counts the n-grams of one order after the other."""

    def __init__(self, text: NumberedText, order: int, rows: int, scratch: Path):
        self.tokens, self.last = text.tokens, text.last
        self.size, self.highest, self.rows, self.scratch = len(text.words), order, rows, scratch
        # an index of an n-gram is smaller than the number of tokens
        largest = max(len(self.tokens), self.size)
        self.index_type = np.int32 if largest < 1 << 31 else np.int64
        self.ids = text.tokens  # for each position the index of the n-gram that ends there, or -1
        self.order = 1

    def array(self, name: str, dtype: type | None = None) -> DiskArray:
        return DiskArray(self.scratch / f"{name}{self.order}", dtype or self.index_type)

    def unigrams(self) -> Grams:
        """All words of the vocabulary."""
        counts = np.zeros(self.size, np.int64)
        for _, tokens in self.tokens.blocks(self.rows):
            counts += np.bincount(tokens, minlength=self.size)
        context, suffix = (self.array(name, np.int64) for name in ("context", "suffix"))
        word, count = self.array("word", np.int32), self.array("count")
        for array in (context, suffix):
            array.append(np.zeros(self.size))
        word.append(np.arange(self.size))
        count.append(counts)
        last = int(self.tokens[self.last : self.last + 1][0])
        return Grams(context, word, suffix, count, count, (BOS_ID, BOS_ID + 1), last)

    def next_order(self, below: Grams) -> Grams:
        """The n-grams one word longer than those of `below`."""
        self.order += 1
        progress = Progress(f"{self.order}-grams", 3 * len(self.tokens))
        word_bits = self.size.bit_length()
        capacity = max(1, min(self.rows, 1 << (63 - word_bits) // 2) - 2)
        bounds = _cut(below.count, capacity, max(self.rows, self.size))
        runs = _Runs(self, bounds, progress)
        grams = Grams(
            self.array("context", np.int64),
            self.array("word", np.int32),
            self.array("suffix"),
            self.array("count"),
            None,
            (0, 0),
            -1,
        )
        grams.adjusted = grams.count
        for bucket in range(len(bounds) - 1):
            if runs.sizes[bucket] <= capacity:
                _number_range(runs, bucket, int(bounds[bucket]), grams, word_bits)
            else:  # one context
                _number_words(runs, bucket, int(bounds[bucket]), grams, self.size)
            progress.add(int(runs.sizes[bucket]))
        begin, end = below.from_bos
        grams.from_bos = tuple(
            first_with(grams.context, context, self.rows) for context in (begin, end)
        )
        ids = runs.back_to_positions(progress)
        if self.ids is not self.tokens:
            self.ids.remove()
        self.ids = ids
        grams.last = int(ids[self.last : self.last + 1][0])
        if self.order == self.highest:
            ids.remove()
        progress.end()
        return grams


class _Runs:
    """Context, word and suffix of the n-gram at each position that has one, in sorted parts.

    starts: (parts,) where they begin in the files. splits: (parts, ranges + 1) where in each part
    each range of contexts begins. sizes: (ranges,) how many positions each range has.
    """

    def __init__(self, counter: Counter, bounds: np.ndarray, progress: Progress):
        self.counter = counter
        self.context, self.word = counter.array("run_context"), counter.array("run_word", np.int32)
        self.suffix = counter.array("run_suffix")
        self.positions = counter.array("run_position", np.int32)  # within the part of the text
        starts, splits = [], []
        for start in range(0, len(counter.tokens), counter.rows):
            stop = min(start + counter.rows, len(counter.tokens))
            contexts, words, suffixes, at = self._sorted(start, stop)
            starts.append(len(self.context))
            splits.append(np.searchsorted(contexts, bounds))
            self.context.append(contexts)
            self.word.append(words)
            self.suffix.append(suffixes)
            self.positions.append(at)
            progress.add(stop - start)
        self.starts, self.splits = np.array(starts), np.array(splits)
        self.sizes = np.diff(self.splits, axis=1).sum(axis=0)

    def _sorted(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """Contexts, words, suffixes and positions (from `start`) in the order of the contexts."""
        tokens, ids = self.counter.tokens[start:stop], self.counter.ids[start:stop]
        before = self.counter.ids[max(0, start - 1) : stop - 1]
        if start == 0:
            before = np.concatenate([[-1], before])
        at = np.flatnonzero((tokens != BOS_ID) & (before >= 0))
        bits = len(tokens).bit_length()
        keys = np.sort((before[at].astype(np.int64) << bits) | at)
        at = keys & ((1 << bits) - 1)
        return keys >> bits, tokens[at], ids[at], at

    def pieces(self, bucket: int, most: int | None = None) -> Iterator[slice]:
        """Where the runs have the contexts of range `bucket`, at most `most` elements each."""
        begins = (self.starts + self.splits[:, bucket]).tolist()
        ends = (self.starts + self.splits[:, bucket + 1]).tolist()
        for begin, end in zip(begins, ends):
            for first in range(begin, end, most or max(1, end - begin)):
                yield slice(first, min(end, first + most) if most else end)

    def back_to_positions(self, progress: Progress) -> DiskArray:
        """The numbers that now stand in `context`, for each position of the text; else -1."""
        counter = self.counter
        ids = counter.array("ids")
        for part, start in enumerate(self.starts.tolist()):
            first = part * counter.rows
            length = min(counter.rows, len(counter.tokens) - first)
            values = np.full(length, -1, counter.index_type)
            piece = slice(start, start + int(self.splits[part, -1]))
            values[self.positions[piece]] = self.context[piece]
            ids.append(values)
            progress.add(length)
        for array in (self.context, self.word, self.suffix, self.positions):
            array.remove()
        return ids


def _cut(counts: DiskArray, capacity: int, rows: int) -> np.ndarray:
    """Bounds of ranges of contexts; each occurs `capacity` times at most, or is one context."""
    bounds, filled = [0], 0
    for start, block in counts.blocks(rows):
        sums = np.cumsum(block, dtype=np.int64)
        first, base = 0, 0
        while first < len(block):
            end = int(np.searchsorted(sums, base + capacity - filled, side="right"))
            if end == len(block):
                filled += int(sums[-1]) - base
                break
            if end == first and start + first == bounds[-1]:
                end += 1  # more than `capacity` alone
            bounds.append(start + end)
            first, base, filled = end, int(sums[end - 1]) if end else 0, 0
    if bounds[-1] < len(counts):
        bounds.append(len(counts))
    return np.array(bounds)


def _number_range(runs: _Runs, bucket: int, first: int, grams: Grams, word_bits: int) -> None:
    """Number the n-grams whose contexts are in a range that starts with `first`."""
    pieces = list(runs.pieces(bucket))
    size = int(runs.sizes[bucket])
    if not size:
        return
    bits = size.bit_length()
    keys, suffixes = np.empty(size, np.int64), np.empty(size, runs.counter.index_type)
    done = 0
    for piece in pieces:
        here = slice(done, done + piece.stop - piece.start)
        keys[here] = runs.context[piece]
        keys[here] -= first
        keys[here] <<= word_bits
        keys[here] |= runs.word[piece]
        suffixes[here] = runs.suffix[piece]
        done = here.stop
    keys <<= bits
    keys |= np.arange(size)
    keys.sort()
    places = keys & ((1 << bits) - 1)
    keys >>= bits
    new = np.empty(size, bool)
    new[0] = True
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    begins = np.flatnonzero(new)
    base = len(grams.word)
    unique = keys[begins]
    grams.context.append((unique >> word_bits) + first)
    grams.word.append(unique & ((1 << word_bits) - 1))
    grams.suffix.append(suffixes[places[begins]])
    grams.count.append(np.diff(begins, append=size))
    numbers = np.empty(size, runs.counter.index_type)
    numbers[places] = np.cumsum(new) + (base - 1)
    done = 0
    for piece in pieces:
        length = piece.stop - piece.start
        runs.context[piece] = numbers[done : done + length]
        done += length


def _number_words(runs: _Runs, bucket: int, context: int, grams: Grams, size: int) -> None:
    """Number the n-grams of a single context, which occurs too often to be sorted in memory."""
    counts, suffix = np.zeros(size, np.int64), np.zeros(size, np.int64)
    rows = runs.counter.rows
    for piece in runs.pieces(bucket, rows):
        words = runs.word[piece]
        counts += np.bincount(words, minlength=size)
        suffix[words] = runs.suffix[piece]
    words = np.flatnonzero(counts)
    numbers = np.zeros(size, runs.counter.index_type)
    numbers[words] = len(grams.word) + np.arange(len(words))
    grams.context.append(np.full(len(words), context))
    grams.word.append(words)
    grams.suffix.append(suffix[words])
    grams.count.append(counts[words])
    for piece in runs.pieces(bucket, rows):
        runs.context[piece] = numbers[runs.word[piece]]


def first_with(contexts: DiskArray, context: int, rows: int) -> int:
    """How many of the ascending `contexts` are smaller than `context`."""
    low, high = 0, len(contexts)
    while high - low > rows:
        middle = (low + high) // 2
        if int(contexts[middle : middle + 1][0]) < context:
            low = middle + 1
        else:
            high = middle
    return low + int(np.searchsorted(contexts[low:high], context))


class Progress:
    """What is done of a step, how fast, and how long it will take."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.done = what, total, 0
        self.line, self.begin = StatusLine(10.0), time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        if self.line.due() and self.done:
            seconds = time.monotonic() - self.begin
            left = seconds * (self.total - self.done) / self.done
            self.line.show(
                f"{self.what}: {min(100.0, 100.0 * self.done / self.total):.0f} %, "
                f"{self.done / seconds:,.0f}/s, {duration(max(0.0, left))} left"
            )

    def end(self) -> None:
        self.line.end()
