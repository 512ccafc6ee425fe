"""One setting, `text`, acts on every file of words that is read, from manifests to scores."""

import argparse
import json

import numpy as np
import pytest
import soundfile

from neve.cli.main import main
from neve.data import DataConfig, prepare_manifests
from neve.errors import NeveError
from neve.graphs import read_classes, read_grammar, read_new_words, word_biasing
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import LmConfig, build_lm, read_arpa
from neve.results import Hypothesis, Result, Word, write_results
from neve.scoring import ScoringConfig, score
from neve.scoring.terms import read_terms
from neve.text import TextConfig, normalize

RAW = "ZOE\N{COMBINING ACUTE ACCENT}\N{RIGHT SINGLE QUOTATION MARK}S, No!"
FORM = "zoé's no"
TEXT = TextConfig(case="lower")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Manifests, lang directory and language model of files with raw words, in their order."""
    path = tmp_path_factory.mktemp("raw")
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    soundfile.write(path / "a.wav", samples, 16000)
    (path / "train.tsv").write_text(f"audio\ttext\tspeaker\na.wav\t{RAW}\ts\n")
    config = DataConfig(source="table", dir=str(path / "train.tsv"), dev=[], test=[])
    prepare_manifests(config, TEXT, path, path / "manifests", 1)
    (path / "lexicon.txt").write_text("".join(f"{word} {word[0]}\n" for word in RAW.split()))
    train = [path / "manifests/text_train"]
    settings = LangConfig(write_pt=False, extra_words=[RAW.split()[0]])
    build_lang(settings, train, path / "lexicon.txt", path / "lang", text=TEXT)
    (path / "raw").write_text(RAW + "\n")
    build_lm(LmConfig(order=1, text=[str(path / "raw")]), train, path / "lang", path / "lm",
             text=TEXT)  # fmt: skip
    return path


def ngram(place):
    words = set(read_arpa(place / "lm/lm.arpa").words) - {"<unk>", "<s>", "</s>"}
    return sorted(words, reverse=True)


def neural(place, lang):
    from neve.lm.units import Units
    from neve.tasks.lm_text import read_sentences

    units = Units(lang, "words")
    sentences = read_sentences(units, [], [place / "raw"], TEXT, 99)
    return [units.names[index] for index in sentences.predicted(0)[:-1]]


def phrases(place, lang):
    from neve.decoding.phrases import PhraseList

    graph = PhraseList(place / "raw", lang, word_biasing).with_boost(1.0)
    state = graph.start
    for word in FORM.split():
        state, earned = graph.step(state, lang.words[word])
        assert earned == 1.0
    return FORM.split()


def keywords(place, lang):
    from neve.transcribe.spot import read_keywords

    return " ".join(read_keywords(place / "raw", lang.normal)).split()


def classes(place, lang):
    (place / "class_name.txt").write_text(RAW + "\n")
    (entry,) = read_classes(place, ["$NAME"], lambda word: normalize(word, TEXT))["$NAME"]
    return list(entry.words)


def grammar(place, lang):
    (place / "rules").write_text(f'#JSGF V1.0;\ngrammar g;\npublic <g> = "{RAW}";\n')
    read = read_grammar(place / "rules", lang.words, lambda word: normalize(word, TEXT))
    labels = read.graph(lang.words, {}).labels
    return [lang.words[int(label)] for label in labels if label > 0]


def added(place, lang):
    (line,) = read_new_words(place / "raw", lang, lambda word: normalize(word, TEXT)).lines
    return list(line.words)


def scored(place, lang):
    (place / "decoded").mkdir()
    said = Hypothesis([Word(word, 0.0, 1.0) for word in FORM.split()])
    write_results(place / "decoded/hyps-dev.jsonl", [Result("u", RAW, [said])])
    settings = ScoringConfig(check=False, bootstrap_samples=0)
    summary = score(settings, place / "decoded", place / "scores", text=TEXT)["dev"]
    assert summary.words.errors == 0 and summary.words.reference == 2
    return FORM.split()


READERS = {
    "manifests": lambda place, _: (place / "manifests/text_train").read_text().split()[1:],
    "lexicon": lambda _, lang: [lang.words[index] for index in (2, 1)],
    "language model": lambda place, _: ngram(place),
    "neural language model": neural,
    "phrases": phrases,
    "keywords": keywords,
    "classes": classes,
    "grammar": grammar,
    "added words": added,
    "terms": lambda place, lang: list(read_terms(place / "raw", lang.normal)[0]),
    "references": scored,
}


@pytest.mark.parametrize("reader", READERS)
def test_words_have_one_form_wherever_they_are_read(place, reader):
    assert READERS[reader](place, Lang.load(place / "lang")) == FORM.split()


def test_the_unknown_word_is_scored_as_the_word_that_it_is(tmp_path):
    assert normalize("<UNK> No!", TEXT) == "<UNK> no"
    said = Hypothesis([Word("<UNK>", 0.0, 0.5, spoken="z o"), Word("no", 0.5, 1.0)])
    rows = [Result("a", "<UNK> No", [said]), Result("b", "Zoe no", [said])]
    write_results(tmp_path / "hyps-dev.jsonl", rows)
    settings = ScoringConfig(check=False, bootstrap_samples=0)
    summary = score(settings, tmp_path, tmp_path / "scores", text=TEXT)["dev"]
    counts = summary.words.reference, summary.words.errors, summary.words.substitutions
    assert counts == (4, 1, 1)


def test_verbs_take_the_form_of_the_lang_directory(place, capsys, monkeypatch):
    from neve.cli import align

    words = ["perplexity", "--lm", str(place / "lm/lm.arpa"), "--json", str(place / "raw")]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["texts"][str(place / "raw")]["oov"] == 2
    assert main([*words, "--lang", str(place / "lang")]) == 0
    assert json.loads(capsys.readouterr().out)["texts"][str(place / "raw")]["oov"] == 0
    assert main([*words, "--lang", str(place / "lang"), "--normalize"]) == 1
    assert "choose one" in capsys.readouterr().err
    taken = []
    monkeypatch.setattr("neve.frontend.Frontend.load", lambda path: None)
    monkeypatch.setattr(
        "neve.transcribe.align.recording_batch", lambda file, text, *_: taken.append(text)
    )
    monkeypatch.setattr("neve.decoding.align_corpus.align_set", lambda *_: (0, 0))
    given = {"out": str(place / "out"), "model": "m", "audio": "a.wav", "text": str(place / "raw")}
    args = argparse.Namespace(**given, segment=False, channel=None)
    method = argparse.Namespace(lang=Lang.load(place / "lang"))
    align.align_audio(None, args, method, ())
    assert taken == [FORM]


def test_another_form_than_that_of_the_lang_directory_is_an_error(place, tmp_path):
    train = [place / "manifests/text_train"]
    with pytest.raises(NeveError, match=r"was made with text\.case 'lower', and now it is 'upper'"):
        build_lm(LmConfig(order=1), train, place / "lang", tmp_path / "lm", text=TextConfig())
    from neve.tasks.lm import LmTask
    from neve.tasks.lm_config import NeuralLmConfig

    with pytest.raises(NeveError, match=r"text\.case 'lower'"):
        LmTask(NeuralLmConfig(), place / "lang", train, text=TextConfig())
    settings = LangConfig(write_pt=False)
    build_lang(settings, train, place / "lexicon.txt", tmp_path / "lang", text=TEXT)
    content = (tmp_path / "lang/lang.yaml").read_text().replace("case: lower", "cases: lower")
    (tmp_path / "lang/lang.yaml").write_text(content)
    with pytest.raises(NeveError, match="lang.yaml: text.cases is unknown"):
        Lang.load(tmp_path / "lang")
