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
    fallback: Sequence[float] | None,
    memory: int,
    scratch: Path,
) -> ArpaLm:
    """See `kneser_ney.estimate`; `thresholds` (order,) of `prune`. All files are in `scratch`."""
    rows = max(FEWEST_ROWS, memory // BYTES_PER_ROW)
    counter = Counter(text, order, rows, scratch)
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
    threshold: int,
    discounts: tuple,
    lower: DiskArray,
    rows: int,
) -> tuple[DiskArray, DiskArray]:
    """Probabilities of the n-grams of `level`, and back-offs of the n-grams of the order below,
    whose probabilities are `lower`. N-grams seen `threshold` times at most are pruned."""
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
            stop = first_with(contexts, int(contexts[stop - 1 : stop][0]) + 1, rows)
        stop = min(stop, len(contexts))
        yield start, stop
        start = stop


def _append_zeros(array: DiskArray, count: int, rows: int) -> None:
    for start in range(0, count, rows):
        array.append(np.zeros(min(rows, count - start), array.dtype))


def _drop_pruned(
    levels: list[Level], grams: list[Grams], thresholds: Sequence[int], rows: int
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
