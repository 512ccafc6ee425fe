"""Kneser-Ney estimation of texts that are larger than the memory.

The numbers are those of `kneser_ney.estimate`, bit for bit; only the arrays are in files, and read
and written from start to end. What needs a value of another n-gram (adjusted counts, the lower
order's probability) is computed for one window of the other order at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from neve.lm.arpa import ArpaLm, Level
from neve.lm.counting import Counter, Grams, Progress, first_with
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

BYTES_PER_ROW = 160  # of memory, for each element of what is worked on at a time
FEWEST_ROWS = 8


def estimate_on_disk(
    text: NumberedText,
    order: int,
    thresholds: Sequence[int],
    allowed: np.ndarray,
    fallback: Sequence[float] | None,
    memory: int,
    scratch: Path,
) -> ArpaLm:
    """See `kneser_ney.estimate`; `thresholds` (order,) of `prune`, `allowed` (V,) of `limit`. All
    files are in `scratch`."""
    rows = max(FEWEST_ROWS, memory // BYTES_PER_ROW)
    counter = Counter(text, order, rows, scratch)
    rows = max(rows, len(text.words))
    grams = [counter.unigrams()]
    while len(grams) < order:
        grams.append(counter.next_order(grams[-1]))
    text.tokens.remove()
    lower = DiskArray(scratch / "uniform", np.float64)
    lower.append(np.full(1, 1.0 / (allowed.sum() - 1)))
    levels: list[Level] = []
    for n, level in enumerate(grams, start=1):
        if n < order:
            _adjust(level, grams[n], rows)
        if n == 1:
            level.adjusted[BOS_ID : BOS_ID + 1] = np.zeros(1)  # <s> is never predicted
        counts = _count_of_counts(level, rows)
        discounts = discounts_of(counts, n, fallback)
        below, threshold = (grams[n - 2], thresholds[n - 1]) if n > 1 else (None, -1)
        kept = _mark_kept(level, below, threshold, allowed, rows)
        prob, backoff = _probabilities(level, n, kept, discounts, lower, rows)
        if n > 1:
            levels[-1].backoff = backoff
        lower.remove()
        lower = prob
        log_prob = DiskArray(scratch / f"log_prob{n}", np.float64)
        for _, values in prob.blocks(rows):
            log_prob.append(log10(values))
        levels.append(Level(level.context, level.word, log_prob, np.zeros(0), level.count))
    levels[0].log_prob[BOS_ID : BOS_ID + 1] = np.zeros(1)
    levels[-1].backoff = DiskArray(scratch / f"backoff{order}", np.float64)
    _append_zeros(levels[-1].backoff, len(levels[-1].word), rows)
    words = text.words
    if any(thresholds) or not allowed.all():
        levels = _drop_pruned(levels, grams, rows)
        words = [word for word, stays in zip(words, allowed.tolist()) if stays]
    return ArpaLm(words, levels)


def _adjust(level: Grams, higher: Grams, rows: int) -> None:
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


def _count_of_counts(level: Grams, rows: int) -> np.ndarray:
    counts = sum(count_of_counts(adjusted) for _, adjusted in level.adjusted.blocks(rows))
    if level.last >= 0:
        at = slice(level.last, level.last + 1)
        correct_last(counts, level.adjusted[at][0], level.count[at][0])
    return counts


def _probabilities(
    level: Grams,
    order: int,
    kept: DiskArray,
    discounts: tuple,
    lower: DiskArray,
    rows: int,
) -> tuple[DiskArray, DiskArray]:
    """Probabilities of the n-grams of `level`, and back-offs of the n-grams of the order below,
    whose probabilities are `lower`; n-grams that are not `kept` are pruned."""
    progress = Progress(f"probabilities of {order}-grams", 2 * len(level.word))
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
        first, last = int(context[0]), int(context[-1]) + 1
        values, weight = interpolate(
            context - first, adjusted, kept[start:stop], discounts, prob[start:stop], last - first
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
            stop = first_with(contexts, int(contexts[stop - 1 : stop][0]) + 1, rows)
        stop = min(stop, len(contexts))
        yield start, stop
        start = stop


def _append_zeros(array: DiskArray, count: int, rows: int) -> None:
    for start in range(0, count, rows):
        array.append(np.zeros(min(rows, count - start), array.dtype))


def _mark_kept(
    level: Grams, below: Grams | None, threshold: int, allowed: np.ndarray, rows: int
) -> DiskArray:
    """Set `level.allowed` and `level.kept`, which is returned."""
    path = level.word.path
    level.allowed, level.kept = (
        DiskArray(path.with_name(path.name.replace("word", name)), bool)
        for name in ("allowed", "kept")
    )
    for start, word in level.word.blocks(rows):
        permitted = allowed[word]
        if below is not None:
            context = level.context[start : start + len(word)]
            first, last = int(context[0]), int(context[-1]) + 1
            permitted &= below.allowed[first:last][context - first]
        level.allowed.append(permitted)
        level.kept.append(permitted & (level.count[start : start + len(word)] > threshold))
    return level.kept


def _drop_pruned(levels: list[Level], grams: list[Grams], rows: int) -> list[Level]:
    """As `kneser_ney._drop_pruned`."""
    result: list[Level] = []
    words = np.cumsum(grams[0].kept[:]) - 1
    for number, (level, gram) in enumerate(zip(levels, grams)):
        left = [
            DiskArray(array.path.with_name(f"{array.path.name}_left"), array.dtype)
            for array in level.arrays()
        ]
        place = before = 0  # of the n-grams below, `before` are kept of the first `place`
        for start, context in level.context.blocks(rows):
            part = slice(start, start + len(context))
            keep = gram.kept[part]
            if number:
                below, first, last = grams[number - 1].kept, int(context[0]), int(context[-1]) + 1
                for begin in range(place, first, rows):
                    before += int(below[begin : min(begin + rows, first)].sum())
                place = first
                context = (before + np.cumsum(below[first:last]) - 1)[context - first]
            rest = (array[part] for array in level.arrays()[2:])
            for array, value in zip(left, (context, words[level.word[part]], *rest)):
                array.append(value[keep])
        result.append(Level(*left))
    return result
