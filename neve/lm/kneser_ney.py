"""Estimating n-gram models: interpolated modified Kneser-Ney smoothing.

The method is that of Chen and Goodman (1998), in the form of Heafield, Pouzyrevsky, Clark and
Koehn, "Scalable modified Kneser-Ney language model estimation" (ACL 2013), which KenLM's lmplz
implements:

- The adjusted count of an n-gram is its count in the text, if it has the highest order or starts
  with <s>; else the number of different words before it.
- Discounts D1, D2, D3+ of each order follow from how many n-grams have the adjusted count 1 to 4.
- An n-gram's discounted share of its context is interpolated with the next lower order; the mass
  that the discounts leave is the weight of the lower order and, in an ARPA file, the back-off.
- Single words are interpolated with the uniform distribution over the vocabulary, <unk> and </s>
  included and <s> not; this is all that <unk> and words that the text lacks have.

One trait of lmplz (0.3.0) is followed, since on a small text it shows in every number: among the
counts that give the discounts, the lower-order n-grams that its sort puts last stand with their
count in the text, not the adjusted one.

N-grams are rows of sorted integer arrays: an n-gram is a pair of its context's index, in the order
below, and its last word.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.lm.arpa import ArpaLm, Level
from neve.lm.numbering import BOS_ID, SPECIAL, number, sentence_starts

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 100  # of the text and for each order, that estimation in memory needs


def estimate(
    sentences: Iterable[str | Sequence[str]],
    order: int,
    vocab: Iterable[str] = (),
    *,
    discount_fallback: Sequence[float] | None = None,
    prune: Sequence[int] = (),
    limit: Iterable[str] | None = None,
    memory: int | None = None,
    scratch: str | os.PathLike | None = None,
    share: Callable[[], float] | None = None,
) -> ArpaLm:
    """The model of `order` for `sentences`, strings or lists of words.

    Args:
        vocab: further words that the model shall know. Those that the text lacks get the same share
            as <unk>: the words are not excluded, and the shares become smaller.
        discount_fallback: D1, D2, D3+ for the orders in which they cannot be estimated, because the
            text is too small or too regular (lmplz --discount_fallback).
        prune: for each order from 1, n-grams that the text has at most so often are left out; the
            last number holds for all higher orders (lmplz --prune). Single words always stay.
        limit: the only words that the model shall know; n-grams with others are counted and then
            left out (lmplz --limit_vocab_file). None: all.
        memory: bytes to use beside the vocabulary; None: what it takes. A text that needs more is
            counted in files in the directory `scratch`, with the same result. The arrays of the
            model are then in files there too: it can be used as long as they are.
        share: says which part of `sentences` has been given out, for the progress line.

    Returns a model whose log10 probabilities equal those of lmplz up to its float32 rounding.
    Raises NeveError for a text without words, a text with <s>, </s> or <unk>, and for discounts
    that cannot be estimated when there is no `discount_fallback`.
    """
    if order < 1:
        raise NeveError(f"lm.order is {order}: an n-gram has at least 1 word")
    thresholds = thresholds_of(prune, order)
    if discount_fallback is not None:
        _check_fallback(discount_fallback)
    most = None if memory is None else memory // (BYTES_PER_TOKEN * order)
    scratch = None if scratch is None else Path(scratch)
    text = number(sentences, vocab, order, most, scratch, share)
    words, tokens = text.words, text.tokens
    allowed = _allowed(words, limit)
    if not isinstance(tokens, np.ndarray):
        from neve.lm.kneser_ney_disk import estimate_on_disk

        return estimate_on_disk(
            text, order, thresholds, allowed, discount_fallback, memory, scratch
        )
    grams = _count(tokens, sentence_starts(tokens), text.last, len(words), order)
    for level, higher in zip(grams, grams[1:]):
        extensions = np.bincount(higher.suffix, minlength=len(level.word))
        level.adjusted = np.where(level.from_bos, level.count, extensions)
    grams[-1].adjusted = grams[-1].count
    grams[0].adjusted[BOS_ID] = 0
    lower = np.full(1, 1.0 / (allowed.sum() - 1))  # uniform; <s> is never predicted
    levels: list[Level] = []
    for n, level in enumerate(grams, start=1):
        level.allowed = (
            allowed if n == 1 else allowed[level.word] & grams[n - 2].allowed[level.context]
        )
        kept = level.allowed & (level.count > (thresholds[n - 1] if n > 1 else -1))
        counts, adjusted = count_of_counts(level.adjusted), level.adjusted
        if level.last >= 0:
            correct_last(counts, adjusted[level.last], level.count[level.last])
        discounts = discounts_of(counts, n, discount_fallback)
        contexts = len(grams[n - 2].word)
        prob, weight = interpolate(
            level.context, adjusted, kept, discounts, lower[level.suffix], contexts
        )
        if n > 1:
            levels[-1].backoff[:] = backoff_of(weight)
        lower = prob
        levels.append(
            Level(level.context, level.word, log10(prob), np.zeros(len(prob)), level.count)
        )
        level.kept = kept
    levels[0].log_prob[BOS_ID] = 0.0
    if any(thresholds) or not allowed.all():
        levels = _drop_pruned(levels, [level.kept for level in grams])
        words = [word for word, stays in zip(words, allowed.tolist()) if stays]
    return ArpaLm(words, levels)


def _allowed(words: list[str], limit: Iterable[str] | None) -> np.ndarray:
    """(V,) which words the model may know; <unk>, <s> and </s> always."""
    if limit is None:
        return np.ones(len(words), bool)
    limit = {*limit, *SPECIAL}
    return np.array([word in limit for word in words])


class _Grams:
    """The different n-grams of one order, in the order of (context, word); all arrays (m,).

    context: index of the first n-1 words in the order below; suffix: of the last n-1 words.
    from_bos: whether it starts with <s>. count: how often the text has it. last: index of the
    n-gram that lmplz's sort puts last, or -1.
    """

    def __init__(self, context, word, suffix, from_bos, count, last):
        self.context, self.word, self.suffix = context, word, suffix
        self.from_bos, self.count, self.last = from_bos, count, last
        self.adjusted: np.ndarray
        self.allowed: np.ndarray  # has words that the model may know alone
        self.kept: np.ndarray


def thresholds_of(prune: Sequence[int], order: int) -> list[int]:
    values = list(prune) or [0]
    if len(values) > order:
        raise NeveError(f"lm.prune has {len(values)} numbers, but lm.order is {order}")
    if values[0] != 0:
        raise NeveError("lm.prune: single words cannot be pruned; the first number must be 0")
    if min(values) < 0 or values != sorted(values):
        raise NeveError(f"lm.prune is {values}: the numbers must not be negative and not fall")
    return values + [values[-1]] * (order - len(values))


def _check_fallback(discounts: Sequence[float]) -> None:
    if len(discounts) != 3 or any(not 0 <= d <= i for i, d in enumerate(discounts, start=1)):
        raise NeveError(
            f"lm.discount_fallback is {list(discounts)}: three discounts are needed, the first "
            "between 0 and 1, the second between 0 and 2, the third between 0 and 3"
        )


def _count(
    tokens: np.ndarray, starts: np.ndarray, last: int, size: int, order: int
) -> list[_Grams]:
    """Count all n-grams of each order up to `order`; vocabulary of `size` words."""
    everywhere = np.arange(len(tokens))
    counts = np.bincount(tokens, minlength=size)
    none = np.zeros(size, dtype=np.int64)
    from_bos = np.arange(size) == BOS_ID
    words = np.arange(size, dtype=np.int32)
    result = [_Grams(none, words, none, from_bos, counts, int(tokens[last]))]
    index = tokens  # for each position the index of the n-gram that ends there
    room = everywhere - starts  # number of tokens before it in its sentence
    for n in range(2, order + 1):
        at = np.flatnonzero(room >= n - 1)
        keys = index[at - 1] * size + tokens[at]
        unique, first, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        example = at[first]
        suffix = index[example]
        index = np.full(len(tokens), -1)
        index[at] = inverse
        result.append(
            _Grams(
                context=unique // size,
                word=(unique % size).astype(np.int32),
                suffix=suffix,
                from_bos=room[example] == n - 1,
                count=counts,
                last=int(index[last]),
            )
        )
    return result


def count_of_counts(adjusted: np.ndarray) -> np.ndarray:
    """(6,) how many n-grams have the adjusted count 0, 1, 2, 3, 4, and 5 or more."""
    return np.bincount(np.minimum(adjusted, 5), minlength=6)


def correct_last(counts: np.ndarray, adjusted: int, count: int) -> None:
    """Let the n-gram that lmplz sorts last stand with its count among `count_of_counts`."""
    counts[min(int(adjusted), 5)] -= 1
    counts[min(int(count), 5)] += 1


def discounts_of(
    counts: np.ndarray, order: int, fallback: Sequence[float] | None
) -> tuple[float, float, float, float]:
    """Discounts of adjusted counts 0, 1, 2 and 3 or more: equation 26 of Chen and Goodman."""
    n = counts[:5].astype(float)
    reason = ""
    if 0 in n[1:4]:
        reason = f"none of them has the adjusted count {1 + n[1:4].tolist().index(0)}"
    else:
        y = n[1] / (n[1] + 2.0 * n[2])
        estimated = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
        wrong = [j for j in (1, 2, 3) if not 0.0 <= estimated[j - 1] <= j]
        if not wrong:
            return (0.0, *estimated)
        reason = f"the discount of count {wrong[0]} would be {estimated[wrong[0] - 1]:.3f}"
    if fallback is None:
        raise NeveError(
            f"the discounts of {order}-grams cannot be estimated: {reason}. The text is too small "
            "or too regular; set lm.discount_fallback (0.5, 1, 1.5 are usual)"
        )
    log.info("discounts of %d-grams: %s; using %s", order, reason, list(fallback))
    return (0.0, *fallback)


def interpolate(
    context: np.ndarray,
    adjusted: np.ndarray,
    kept: np.ndarray,
    discounts: tuple,
    lower: np.ndarray,
    contexts: int,
) -> tuple[np.ndarray, np.ndarray]:
    """((m,) probabilities of m n-grams, (contexts,) weights of the lower order).

    `lower` (m,) has the probabilities of their suffixes in the order below; `contexts` is the
    number of n-grams there. What pruned n-grams had goes to the lower order.
    """
    taken = np.array(discounts)[np.minimum(adjusted, 3)]
    left = np.where(kept, taken, adjusted)
    total = np.bincount(context, weights=adjusted, minlength=contexts)
    free = np.bincount(context, weights=left, minlength=contexts)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = free / total  # NaN where nothing follows the context
    share = (adjusted - taken) / total[context]
    return share + weight[context] * lower, weight


def backoff_of(weight: np.ndarray) -> np.ndarray:
    """Back-offs of n-grams: log10 of the weights of contexts, 0 for the others (NaN)."""
    is_context = ~np.isnan(weight)
    backoff = np.zeros(len(weight))
    backoff[is_context] = log10(weight[is_context])
    return backoff


def log10(values: np.ndarray) -> np.ndarray:
    """Logarithms; that of 0 is -99, as is usual in ARPA files."""
    return np.log10(np.maximum(values, 1e-99))


def _drop_pruned(levels: list[Level], kept: list[np.ndarray]) -> list[Level]:
    """The levels without the n-grams that are not kept; words and contexts numbered anew."""
    result = []
    words = np.cumsum(kept[0]) - 1
    renumber = np.zeros(1, np.int64)
    for level, keep in zip(levels, kept):
        result.append(
            Level(
                renumber[level.context[keep]],
                words[level.word[keep]].astype(np.int32),
                level.log_prob[keep],
                level.backoff[keep],
                level.count[keep],
            )
        )
        renumber = np.cumsum(keep) - 1
    return result
