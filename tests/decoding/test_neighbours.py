"""Each search beside its simpler neighbour, on an input where they differ, worked out by hand.

Searches of lattices, and language models beside a transducer, have theirs in test_lattices.py,
test_mbr.py and test_transducer_lms.py.
"""

import numpy as np
import pytest
from small_lattices import recognizer, scores_of, search, sentences, small_lang, texts_of
from table_transducer import frames, transducer

from neve.decoding import DecodingConfig, Recognizer
from neve.lang import Lang, LangConfig, build_lang


@pytest.fixture
def lang(tmp_path):
    return small_lang(tmp_path)


@pytest.fixture
def characters(tmp_path):
    (tmp_path / "text_train").write_text("u1 AB C\n")
    settings = LangConfig(kind="char", write_pt=False)
    build_lang(settings, [tmp_path / "text_train"], None, tmp_path / "char")
    return Lang.load(tmp_path / "char")


def found(lang, model, outputs, method, texts=None, **changes):
    """{text: probability} of the list, the best first."""
    config = DecodingConfig(method=method, nbest=9, length_norm=False, **changes)
    (row,) = Recognizer(model, lang, None, config, 0.01).search(
        outputs, np.array([outputs.shape[1]]), None, texts
    )
    return {hypothesis.text: float(np.exp(hypothesis.score)) for hypothesis in row}


def first(found):
    return next(iter(found.items()))


def test_a_lexicon_forbids_what_greedy_says(lang):
    # the best phones are l m a, which no words of the lexicon are; of those that are, LONG is
    # nearest: l m n, 0.4, and a sixth for one of six words. C B A has 0.1 x 0.1 x 0.6 / 216
    scores = scores_of(lang, {"l": 0.9, "c": 0.1}, {"m": 0.9, "b": 0.1}, {"a": 0.6, "n": 0.4})
    assert texts_of(search(recognizer(lang, method="ctc-greedy"), scores)) == ["l m a"]
    (best,) = search(recognizer(lang, method="graph"), scores)
    assert best.text == "LONG"
    assert np.exp(best.score) == pytest.approx(0.9 * 0.9 * 0.4 / 6, rel=1e-4)


def test_a_language_model_decides_between_words_that_the_lexicon_has(lang, tmp_path):
    # the lexicon alone: A 0.6 / 6, B 0.4 / 6; with G: A 0.6 x 0.1, B 0.4 x 0.9
    G = sentences(lang, tmp_path / "G.txt", ("A", 0.1), ("B", 0.9))
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 1.0})
    for method in ("graph", "1best"):
        assert texts_of(search(recognizer(lang, method=method), scores)) == ["A"]
        (best,) = search(recognizer(lang, G, method=method), scores)
        assert best.text == "B" and np.exp(best.score) == pytest.approx(0.36, rel=1e-4)


def test_modified_beam_sums_alignments_where_greedy_takes_a_token_at_a_time(characters):
    # Blank is best in both frames. After a token there are blanks alone, so that A is
    # "A -", 0.4, or "- A", 0.5 x 0.4: 0.6 together; nothing at all has 0.5 x 0.5
    model = transducer(characters, {name: {"-": 60.0} for name in "ABC"})
    outputs = frames(characters, *[{"-": 0.5, "A": 0.4, "B": 0.1}] * 2)
    assert first(found(characters, model, outputs, "greedy")) == ("", pytest.approx(0.25))
    listed = found(characters, model, outputs, "modified-beam", beam=5)
    assert list(listed)[:3] == ["A", "", "B"]
    assert list(listed.values())[:3] == pytest.approx([0.6, 0.25, 0.15], rel=1e-4)
    # of the five paths to these, four may be kept: "- B", 0.05, is none of them
    assert found(characters, model, outputs, "modified-beam", beam=4)["B"] == pytest.approx(0.1)
    # one hypothesis is kept after the first frame, the empty one: A has its second half only
    one = found(characters, model, outputs, "modified-beam", beam=1)
    assert first(one) == ("", pytest.approx(0.25))


def test_beam_gives_several_tokens_in_a_frame_and_modified_beam_one(characters):
    # A with 0.9; after A nothing but B, after B nothing but blank: all in the only frame there is
    model = transducer(characters, {"A": {"B": 90.0}, "B": {"-": 90.0}})
    outputs = frames(characters, {"A": 0.9, "-": 0.1})
    assert first(found(characters, model, outputs, "modified-beam")) == ("A", pytest.approx(0.9))
    assert first(found(characters, model, outputs, "beam")) == ("AB", pytest.approx(0.9, rel=1e-4))


def test_fast_beam_takes_the_best_path_and_its_list_the_best_sum(characters):
    # After a token there are blanks alone. Paths: "- -" 0.5 x 0.7; "A -" 0.3, "- A" 0.5 x 0.3:
    # A has 0.45 together; "B -" 0.2
    model = transducer(characters, {name: {"-": 60.0} for name in "ABC"})
    outputs = frames(characters, {"-": 0.5, "A": 0.3, "B": 0.2}, {"-": 0.7, "A": 0.3})
    assert first(found(characters, model, outputs, "modified-beam"))[0] == "A"
    assert first(found(characters, model, outputs, "fast-beam")) == ("", pytest.approx(0.35))
    listed = found(characters, model, outputs, "fast-beam-nbest")
    assert list(listed) == ["A", "", "B"]
    assert list(listed.values()) == pytest.approx([0.45, 0.35, 0.2], rel=1e-4)
    oracle = found(characters, model, outputs, "fast-beam-nbest-oracle", ["B"])
    assert first(oracle) == ("B", pytest.approx(0.2, rel=1e-4))


def test_fast_beam_finds_a_path_that_greedy_leaves(characters):
    # greedy takes the blank of the first frame, 0.5, after which its best is 0.5 x 0.5; A has 0.4
    model = transducer(characters, {name: {"-": 60.0} for name in "ABC"})
    outputs = frames(characters, *[{"-": 0.5, "A": 0.4, "B": 0.1}] * 2)
    assert first(found(characters, model, outputs, "greedy"))[0] == ""
    assert first(found(characters, model, outputs, "fast-beam")) == ("A", pytest.approx(0.4))
