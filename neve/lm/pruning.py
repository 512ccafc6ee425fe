"""Entropy pruning: leaving out the n-grams that matter least to the model's predictions.

A. Stolcke, "Entropy-based pruning of backoff language models", DARPA Broadcast News Transcription
and Understanding Workshop, 1998 (arXiv:cs/0006025). Without the n-gram (h, w), w gets its
probability after h from the shorter history, and the back-off of h is another. What this costs is
the relative entropy between the model with and without the n-gram,

    D = sum over v of P(h) P(v | h) (log P(v | h) - log P'(v | h)),

and the perplexity of the model on its own text rises by the share e^D - 1. An n-gram that begins a
longer one that stays is not left out.
"""

from __future__ import annotations

import logging

import numpy as np

from neve.errors import NeveError
from neve.lm.arpa import BOS, EOS, ArpaLm, Level, in_reach
from neve.lm.normalize import left_over, log_ratio, lower_log_probs, set_backoffs

log = logging.getLogger(__name__)

TINY = 1e-12


def entropy_prune(model: ArpaLm, threshold: float = 0.0, max_ngrams: int = 0) -> ArpaLm:
    """The model without the n-grams that matter least, its back-offs computed anew.

    Args:
        threshold: leaves out n-grams for which the perplexity rises by a smaller share than this
            (as SRILM's -prune; 1e-8 to 1e-6 are usual); 0: none.
        max_ngrams: leaves out further ones until so many are left, of all orders together; 0: none.

    Single words always stay. Raises NeveError if `max_ngrams` is less than their number.
    """
    costs = pruning_costs(model)
    if max_ngrams:
        threshold = max(threshold, _threshold_for(costs, max_ngrams, len(model.words)))
    keep = [np.ones(len(model.words), bool), *(cost >= threshold for cost in costs)]
    result = subset(model, keep)
    set_backoffs(result)
    log.info(
        "entropy pruning: %d of %d n-grams are left, at a threshold of %.3g",
        sum(map(len, result.levels)),
        sum(map(len, model.levels)),
        threshold,
    )
    return result


def pruning_costs(model: ArpaLm) -> list[np.ndarray]:
    """For each order from 2, (m,) by which share the perplexity rises without each n-gram.

    An n-gram that others need as context costs at least what the most expensive of them does.
    """
    costs = [_costs(model, order, history) for order, history in _histories(model)]
    for order in range(len(costs), 1, -1):
        context = in_reach(model.levels[order].context)
        np.maximum.at(costs[order - 2], context, costs[order - 1])
    return costs


def _histories(model: ArpaLm):
    """(order from 2, (contexts,) natural log probability of each history of that order).

    It is how often the text has the history, where the model knows it: lower-order Kneser-Ney
    probabilities are not those of the text, and pruning by them costs more perplexity (Chelba et
    al., "Study on interaction between entropy pruning and Kneser-Ney smoothing", Interspeech 2010).
    Else it is what the model says, where P(<s>), which is never predicted, is that of </s>: a text
    has as many of one as the other.
    """
    counts = [level.count for level in model.levels[:-1]]
    if all(count is not None for count in counts):
        total = 0.0
        for order, count in enumerate(counts, start=2):
            count = np.asarray(count, dtype=float)
            total = total or count.sum() - count[model.ids[BOS]]
            yield order, np.log(np.maximum(count, TINY) / total)
        return
    history = in_reach(model.levels[0].log_prob) * np.log(10.0)
    history[model.ids[BOS]] = history[model.ids[EOS]]
    for order in range(2, model.order + 1):
        yield order, history
        level = model.levels[order - 1]
        history = history[in_reach(level.context)] + in_reach(level.log_prob) * np.log(10.0)


def _costs(model: ArpaLm, order: int, history: np.ndarray) -> np.ndarray:
    """(m,) e^D - 1 of each n-gram of `order` by itself."""
    level = model.levels[order - 1]
    contexts = len(model.levels[order - 2])
    context = in_reach(level.context)
    log_probs, lower = in_reach(level.log_prob), lower_log_probs(model, order)
    free = np.maximum(left_over(level, log_probs, contexts), 0.0)[context]
    lower_free = np.maximum(left_over(level, lower, contexts), 0.0)[context]
    prob, lower_prob = 10.0**log_probs, 10.0**lower
    now = in_reach(model.levels[order - 2].backoff)[context] * np.log(10.0)
    without = log_ratio(free + prob, lower_free + lower_prob) * np.log(10.0)
    change = prob * (lower * np.log(10.0) + without - log_probs * np.log(10.0))
    change += np.where(free > TINY, free * (without - now), 0.0)
    return np.expm1(-np.exp(history[context]) * change)


def _threshold_for(costs: list[np.ndarray], most: int, words: int) -> float:
    """The least threshold that leaves at most `most` n-grams, `words` single words among them."""
    if most < words:
        raise NeveError(
            f"lm.max_ngrams is {most}, but the vocabulary alone has {words} words, which all stay; "
            "set a larger number, or lm.vocabulary"
        )
    everything = np.sort(np.concatenate([np.zeros(0), *costs]))
    drop = len(everything) - (most - words)
    if drop <= 0:
        return 0.0
    return float(np.nextafter(everything[drop - 1], np.inf))


def subset(model: ArpaLm, keep: list[np.ndarray]) -> ArpaLm:
    """The model with only the n-grams for which `keep` (one (m,) array an order) is true.

    All words, and the contexts of all n-grams that stay, must be kept. Back-offs are not changed.
    """
    levels = []
    renumber = np.arange(len(model.words))
    for level, kept in zip(model.levels, keep):
        context, *others = (
            None if array is None else in_reach(array)[kept] for array in level.arrays()
        )
        levels.append(Level(renumber[context], *others))
        renumber = np.cumsum(kept) - 1
    while len(levels) > 1 and not len(levels[-1]):
        levels.pop()
    return ArpaLm(model.words, levels)
