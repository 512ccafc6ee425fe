"""Word times: runs of tokens, and where words end among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neve.decoding.times import (
    TokenSpan,
    spelled_words,
    split_tokens,
    timed_words,
    token_runs,
)
from neve.lang import Lang, LangConfig, build_lang

SPELLINGS = {"A": [[1], [2, 3]], "B": [[3, 1]], "AB": [[1, 3, 1]]}


def log_probs_of(labels, tokens=4, sure=0.9):
    rest = (1 - sure) / (tokens - 1)
    rows = [[sure if token == label else rest for token in range(tokens)] for label in labels]
    return np.log(np.array(rows, dtype=np.float32).reshape(-1, tokens))


def test_runs_have_no_blanks_and_know_their_frames():
    labels = np.array([0, 0, 2, 2, 1, 0, 1, 1, 0])
    assert token_runs(labels) == [(2, 2, 4), (1, 4, 5), (1, 6, 8)]
    assert token_runs(np.array([], dtype=int)) == []


@pytest.mark.parametrize(
    ("tokens", "words", "ends"),
    [
        ([1, 3, 1], ["AB"], [3]),
        ([1, 3, 1], ["A", "B"], [1, 3]),
        ([2, 3, 3, 1], ["A", "B"], [2, 4]),
        ([2, 3, 1], ["A", "A"], [2, 3]),
        ([1, 2], ["A"], None),
        ([], [], []),
        ([1], [], None),
    ],
)
def test_tokens_are_cut_into_pronunciations(tokens, words, ends):
    assert split_tokens(tokens, words, SPELLINGS.__getitem__) == ends


spelling = st.lists(st.integers(1, 4), min_size=1, max_size=4)
lexicons = st.lists(st.lists(spelling, min_size=1, max_size=3), min_size=1, max_size=5)


@given(lexicons, st.data())
def test_splitting_inverts_concatenation(lexicon, data):
    words = data.draw(st.lists(st.integers(0, len(lexicon) - 1), max_size=6))
    said = [data.draw(st.sampled_from(lexicon[word])) for word in words]
    tokens = [token for part in said for token in part]
    ends = split_tokens(tokens, words, lexicon.__getitem__)
    assert ends is not None and len(ends) == len(words)
    assert (ends or [0])[-1] == len(tokens)
    for word, begin, end in zip(words, [0, *ends], ends):
        assert tokens[begin:end] in lexicon[word]
    if all(len(spellings) == 1 for spellings in lexicon):  # then there is one way only
        assert ends == np.cumsum([len(part) for part in said]).tolist()


def test_words_last_from_their_first_token_to_their_last():
    labels = np.array([0, 1, 1, 0, 3, 0, 1, 0])
    log_probs = log_probs_of(labels)
    words = timed_words(labels, log_probs, ["A", "B"], [1, 4], SPELLINGS.__getitem__, 0.04)
    assert [(word.text, word.start, word.end) for word in words] == [
        ("A", pytest.approx(0.04), pytest.approx(0.12)),
        ("B", pytest.approx(0.16), pytest.approx(0.28)),
    ]
    assert words[0].confidence == pytest.approx(0.9, abs=1e-5)


def test_confidence_falls_with_the_probability_of_a_token():
    labels = np.array([3, 1])
    log_probs = log_probs_of(labels)
    log_probs[1] = np.log([0.4, 0.5, 0.05, 0.05])
    (word,) = timed_words(labels, log_probs, ["B"], [0], SPELLINGS.__getitem__, 0.04)
    assert word.confidence == pytest.approx((0.9 * 0.5) ** 0.5, abs=1e-5)


def test_frames_of_emission_serve_where_tokens_do_not_fit():
    labels = np.array([1, 0, 2, 2, 0, 1])  # 2 alone spells nothing
    log_probs = log_probs_of(labels)
    words = timed_words(labels, log_probs, ["A", "B"], [0, 3], SPELLINGS.__getitem__, 1.0)
    assert [(word.start, word.end) for word in words] == [(0.0, 3.0), (3.0, 6.0)]


def test_a_word_that_the_final_arc_emits_lies_within_the_utterance():
    labels = np.array([1, 0, 2, 2])
    words = timed_words(
        labels, log_probs_of(labels), ["A", "B"], [1, 4], SPELLINGS.__getitem__, 1.0
    )
    assert [(word.start, word.end) for word in words] == [(1.0, 4.0), (3.0, 4.0)]


@pytest.fixture
def make_lang(tmp_path):
    def make(kind, text="u1 AB CAB\nu2 AB\nu3 CAB", **changes):
        (tmp_path / "text_train").write_text(text + "\n")
        (tmp_path / "lexicon.txt").write_text("AB A B\nCAB C A B\n")
        lexicon = tmp_path / "lexicon.txt" if kind == "phone" else None
        settings = LangConfig(kind=kind, write_pt=False, **changes)
        build_lang(settings, [tmp_path / "text_train"], lexicon, tmp_path / kind)
        return Lang.load(tmp_path / kind)

    return make


@pytest.mark.parametrize(("kind", "changes"), [("char", {}), ("bpe", {"vocab_size": 8})])
def test_tokens_spell_the_words_that_they_were_made_of(make_lang, kind, changes):
    lang = make_lang(kind, **changes)
    tokens, spans, wanted, frame = [], [], [], 0
    for word in ("AB", "CAB", "AB"):
        pieces = lang.encode(word)
        wanted.append((word, frame * 0.04, (frame + 2 * len(pieces) - 1) * 0.04))
        for place, token in enumerate(pieces):
            spans.append(TokenSpan(token, frame, frame + 1, np.log(0.5 if place else 0.8)))
            frame += 2
        tokens.append(pieces)
    assert max(map(len, tokens)) > 1
    found = spelled_words(spans, lang, 0.04)
    for word, (text, start, end), pieces in zip(found, wanted, tokens, strict=True):
        assert word.text == text
        assert (word.start, word.end) == (pytest.approx(start), pytest.approx(end))
        mean = (0.8 * 0.5 ** (len(pieces) - 1)) ** (1 / len(pieces))
        assert word.confidence == pytest.approx(mean)
    assert spelled_words([], lang, 0.04) == []


def test_the_first_word_may_lack_its_boundary_and_a_boundary_alone_is_no_word(make_lang):
    lang = make_lang("char")
    said = ["B", "\u2581", "\u2581", "C", "\u2581"]
    spans = [TokenSpan(lang.tokens[token], i, i + 1, -0.1) for i, token in enumerate(said)]
    words = spelled_words(spans, lang, 1.0)
    assert [(word.text, word.start, word.end) for word in words] == [("B", 0, 1), ("C", 2, 4)]


def test_phones_are_spelled_one_by_one_without_silence(make_lang):
    lang = make_lang("phone", silence="SIL")
    spans = [
        TokenSpan(lang.tokens[token], i, i + 1, -0.1)
        for i, token in enumerate(["SIL", "A", "B", "SIL"])
    ]
    words = spelled_words(spans, lang, 1.0)
    assert [(word.text, word.start) for word in words] == [("A", 1), ("B", 2)]
