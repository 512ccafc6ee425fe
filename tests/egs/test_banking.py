"""The banking corpora: what is said where and by whom, the texts, the telephone."""

import collections
import importlib
import random
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/banking/ASR/local"
NAMES = ("bank", "general", "dictionary", "manifests", "telephone", "texts", "voices", "studio")


@pytest.fixture(scope="module")
def recipe():
    """The recipe's modules, as local/manifests.py imports them."""
    before = list(sys.path)
    sys.path[:0] = [str(LOCAL), str(ROOT / "local")]
    try:
        yield collections.namedtuple("Recipe", NAMES)(*map(importlib.import_module, NAMES))
    finally:
        sys.path[:] = before
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def corpus(recipe):
    """{split: utterances} of the whole corpora, and what is said in them."""
    taken = set()
    return recipe.manifests.utterances(recipe.manifests.SIZES, taken), taken


@pytest.fixture(scope="module")
def texts(recipe, corpus, tmp_path_factory):
    """The directory with the texts that stand beside the manifests."""
    pytest.importorskip("espeakng_loader")
    out = tmp_path_factory.mktemp("texts")
    recipe.texts.write_texts(out, (1500, 800), corpus[1])
    return out


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_splits_share_no_voice_and_no_text(recipe, corpus):
    splits, taken = corpus
    assert {split: len(some) for split, some in splits.items()} == recipe.manifests.SIZES
    said = {split: {u.text for u in some} for split, some in splits.items()}
    voices = {split: {u.voice.variant for u in some} for split, some in splits.items()}
    for first in splits:
        for second in set(splits) - {first}:
            assert not said[first] & said[second], (first, second)
            assert not voices[first] & voices[second], (first, second)
    assert set().union(*said.values()) == taken
    ids = [u.id for some in splits.values() for u in some]
    assert len(ids) == len(set(ids))
    assert splits == recipe.manifests.utterances(recipe.manifests.SIZES, set())


def test_general_sentences_have_a_thousand_words_and_none_of_the_terms(recipe, corpus):
    rng = random.Random(1)
    text = [recipe.general.sentence(rng) for _ in range(4000)]
    text += [u.text for u in corpus[0]["general_train"]]
    words = {word for line in text for word in line.split()}
    assert len(words) >= 1000
    assert not [line for line in text if "{" in line or line != line.upper()]
    together = " | ".join(text)
    assert not [term for term in recipe.bank.terms() if f" {term} " in f" {together} "]


def test_calls_are_full_of_terms_some_of_them_only_in_the_test(recipe, corpus):
    splits = corpus[0]
    terms = recipe.bank.terms()
    for split in ("bank_train", "bank_dev", "bank_test"):
        found = [sum(f" {term} " in f" {u.text} " for term in terms) for u in splits[split]]
        assert sum(found) > len(found), split
    calls = {s: " ".join(u.text for u in splits[s]) for s in ("bank_train", "bank_test")}
    held_out = [a.upper() for a in recipe.bank._items(recipe.bank.ACCOUNTS["held out"])]
    assert not [a for a in held_out if a in calls["bank_train"]]
    assert sum(a in calls["bank_test"] for a in held_out) >= 4
    kinds = collections.Counter(u.fields["template"] for u in splits["bank_test"])
    assert kinds == {"in training": 150, "held out": 150}


def test_text_of_the_bank_says_nothing_of_the_held_out(recipe, corpus, texts):
    for name in ("general.txt", "calls.txt", "sentences.txt"):
        assert not set(lines(texts / name)) & corpus[1], name
    written = f" {' '.join(lines(texts / 'sentences.txt') + lines(texts / 'calls.txt'))} "
    for surname in recipe.bank._items(recipe.bank.SURNAMES["held out"]):
        assert f" {surname.upper()} " not in written
    assert "$NAME" in written and "$ACCOUNT" in written
    assert " A A" not in written and " AN ETF" in written


def test_dictionary_and_list_of_words_have_all_that_is_said(corpus, texts):
    lexicon = collections.defaultdict(list)
    for line in lines(texts / "lexicon.txt"):
        word, *phones = line.split()
        lexicon[word].append(phones)
    words = {line.split()[0]: line.split()[1:] for line in lines(texts / "words.txt")}
    assert not set(lexicon) & set(words)
    said = {word for some in corpus[0].values() for u in some for word in u.text.split()}
    assert said <= set(lexicon) | set(words)
    general = {word for u in corpus[0]["general_train"] for word in u.text.split()}
    assert general <= set(lexicon)
    phones = {phone for entries in lexicon.values() for entry in entries for phone in entry}
    assert {phone for entry in words.values() for phone in entry} <= phones
    assert len(lexicon["THE"]) == 2 and words["APR"] == "eɪ p iː ɑːɹ".split()
    assert words["ESCROW"] == []  # as many others, for g2p
    for name in (texts / "classes").glob("class_*.txt"):
        spoken = {w for line in lines(name) for w in line.split() if not w.startswith("$")}
        assert spoken <= set(lexicon) | set(words)


def test_without_espeak_it_says_what_to_install(recipe, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SystemExit, match="pip install espeakng-loader"):
        recipe.manifests.make_audio(tmp_path / "banking", corpus[0], recipe.studio.studio, 8000,
                                    [], 1)  # fmt: skip
    with pytest.raises(SystemExit, match="pip install espeakng-loader"):
        recipe.dictionary.entries()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", ["mu-law", "A-law", "GSM"])
def test_a_telephone_keeps_its_band_alone(recipe, codec):
    rate = recipe.telephone.TELEPHONE_RATE
    time = np.arange(2 * rate) / rate

    def gain(frequency):
        tone = (8000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)
        heard = recipe.telephone.through_telephone(tone, codec)
        assert heard.dtype == np.int16 and len(heard) == len(tone)
        middle = slice(rate // 2, -rate // 2)
        power = np.mean(heard[middle].astype(float) ** 2) / np.mean(tone[middle].astype(float) ** 2)
        return 10 * np.log10(power)

    assert gain(60) < -20
    assert all(-3 < gain(frequency) < 1 for frequency in (500, 1000, 2000))


def test_a_codec_is_heard(recipe):
    rng = np.random.default_rng(0)
    noise = (2000 * rng.standard_normal(8000)).astype(np.int16)
    heard = {c: recipe.telephone.through_telephone(noise, c) for c in recipe.telephone.CODECS}
    assert len({samples.tobytes() for samples in heard.values()}) == 3
    plain = heard["mu-law"].astype(float)
    for codec, least in (("A-law", 25), ("GSM", 0)):
        error = np.mean((heard[codec] - plain) ** 2)
        assert least < 10 * np.log10(np.mean(plain**2) / error) < 60, codec


def test_calls_go_through_the_telephone_and_general_speech_does_not(recipe, corpus):
    pytest.importorskip("espeakng_loader")
    studio = recipe.studio.studio()
    facts = {}
    for split in ("general_dev", "bank_dev"):
        utterance = corpus[0][split][0]
        samples, facts[split] = studio.record(utterance)
        again, same = studio.record(utterance)
        assert np.array_equal(samples, again) and facts[split] == same
        words = len(utterance.text.split())
        assert 0.1 * words < len(samples) / 8000 < 2 + 0.8 * words
    assert facts["general_dev"]["codec"] == "none"
    assert facts["bank_dev"]["codec"] in recipe.telephone.CODECS
