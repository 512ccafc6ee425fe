"""Linear interpolation of n-gram models into one, with weights that suit a text."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from neve.errors import NeveError
from neve.lm.arpa import BOS, UNK, ArpaLm, Level, in_reach
from neve.lm.normalize import ROWS, ZERO, set_backoffs
from neve.lm.numbering import SPECIAL
from neve.lm.perplexity import numbered, score_tokens

log = logging.getLogger(__name__)

ROUNDS = 100  # of expectation maximisation, at most


def interpolate(models: Sequence[ArpaLm], weights: Sequence[float]) -> ArpaLm:
    """One model with the n-grams of all `models` and the weighted sums of their probabilities.

    After a history and word that one of the models has as an n-gram, the result is exactly the
    mixture; elsewhere it backs off, with weights that make the probabilities of all words sum to
    one (as SRILM's ngram -mix-lm does). A word that a model does not know has the probability 0 in
    it.

    Args:
        models: of any orders.
        weights: of each model; their sum is 1.
    """
    words = [*SPECIAL, *sorted(set().union(*(model.words for model in models)) - set(SPECIAL))]
    if not any(UNK in model for model in models):
        words.remove(UNK)
    ids = {word: index for index, word in enumerate(words)}
    new_ids = [np.array([ids[word] for word in model.words]) for model in models]
    levels = [
        Level(
            np.zeros(len(words), np.int64),
            np.arange(len(words), dtype=np.int32),
            np.zeros(0),
            np.zeros(len(words)),
        )
    ]
    places = new_ids  # of each model's n-grams of an order, where they are in the result
    for order in range(2, max(model.order for model in models) + 1):
        keys = []
        for model, place, new in zip(models, places, new_ids):
            if model.order >= order:
                level = model.levels[order - 1]
                keys.append(place[in_reach(level.context)] * len(words) + new[in_reach(level.word)])
            else:
                keys.append(np.zeros(0, np.int64))
        union = np.unique(np.concatenate(keys))
        context, word = np.divmod(union, len(words))
        levels.append(Level(context, word.astype(np.int32), np.zeros(0), np.zeros(len(union))))
        places = [np.searchsorted(union, key) for key in keys]
    result = ArpaLm(words, levels)
    known = [_old_ids(model, words) for model in models]
    for order, level in enumerate(levels, start=1):
        level.log_prob = np.empty(len(level))
        for start in range(0, len(level), ROWS):
            part = slice(start, min(start + ROWS, len(level)))
            mixed = _mixture(models, known, weights, result.word_ids(order, part))
            level.log_prob[part] = np.log10(np.maximum(mixed, 10.0**ZERO))
    levels[0].log_prob[ids[BOS]] = 0.0
    set_backoffs(result)
    return result


def _old_ids(model: ArpaLm, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each of `words` its id in `model` as a history, and as a word that is predicted."""
    predicted = np.array([model.ids.get(word, -1) for word in words])
    return np.where(predicted < 0, model.ids.get(UNK, -1), predicted), predicted


def _mixture(models, known, weights, rows: np.ndarray) -> np.ndarray:
    """(m,) weighted sum of the models' probabilities of the last of (m, n) words of the result."""
    total = np.zeros(len(rows))
    for model, (history, predicted), weight in zip(models, known, weights):
        words = history[rows]
        words[:, -1] = predicted[rows[:, -1]]
        total += weight * 10.0 ** model.log_probs(words)
    return total


def best_weights(models: Sequence[ArpaLm], sentences: Iterable[str | Sequence[str]]) -> list[float]:
    """The weights with which the mixture predicts `sentences` best.

    They are found by expectation maximisation (Jelinek and Mercer, 1980), from equal ones. Words
    that no model knows do not count.

    Raises NeveError if there is nothing that counts.
    """
    texts = [sentence.split() if isinstance(sentence, str) else sentence for sentence in sentences]
    probs = np.stack([_probabilities(model, texts) for model in models])
    probs = probs[:, probs.max(axis=0, initial=0.0) > 0.0]
    if not probs.shape[1]:
        raise NeveError("the models know none of the words of the text that lm.weights is tuned on")
    weights = np.full(len(models), 1.0 / len(models))
    for _ in range(ROUNDS):
        shares = weights[:, None] * probs
        better = (shares / shares.sum(axis=0)).mean(axis=1)
        moved = np.abs(better - weights).max()
        weights = better
        if moved < 1e-6:
            break
    weights /= weights.sum()
    perplexity = np.exp(-np.log((weights[:, None] * probs).sum(axis=0)).mean())
    log.info(
        "weights %s: perplexity of the mixture %.2f",
        " ".join(f"{weight:.4f}" for weight in weights),
        perplexity,
    )
    return weights.tolist()


def _probabilities(model: ArpaLm, texts: list[Sequence[str]]) -> np.ndarray:
    """(t,) probability of each word and sentence end; 0 for words that the model does not know."""
    parts = [np.zeros(0)]
    for tokens, unknown in numbered(model, texts):
        log_probs, _ = score_tokens(model, tokens)
        values = np.where(unknown, 0.0, 10.0**log_probs)
        parts.append(values[tokens != model.ids.get(BOS, -1)])
    return np.concatenate(parts)
