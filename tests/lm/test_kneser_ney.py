"""The estimator against recorded results of KenLM's lmplz, and its own invariants."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.lm import ArpaLm, estimate, read_arpa

DATA = Path(__file__).parent / "data"
USUAL = (0.5, 1.0, 1.5)
CASES = [("zipf", f"zipf.o{order}", order, {}) for order in (1, 2, 3, 4)]
CASES += [
    (text, f"{text}.o{order}", order, {"discount_fallback": USUAL})
    for text, orders in (("gettysburg", 3), ("tiny", 4), ("unicode", 3))
    for order in range(1, orders + 1)
]
CASES += [
    ("digits", "digits.o2", 2, {"discount_fallback": USUAL}),
    ("digits", "digits.o3", 3, {"discount_fallback": (0.4, 0.9, 1.2)}),
    ("zipf", "zipf.pruned", 3, {"prune": (0, 0, 1)}),
    ("zipf", "zipf.pruned4", 4, {"prune": (0, 1, 1, 2)}),
]


def sentences(name):
    return (DATA / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]


def recorded(name):
    path = DATA / f"{name}.arpa"
    return read_arpa(path if path.exists() else f"{path}.gz")


def table(model: ArpaLm, order: int) -> dict[str, tuple[float, float]]:
    level = model.levels[order - 1]
    return dict(zip(model.ngrams(order), zip(level.log_prob, level.backoff)))


@pytest.mark.parametrize(("text", "name", "order", "options"), CASES, ids=[c[1] for c in CASES])
def test_equal_to_lmplz(text, name, order, options):
    expected = recorded(name)
    model = estimate(sentences(text), order, **options)
    assert model.order == expected.order == order
    for n in range(1, order + 1):
        ours, theirs = table(model, n), table(expected, n)
        assert ours.keys() == theirs.keys()
        differences = [np.subtract(ours[ngram], theirs[ngram]) for ngram in theirs]
        assert np.abs(differences).max() < 1e-6


def test_words_that_the_text_lacks_share_with_the_unknown_word():
    text = sentences("zipf")
    size = len({word for line in text for word in line.split()}) + 2  # and <unk>, </s>
    extra = [f"extra{i}" for i in range(2000 - size)]
    expected = recorded("zipf.pad")  # the vocabulary padded to 2000 words
    model = estimate(text, 2, ["<unk>", "</s>", *extra, *text[0].split()])
    assert len(model.words) == 2001
    for order in (1, 2):
        ours = table(model, order)
        for ngram, values in table(expected, order).items():
            assert ours[ngram] == pytest.approx(values, abs=1e-6)
    unigrams = table(model, 1)
    for word in extra:
        assert unigrams[word] == (unigrams["<unk>"][0], 0.0)
    assert math.isfinite(model.score(f"{text[0]} extra7"))


def total(model: ArpaLm, history: list[str]) -> float:
    return sum(10 ** model.log_prob(history, word) for word in model.words if word != "<s>")


WORD = st.sampled_from("a b c d".split())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(WORD, max_size=5), min_size=1, max_size=12).filter(any),
    st.integers(1, 4),
    st.sampled_from([(), (0, 1), (0, 0, 1)]),
    st.lists(WORD, max_size=3),
)
def test_probabilities_sum_to_one(text, order, prune, history):
    model = estimate(text, order, ["never"], discount_fallback=USUAL, prune=prune[: max(1, order)])
    known = [word for word in history if word in model]
    assert total(model, ["<s>", *known]) == pytest.approx(1.0, abs=1e-9)
    assert total(model, known) == pytest.approx(1.0, abs=1e-9)


def test_strings_and_lists_are_the_same():
    text = sentences("gettysburg")
    one = estimate(text, 2, discount_fallback=USUAL)
    other = estimate((line.split() for line in text), 2, discount_fallback=USUAL)
    assert one.words == other.words
    for a, b in zip(one.levels, other.levels):
        assert np.array_equal(a.log_prob, b.log_prob) and np.array_equal(a.word, b.word)


@pytest.mark.parametrize(
    ("text", "order", "options", "words"),
    [
        ([], 2, {}, "the text for the language model is empty"),
        (["", " "], 2, {}, "the text for the language model is empty"),
        (["a"], 0, {}, "lm.order is 0"),
        (["a", "b <s> c"], 2, {}, "sentence 2 of the language model's text has <s>"),
        (["a <unk>"], 2, {}, "has <unk>"),
        (["a b a", "b a c", "a"], 2, {}, "the discounts of 1-grams cannot be estimated"),
        (["a"], 2, {"discount_fallback": (0.5, 1.0)}, "lm.discount_fallback"),
        (["a"], 2, {"discount_fallback": (1.5, 1.0, 1.5)}, "lm.discount_fallback"),
        (["a"], 2, {"prune": (1,)}, "single words cannot be pruned"),
        (["a"], 3, {"prune": (0, 2, 1)}, "must not be negative and not fall"),
        (["a"], 2, {"prune": (0, 1, 1)}, "lm.prune has 3 numbers"),
    ],
)
def test_bad_input(text, order, options, words):
    with pytest.raises(NeveError) as error:
        estimate(text, order, **options)
    assert words in str(error.value)
