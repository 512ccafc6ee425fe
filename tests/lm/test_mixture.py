"""Mixtures of models: against the explicit mixture, sums over the vocabulary, weights by EM."""

import itertools
import math

import pytest

from neve.errors import ConfigError, NeveError
from neve.lm import best_weights, estimate, interpolate
from neve.lm.config import mixture_weights

NEWS = ["the cat sat on the mat", "the dog sat", "a cat and a dog", "the mat", "a dog sat on a mat"]
TALK = ["well the cat you know", "you know well", "the dog well you know the dog", "well well"]
USUAL = {"discount_fallback": (0.5, 1.0, 1.5)}


@pytest.fixture(scope="module")
def models():
    return [estimate(NEWS, 3, ["zebra"], **USUAL), estimate(TALK, 2, **USUAL)]


def mixed_log_prob(models, weights, history, word):
    total = 0.0
    for model, weight in zip(models, weights):
        if word in model:
            total += weight * 10 ** model.log_prob(history, word)
    return math.log10(total)


def test_what_is_seen_is_the_explicit_mixture(models):
    weights = (0.7, 0.3)
    mixture = interpolate(models, weights)
    assert mixture.order == 3 and set(mixture.words) == set(models[0].words) | set(models[1].words)
    for order in (1, 2, 3):
        ngrams = set(mixture.ngrams(order))
        union = set().union(*(m.ngrams(order) for m in models if m.order >= order))
        assert ngrams == union
        for ngram in ngrams - {"<s>"}:
            *history, word = ngram.split()
            expected = mixed_log_prob(models, weights, history, word)
            assert mixture.log_prob(history, word) == pytest.approx(expected, abs=1e-9)
    # so is the perplexity of the texts, all of whose n-grams are seen in one of the models
    log_prob = count = 0
    for sentence in NEWS:
        words = ["<s>", *sentence.split(), "</s>"]
        for place in range(1, len(words)):
            history = words[max(0, place - 2) : place]
            log_prob += mixed_log_prob(models, weights, history, words[place])
            count += 1
    assert mixture.perplexity(NEWS).value == pytest.approx(10 ** (-log_prob / count), rel=1e-9)


def test_probabilities_sum_to_one(models):
    mixture = interpolate([*models, estimate(["a b c", "c b"], 1, **USUAL)], (0.5, 0.2, 0.3))
    words = ["<s>", "the", "dog", "well", "you", "zebra", "b"]
    for length in (0, 1, 2):
        for history in itertools.product(words, repeat=length):
            total = sum(
                10 ** mixture.log_prob(history, word) for word in mixture.words if word != "<s>"
            )
            assert total == pytest.approx(1.0, abs=1e-9), history


def test_one_model_alone_stays_what_it_is(models):
    again = interpolate(models[:1], [1.0])
    for sentence in (*NEWS, *TALK):
        assert again.score(sentence) == pytest.approx(models[0].score(sentence), abs=1e-9)
    nothing_of_the_other = interpolate(models, [1.0, 0.0])
    assert nothing_of_the_other.score(NEWS[0]) == pytest.approx(models[0].score(NEWS[0]), abs=1e-9)


def test_the_best_weights(models):
    dev = [NEWS[1], NEWS[0], TALK[1], "an unknown dog sat"]
    weights = best_weights(models, dev)
    assert sum(weights) == pytest.approx(1.0)

    def cost(first):
        total = 0.0
        for sentence in dev:
            words = ["<s>", *sentence.split(), "</s>"]
            for place in range(1, len(words)):
                if any(words[place] in model for model in models):
                    share = (first, 1.0 - first)
                    history = words[max(0, place - 2) : place]
                    total -= mixed_log_prob(models, share, history, words[place])
        return total

    best = cost(weights[0])
    for other in (weights[0] - 0.01, weights[0] + 0.01, 0.1, 0.9):
        assert best <= cost(other) + 1e-9
    assert best_weights(models, NEWS)[0] > 0.9 and best_weights(models, TALK)[1] > 0.9


def test_a_text_that_no_model_knows(models):
    with pytest.raises(NeveError, match="know none of the words"):
        best_weights(models, [])


def test_weights_of_the_configuration():
    assert mixture_weights("auto", 3) is None
    assert mixture_weights("0.7 0.3", 2) == mixture_weights("0.7, 0.3", 2) == [0.7, 0.3]
    for wrong in ("0.7", "0.7 0.4", "-1 2", "much little", ""):
        with pytest.raises(ConfigError, match="lm.weights is .*expected auto, or 2 numbers"):
            mixture_weights(wrong, 2)
