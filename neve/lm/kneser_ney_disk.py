"""Kneser-Ney estimation of texts that are larger than the memory.

The numbers are those of `kneser_ney.estimate`, bit for bit; only the arrays are in files, and read
and written from start to end. N-grams are counted order by order, each by the n-gram before it:

- Every position of the text knows the number of the (n-1)-gram that ends there. Parts of the text
  that fit in memory are sorted by the context of the n-gram that ends at each position (runs), and
  put on disk.
- The contexts are cut into ranges that occur about equally often. For each range, what the runs
  have of it is gathered, sorted by context and word, and numbered: these are the n-grams of that
  range in their final order. The numbers go back to where the contexts stood in the runs,
- and, run by run, to their positions in the text, where the next order finds them.

What needs a value of another n-gram (adjusted counts, the lower order's probability) is computed
for one window of the other order at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neve.lm.arpa import ArpaLm, Level
from neve.lm.disk import DiskArray
from neve.lm.kneser_ney import (
    backoff_of,
    correct_last,
    count_of_counts,
    discounts_of,
    interpolate,
    log10,
)
from neve.lm.numbering import BOS_ID, NumberedText
from neve.progress import StatusLine, duration

BYTES_PER_ROW = 160  # of memory, for each element of what is worked on at a time
FEWEST_ROWS = 8


def estimate_on_disk(
    text: NumberedText,
    order: int,
    thresholds: Sequence[int],
    fallback: Sequence[float] | None,
    memory: int,
    scratch: Path,
) -> ArpaLm:
    """See `kneser_ney.estimate`; `thresholds` (order,) of `prune`. All files are in `scratch`."""
    rows = max(FEWEST_ROWS, memory // BYTES_PER_ROW)
    counter = _Counter(text, order, rows, scratch)
    grams = [counter.unigrams()]
    while len(grams) < order:
        grams.append(counter.next_order(grams[-1]))
    text.tokens.remove()
    lower = DiskArray(scratch / "uniform", np.float64)
    lower.append(np.full(1, 1.0 / (len(text.words) - 1)))
    levels: list[Level] = []
    for n, level in enumerate(grams, start=1):
        if n < order:
            _adjust(level, grams[n], rows)
        if n == 1:
            level.adjusted[BOS_ID : BOS_ID + 1] = np.zeros(1)  # <s> is never predicted
        counts = _count_of_counts(level, rows)
        discounts = discounts_of(counts, n, fallback)
        threshold = thresholds[n - 1] if n > 1 else -1
        prob, backoff = _probabilities(level, n, threshold, discounts, lower, rows)
        if n > 1:
            levels[-1].backoff = backoff
        lower.remove()
        lower = prob
        log_prob = DiskArray(scratch / f"log_prob{n}", np.float64)
        for _, values in prob.blocks(rows):
            log_prob.append(log10(values))
        levels.append(Level(level.context, level.word, log_prob, np.zeros(0)))
    levels[0].log_prob[BOS_ID : BOS_ID + 1] = np.zeros(1)
    levels[-1].backoff = DiskArray(scratch / f"backoff{order}", np.float64)
    _append_zeros(levels[-1].backoff, len(levels[-1].word), rows)
    if any(thresholds):
        levels = _drop_pruned(levels, grams, thresholds, rows)
    return ArpaLm(text.words, levels)


@dataclass
class _Grams:
    """As `kneser_ney._Grams`, in files; the n-grams that start with <s> are `from_bos` (a range),
    because they stand together. `adjusted` is `count` until `_adjust` has been there."""

    context: DiskArray
    word: DiskArray
    suffix: DiskArray
    count: DiskArray
    adjusted: DiskArray
    from_bos: tuple[int, int]
    last: int


class _Counter:
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

    def unigrams(self) -> _Grams:
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
        return _Grams(context, word, suffix, count, count, (BOS_ID, BOS_ID + 1), last)

    def next_order(self, below: _Grams) -> _Grams:
        """The n-grams one word longer than those of `below`."""
        self.order += 1
        progress = _Progress(f"{self.order}-grams", 3 * len(self.tokens))
        word_bits = self.size.bit_length()
        capacity = max(1, min(self.rows, 1 << (63 - word_bits) // 2) - 2)
        bounds = _cut(below.count, capacity, self.rows)
        runs = _Runs(self, bounds, progress)
        grams = _Grams(
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
            _first_with(grams.context, context, self.rows) for context in (begin, end)
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

    def __init__(self, counter: _Counter, bounds: np.ndarray, progress: _Progress):
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

    def back_to_positions(self, progress: _Progress) -> DiskArray:
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


def _number_range(runs: _Runs, bucket: int, first: int, grams: _Grams, word_bits: int) -> None:
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


def _number_words(runs: _Runs, bucket: int, context: int, grams: _Grams, size: int) -> None:
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


def _first_with(contexts: DiskArray, context: int, rows: int) -> int:
    """How many of the ascending `contexts` are smaller than `context`."""
    low, high = 0, len(contexts)
    while high - low > rows:
        middle = (low + high) // 2
        if int(contexts[middle : middle + 1][0]) < context:
            low = middle + 1
        else:
            high = middle
    return low + int(np.searchsorted(contexts[low:high], context))


def _adjust(level: _Grams, higher: _Grams, rows: int) -> None:
    """Set the adjusted counts: how many n-grams of `higher` end in each n-gram of `level`."""
    path = level.count.path
    level.adjusted = DiskArray(path.with_name(path.name.replace("count", "adjusted")), np.int64)
    begin, end = level.from_bos
    for start in range(0, len(level.word), rows):
        stop = min(start + rows, len(level.word))
        adjusted = np.zeros(stop - start, np.int64)
        for _, suffix in higher.suffix.blocks(rows):
            inside = suffix[(suffix >= start) & (suffix < stop)]
            adjusted += np.bincount(inside - start, minlength=stop - start)
        first, last = max(begin, start), min(end, stop)
        if first < last:
            adjusted[first - start : last - start] = level.count[first:last]
        level.adjusted.append(adjusted)


def _count_of_counts(level: _Grams, rows: int) -> np.ndarray:
    counts = sum(count_of_counts(adjusted) for _, adjusted in level.adjusted.blocks(rows))
    if level.last >= 0:
        at = slice(level.last, level.last + 1)
        correct_last(counts, level.adjusted[at][0], level.count[at][0])
    return counts


def _probabilities(
    level: _Grams,
    order: int,
    threshold: int,
    discounts: tuple,
    lower: DiskArray,
    rows: int,
) -> tuple[DiskArray, DiskArray]:
    """Probabilities of the n-grams of `level`, and back-offs of the n-grams of the order below,
    whose probabilities are `lower`. N-grams seen `threshold` times at most are pruned."""
    progress = _Progress(f"probabilities of {order}-grams", 2 * len(level.word))
    prob = DiskArray(lower.path.with_name(f"prob{order}"), np.float64)
    backoff = DiskArray(lower.path.with_name(f"backoff{order - 1}"), np.float64)
    _append_zeros(prob, len(level.word), rows)
    for begin, window in lower.blocks(rows):
        for start, suffix in level.suffix.blocks(rows):
            inside = (suffix >= begin) & (suffix < begin + len(window))
            values = prob[start : start + len(suffix)]
            values[inside] = window[suffix[inside] - begin]
            prob[start : start + len(suffix)] = values
    progress.add(len(level.word))
    for start, stop in _whole_contexts(level.context, rows):
        context, adjusted = level.context[start:stop], level.adjusted[start:stop]
        kept = level.count[start:stop] > threshold
        first, last = int(context[0]), int(context[-1]) + 1
        values, weight = interpolate(
            context - first, adjusted, kept, discounts, prob[start:stop], last - first
        )
        prob[start:stop] = values
        _append_zeros(backoff, first - len(backoff), rows)
        backoff.append(backoff_of(weight))
        progress.add(stop - start)
    _append_zeros(backoff, len(lower) - len(backoff), rows)
    progress.end()
    return prob, backoff


def _whole_contexts(contexts: DiskArray, rows: int) -> Iterator[tuple[int, int]]:
    """Parts of about `rows` n-grams that have all n-grams of their contexts."""
    start = 0
    while start < len(contexts):
        stop = start + rows
        if stop < len(contexts):
            stop = _first_with(contexts, int(contexts[stop - 1 : stop][0]) + 1, rows)
        stop = min(stop, len(contexts))
        yield start, stop
        start = stop


def _append_zeros(array: DiskArray, count: int, rows: int) -> None:
    for start in range(0, count, rows):
        array.append(np.zeros(min(rows, count - start), array.dtype))


def _drop_pruned(
    levels: list[Level], grams: list[_Grams], thresholds: Sequence[int], rows: int
) -> list[Level]:
    """As `kneser_ney._drop_pruned`, by the counts and thresholds."""
    result = [levels[0]]
    for n in range(2, len(levels) + 1):
        level, counts = levels[n - 1], grams[n - 1].count
        kept = [
            DiskArray(array.path.with_name(f"{array.path.name}_kept"), array.dtype)
            for array in (level.context, level.word, level.log_prob, level.backoff)
        ]
        below, threshold = grams[n - 2].count, thresholds[n - 2] if n > 2 else -1
        place = before = 0  # of the n-grams below, `before` are kept of the first `place`
        for start, context in level.context.blocks(rows):
            part = slice(start, start + len(context))
            first, last = int(context[0]), int(context[-1]) + 1
            for begin in range(place, first, rows):
                before += int((below[begin : min(begin + rows, first)] > threshold).sum())
            place = first
            stays = below[first:last] > threshold
            renumber = before + np.cumsum(stays) - 1
            keep = counts[part] > thresholds[n - 1]
            values = (renumber[context - first], level.word[part])
            for array, value in zip(kept, (*values, level.log_prob[part], level.backoff[part])):
                array.append(value[keep])
        result.append(Level(*kept))
    return result


class _Progress:
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
