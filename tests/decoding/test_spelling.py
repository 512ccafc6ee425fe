"""Words of a graph as tokens of a model that rescores."""

import pytest

from neve.decoding.spelling import Spelling
from neve.errors import NeveError
from neve.lang import Lang, LangConfig, build_lang


@pytest.fixture
def lang(tmp_path):
    (tmp_path / "text").write_text("u1 A B LONG\n")
    (tmp_path / "lexicon.txt").write_text("A a\nB b\nLONG l m n\n")
    settings = LangConfig(kind="phone", write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    return Lang.load(tmp_path / "lang")


def test_a_model_without_an_unknown_word_scores_the_others(lang, tmp_path):
    (tmp_path / "more").mkdir()
    settings = LangConfig(kind="phone", oov="unk", write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "more/lang")
    with_unknown = Lang.load(tmp_path / "more/lang")
    said = ["A", "<UNK>", "B"]
    assert Spelling(with_unknown, lang, "x")(said) == lang.encode("A B")
    three = with_unknown.encode("A <UNK> B")
    assert Spelling(with_unknown, with_unknown, "x")(said) == three and len(three) == 3


def test_words_that_a_rescoring_model_has_no_tokens_for(lang, tmp_path, caplog):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/text").write_text("u1 A NEW NÉE OLD\n")
    (tmp_path / "more/lexicon.txt").write_text("A a\nNEW n m\nNÉE n l\nOLD o a\n")

    def built(kind, name, text="more/text"):
        settings = LangConfig(kind=kind, write_pt=False)
        lexicon = tmp_path / "more/lexicon.txt" if kind == "phone" else None
        build_lang(settings, [tmp_path / text], lexicon, tmp_path / name)
        return Lang.load(tmp_path / name)

    graph = built("phone", "more/lang")
    with pytest.raises(NeveError) as error:  # phones have no <unk>
        Spelling(graph, lang, "decoding.neural_lm lm")
    assert "1 words of" in str(error.value) and ": OLD; train the model" in str(error.value)
    # NEW has a pronunciation in phones that both have
    graph._pronunciations.pop("OLD")
    ids = [lang.tokens[phone] for phone in ("a", "n", "m")]
    assert Spelling(graph, lang, "x")(["A", "NEW"]) == ids
    (tmp_path / "plain").write_text("u1 A NEW OLD\n")
    characters = built("char", "characters", "plain")
    spelling = Spelling(graph, characters, "decoding.neural_lm lm")
    assert spelling(["NÉE", "A"]) == [characters.tokens["<unk>"], *characters.encode("A")]
    assert "1 words of" in caplog.text and "are scored as <unk>: NÉE" in caplog.text
