"""Entropy pruning against the definition: the divergence summed over all words and histories."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from neve.errors import NeveError
from neve.lm import ArpaLm, entropy_prune, estimate
from neve.lm.normalize import set_backoffs
from neve.lm.pruning import pruning_costs, subset

DATA = Path(__file__).parent / "data"
TEXT = ["a b a c", "b a b", "c c a b", "a b a c", "c", "b b a c a"]


def model_of(order, text=TEXT):
    return estimate(text, order, ["never"], discount_fallback=(0.5, 1.0, 1.5))


def without_counts(model):
    """As it is when it comes from an ARPA file."""
    return ArpaLm(model.words, [dataclasses.replace(level, count=None) for level in model.levels])


def history_probability(model, history):
    """How often the text has it; else by the model, P(<s>) being that of </s>."""
    if model.levels[0].count is not None:
        lines = [["<s>", *line.split(), "</s>"] for line in TEXT]
        size = len(history)
        places = [line[i : i + size] for line in lines for i in range(len(line) - size + 1)]
        return places.count(history) / sum(len(line) - 1 for line in lines)
    total = 1.0
    for place, word in enumerate(history):
        name = "</s>" if word == "<s>" else word
        total *= 10 ** model.log_prob(history[:place], name)
    return total


def without(model, order, row):
    """The model without one n-gram, the back-off of its history computed from scratch."""
    keep = [np.ones(len(level), bool) for level in model.levels]
    keep[order - 1][row] = False
    pruned = subset(model, keep)
    history = int(model.levels[order - 1].context[row])
    words = [word for word in model.words if word != "<s>"]
    context = model.ngrams(order - 1)[history].split()
    level = pruned.levels[order - 1]
    explicit = {pruned.words[w] for w in level.word[level.context == history]}
    free = 1.0 - sum(10 ** model.log_prob(context, word) for word in explicit)
    lower = sum(10 ** model.log_prob(context[1:], w) for w in words if w not in explicit)
    pruned.levels[order - 2].backoff = pruned.levels[order - 2].backoff.copy()
    pruned.levels[order - 2].backoff[history] = math.log10(free / lower)
    return pruned, context


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("order", [2, 3])
def test_costs_equal_the_definition(order, counted):
    model = model_of(order) if counted else without_counts(model_of(order))
    costs = pruning_costs(model)[-1]  # of the longest n-grams, which no other needs
    words = [word for word in model.words if word != "<s>"]
    for row in range(len(costs)):
        other, history = without(model, order, row)
        divergence = 0.0
        for word in words:
            before, after = model.log_prob(history, word), other.log_prob(history, word)
            divergence += 10**before * (before - after) * math.log(10.0)
        expected = math.expm1(history_probability(model, history) * divergence)
        assert costs[row] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_contexts_cost_at_least_what_needs_them():
    model = model_of(3)
    twos, threes = pruning_costs(model)
    for context, cost in zip(model.levels[2].context, threes):
        assert twos[context] >= cost


def total(model, history):
    return sum(10 ** model.log_prob(history, word) for word in model.words if word != "<s>")


@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 1e-2, 10.0])
def test_a_pruned_model_is_a_distribution(threshold):
    model = without_counts(model_of(3))
    pruned = entropy_prune(model, threshold)
    kept, whole = sum(map(len, pruned.levels)), sum(map(len, model.levels))
    assert kept < whole and pruned.words == model.words
    for history in ([], ["<s>"], ["a"], ["a", "b"], ["<s>", "c"], ["never", "a"], ["b", "a"]):
        assert total(pruned, history) == pytest.approx(1.0, abs=1e-9)
    if threshold == 10.0:
        assert pruned.order == 1
    same = model.ngrams(2)
    assert set(pruned.ngrams(2)) <= set(same) if pruned.order > 1 else True


def test_nothing_to_prune_changes_nothing():
    model = model_of(3)
    again = entropy_prune(model, 0.0)
    for one, other in zip(model.levels, again.levels, strict=True):
        assert np.array_equal(one.word, other.word) and np.array_equal(one.log_prob, other.log_prob)
        assert np.allclose(one.backoff, other.backoff, atol=1e-9)


@pytest.mark.parametrize("most", [10, 17, 1000])
def test_a_number_of_ngrams(most):
    model = model_of(3)
    pruned = entropy_prune(model, max_ngrams=most)
    count = sum(map(len, pruned.levels))
    assert count == min(most, sum(map(len, model.levels))) or most - 3 < count <= most
    with pytest.raises(NeveError, match="lm.max_ngrams is 4, but the vocabulary alone has 7"):
        entropy_prune(model, max_ngrams=4)


def test_the_least_important_go_first():
    """Pruning by importance costs less perplexity than leaving out as many at random."""
    text = (DATA / "zipf.txt").read_text(encoding="utf-8").split("\n")[:-1]
    model = estimate(text[: len(text) // 2], 3, discount_fallback=(0.5, 1.0, 1.5))
    held_out = text[len(text) // 2 :][:200]
    most = sum(map(len, model.levels)) // 4 + len(model.words)
    pruned = entropy_prune(model, max_ngrams=most)
    size = len(pruned.levels[1]) if pruned.order > 1 else 0
    rng = np.random.default_rng(1)
    keep = [np.ones(len(model.words), bool)]
    some = np.zeros(len(model.levels[1]), bool)
    some[rng.permutation(len(some))[: most - len(model.words)]] = True
    random = subset(model, [*keep, some, np.zeros(len(model.levels[2]), bool)])
    set_backoffs(random)
    assert size and pruned.perplexity(held_out).value < random.perplexity(held_out).value
