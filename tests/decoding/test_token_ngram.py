"""N-grams over tokens: the ARPA file's scores, and tokens that it lacks."""

import math

import numpy as np
import pytest
from tiny_lms import unigram_arpa

from neve.decoding import token_ngram
from neve.decoding.token_ngram import TokenNgram
from neve.errors import NeveError
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import estimate, write_arpa

LN10 = math.log(10.0)


@pytest.fixture
def lang(tmp_path):
    (tmp_path / "text_train").write_text("u1 AB C\nu2 ABC\n")
    build_lang(
        LangConfig(kind="char", write_pt=False), [tmp_path / "text_train"], None, tmp_path / "char"
    )
    return Lang.load(tmp_path / "char")


def spelled(lang, text):
    return [lang.tokens[name] for name in text.split()]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("remembered", [1 << 20, 1])
def test_scores_are_those_of_the_arpa_file(lang, tmp_path, monkeypatch, order, remembered):
    monkeypatch.setattr(token_ngram, "REMEMBERED", remembered)
    text = ["▁ A B ▁ C", "▁ A B C", "▁ C A A"]
    model = estimate(text, order, ["B"], discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / "lm.arpa")
    ngram = TokenNgram.read(tmp_path / "lm.arpa", lang)
    for said in ("", "A", "▁ A B ▁ C", "C C C ▁ B A A A ▁"):
        tokens = spelled(lang, said)
        assert ngram.score(tokens) == pytest.approx(LN10 * model.score(said), abs=1e-4)
        started = LN10 * model.score(said, eos=False)
        assert ngram.score(tokens, ended=False) == pytest.approx(started, abs=1e-4)
        row = ngram.row(ngram.context(tokens))
        assert row.dtype == np.float32 and row.shape == (lang.num_tokens,) and row[0] == 0.0
        for name in ("▁", "A", "B", "C"):
            wanted = LN10 * model.log_prob(["<s>", *said.split()], name)
            assert row[lang.tokens[name]] == pytest.approx(wanted, abs=1e-4)
    fresh = TokenNgram.read(tmp_path / "lm.arpa", lang)
    fresh.score(spelled(lang, "▁ A B ▁ C"))
    assert not fresh._rows  # a sequence is scored without what other tokens would have got
    # after tokens that are not the first of a sentence
    inside = ngram.row(ngram.context(spelled(lang, "A"), begins=False))
    assert inside[lang.tokens["B"]] == pytest.approx(LN10 * model.log_prob(["A"], "B"), abs=1e-4)


def test_tokens_that_say_nothing_are_as_improbable_as_any(lang, tmp_path):
    path = unigram_arpa(
        tmp_path / "lm.arpa", {"▁": 0.5, "A": 0.2, "B": 0.1, "C": 0.15, "</s>": 0.05}
    )
    ngram = TokenNgram.read(path, lang)
    row = ngram.row(ngram.context([]))
    assert row[lang.tokens["<unk>"]] == row[lang.tokens["<sos/eos>"]] == row[lang.tokens["B"]]
    assert row.min() == pytest.approx(math.log(0.1), abs=1e-5)
    silent = [lang.tokens["A"], lang.tokens["<unk>"], lang.tokens["▁"]]
    wanted = math.log(0.2 * 0.1 * 0.5 * 0.05)
    assert ngram.score(silent) == pytest.approx(wanted, abs=1e-5)


def test_lacking_tokens_are_the_unknown_word_or_an_error(lang, tmp_path):
    some = {"▁": 0.5, "A": 0.3, "</s>": 0.05}
    known = TokenNgram.read(unigram_arpa(tmp_path / "lm.arpa", some | {"<unk>": 0.02}), lang)
    row = known.row(known.context([]))
    for name in ("B", "C", "<unk>"):
        assert row[lang.tokens[name]] == pytest.approx(math.log(0.02), abs=1e-5)
    with pytest.raises(NeveError, match=r"some.arpa: lacks 2 of the 4 tokens of .*\(B C\); make"):
        TokenNgram.read(unigram_arpa(tmp_path / "some.arpa", some), lang)
    words = {"AB": 0.5, "C.": 0.3, "</s>": 0.1, "<unk>": 0.1}
    with pytest.raises(NeveError, match=r"words.arpa: lacks 4 of the 4 tokens"):
        TokenNgram.read(unigram_arpa(tmp_path / "words.arpa", words), lang)
