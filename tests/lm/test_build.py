"""The language model stage: memory, vocabularies, mixtures, pruning, and what goes wrong."""

import numpy as np
import pytest

from neve.errors import ConfigError, NeveError
from neve.lang import LangConfig, build_lang
from neve.lm import LmConfig, build_lm, estimate, read_arpa, write_arpa
from neve.text import TextConfig

TEXT = ["yes no yes", "no no", "yes", "no yes yes no maybe", "maybe no"]
MORE = ["november yes yes", "yes november", "no perhaps november", "november"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    (path / "text_train").write_text("".join(f"u{i} {line}\n" for i, line in enumerate(TEXT)))
    (path / "text_dev").write_text("d1 no yes november\nd2 yes november\n")
    (path / "lexicon.txt").write_text("yes Y\nno N\nmaybe M\nnovember V\n")
    (path / "more.txt").write_text("\n".join(MORE) + "\n")
    config = LangConfig(write_pt=False)
    build_lang(config, [path / "text_train"], path / "lexicon.txt", path / "lang")
    model = estimate(MORE, 2, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, path / "general.arpa")
    return path


def stage(corpus, out, dev=True, **options):
    config, train = LmConfig(**options), [corpus / "text_train"]
    dev = [corpus / "text_dev"] if dev else []
    model = build_lm(config, train, corpus / "lang", out, dev=dev)
    assert sorted(path.name for path in out.iterdir()) == ["G.fst.txt", "lm.arpa"]
    return model


def test_memory_changes_nothing(corpus, tmp_path):
    text = [str(corpus / "more.txt")]
    whole = stage(corpus, tmp_path / "whole", text=text)
    parts = stage(corpus, tmp_path / "parts", text=text, memory="1K")
    for name in ("lm.arpa", "G.fst.txt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert parts.score("yes no") == whole.score("yes no")  # with the files of it gone
    with pytest.raises(ConfigError, match="lm.memory is 'plenty'"):
        stage(corpus, tmp_path / "wrong", memory="plenty")


def test_words_of_the_lang_directory_alone(corpus, tmp_path):
    (corpus / "classes.txt").write_text("yes $NAME no\n")
    text = [str(corpus / name) for name in ("more.txt", "classes.txt")]
    model = stage(corpus, tmp_path / "lm", text=text, vocabulary="lexicon-only")
    assert set(model.words) == {"<unk>", "<s>", "</s>", "yes", "no", "maybe", "november", "$NAME"}
    total = sum(10 ** model.log_prob(["no"], word) for word in model.words if word != "<s>")
    assert total == pytest.approx(1.0)


def test_a_mixture_with_tuned_weights(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    general = str(corpus / "general.arpa")
    alone = stage(corpus, tmp_path / "alone")
    mixed = stage(corpus, tmp_path / "mixed", interpolate=[general])
    dev = ["no yes november", "yes november"]
    assert mixed.perplexity(dev).value < alone.perplexity(dev).value
    assert "weights 0." in caplog.text
    fixed = stage(corpus, tmp_path / "fixed", dev=False, interpolate=[general], weights="0.5 0.5")
    assert fixed.log_prob([], "perhaps") == pytest.approx(
        np.log10(0.5 * 10 ** read_arpa(general).log_prob([], "perhaps"))
    )
    both = stage(
        corpus, tmp_path / "both", transcripts=False, interpolate=[general, general], weights="1 0"
    )
    assert both.score("yes november") == pytest.approx(read_arpa(general).score("yes november"))


def test_a_pruned_model(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    whole = stage(corpus, tmp_path / "whole")
    small = stage(corpus, tmp_path / "small", max_ngrams=12)
    assert sum(map(len, small.levels)) <= 12 < sum(map(len, whole.levels))
    assert "n-grams are left" in caplog.text and "before pruning: 2 sentences" in caplog.text
    assert sum(map(len, read_arpa(tmp_path / "small" / "lm.arpa").levels)) <= 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolate": ["general.arpa"], "weights": "0.5"}, "expected auto, or 2 numbers"),
        ({"interpolate": ["general.arpa"], "weights": "1 1"}, "expected auto, or 2 numbers"),
        ({"interpolate": ["absent.arpa"]}, "absent.arpa: there is no such ARPA file"),
        ({"interpolate": ["general.arpa"], "dev": False}, "no dev transcripts"),
        ({"max_ngrams": 3}, "the vocabulary alone has 7 words"),
        ({"text": ["latin.txt"]}, "latin.txt:2: is not UTF-8 text"),
    ],
)
def test_what_cannot_be(corpus, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(corpus)
    (corpus / "latin.txt").write_bytes(b"yes\nn\xf6\n")
    with pytest.raises(NeveError, match=message):
        stage(corpus, tmp_path / "lm", **options)
    assert not (tmp_path / "lm" / "lm.arpa").exists()


def test_a_vocabulary_of_a_million_words(tmp_path):
    """Most of it unseen, in memory and on disk: no step takes time with words times contexts."""
    words = [f"w{number}" for number in range(1_000_000)]
    text = ["w1 w2 w3", "w2 w1", "w999999 w1 w1"]
    usual = {"discount_fallback": (0.5, 1.0, 1.5)}
    model = estimate(text, 3, words, **usual)
    parts = estimate(text, 3, words, memory=1000, scratch=tmp_path, **usual)
    assert len(model.words) == 1_000_003 and parts.words == model.words
    assert np.array_equal(model.levels[0].log_prob, np.asarray(parts.levels[0].log_prob))
    assert model.log_prob(["w1"], "w77") == parts.log_prob(["w1"], "w77") > -8.0


def test_a_model_of_tokens(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    (corpus / "strange.txt").write_text("yes stranger\nno no\n")
    config = LmConfig(unit="tokens", order=2, text=[str(corpus / "strange.txt")])
    train, dev = [corpus / "text_train"], [corpus / "text_dev"]
    model = build_lm(config, train, corpus / "lang", tmp_path / "phones", dev=dev)
    assert [path.name for path in (tmp_path / "phones").iterdir()] == ["lm.arpa"]
    assert "1 sentences have words that" in caplog.text and "left out: stranger" in caplog.text
    assert "text_dev: 2 sentences, 5 words, 0 OOVs" in caplog.text
    # the same as the text of the tokens gives, with all tokens of the lang directory
    text = [" ".join(word[0].upper() for word in line.split()) for line in [*TEXT, "no no"]]
    wanted = estimate(text, 2, ["Y", "N", "M", "V"], discount_fallback=(0.5, 1.0, 1.5))
    assert model.words == wanted.words == ["<unk>", "<s>", "</s>", "M", "N", "V", "Y"]
    assert model.score("Y N V") == pytest.approx(wanted.score("Y N V"), abs=1e-9)
    assert read_arpa(tmp_path / "phones/lm.arpa").score("Y") == pytest.approx(
        model.score("Y"), abs=1e-5
    )


def test_tokens_are_not_words_in_another_form(corpus, tmp_path, caplog):
    (tmp_path / "lexicon.txt").write_text("YES y\nNO n\nY y n\n")
    (tmp_path / "text_train").write_text("u1 YES NO\nu2 NO\n")
    files = [tmp_path / "text_train"], tmp_path / "lexicon.txt", tmp_path / "lang"
    build_lang(LangConfig(write_pt=False), *files, text=TextConfig())
    tokens = estimate(["y n", "n YES"], 2, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(tokens, tmp_path / "tokens.arpa")
    config = LmConfig(arpa=str(tmp_path / "tokens.arpa"), unit="tokens")
    build_lm(config, [], tmp_path / "lang", tmp_path / "of_tokens")
    assert "in another form" not in caplog.text
    config.unit = "words"
    build_lm(config, [], tmp_path / "lang", tmp_path / "of_words")
    assert "1 of its 6 words are in the lang directory in another form: y for Y" in caplog.text


def test_what_characters_cannot_spell_is_no_part_of_their_model(corpus, tmp_path):
    (tmp_path / "text_train").write_text("u1 yes no\nu2 no\n")
    settings = LangConfig(kind="char", oov="unk", write_pt=False)
    build_lang(settings, [tmp_path / "text_train"], None, tmp_path / "char")
    config = LmConfig(unit="tokens", order=2, text=[str(corpus / "more.txt")], transcripts=False)
    with pytest.raises(NeveError, match="not one word in it"):  # they all have a word with m or v
        build_lm(config, [], tmp_path / "char", tmp_path / "none")
    (tmp_path / "more.txt").write_text("yes november\nyes noon\n")
    config.text = [str(tmp_path / "more.txt")]
    model = build_lm(config, [], tmp_path / "char", tmp_path / "lm")
    assert set(model.words) == {"<unk>", "<s>", "</s>", *"yesno", "\u2581"}
    seen = set(zip(model.ngrams(2), model.levels[1].count.tolist()))
    assert ("\u2581 y", 1) in seen and ("o o", 1) in seen
