"""The digits corpus: what is said, by whom, and that its audio does not depend on --nj."""

import collections
import importlib
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/digits/ASR/local"
SIZES = {"train": 40, "dev": 4, "test": 6}
SMALL = f"""
import sys
sys.path.insert(0, {str(LOCAL)!r})
import manifests
if __name__ == "__main__":
    manifests.SIZES = {SIZES}
    manifests.main()
"""


@pytest.fixture(scope="module")
def recipe():
    """The recipe's modules, as local/manifests.py imports them."""
    sys.path.insert(0, str(LOCAL))
    names = ("manifests", "texts", "voices")
    try:
        yield collections.namedtuple("Recipe", names)(*map(importlib.import_module, names))
    finally:
        sys.path.remove(str(LOCAL))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """small(name, nj): the corpus with 50 utterances, made once for each name."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("digits")
    (folder / "small.py").write_text(SMALL)

    def make(name, nj):
        if not (folder / name).exists():
            subprocess.run(
                [sys.executable, folder / "small.py", "--download", folder / name,
                 "--out", folder / name / "manifests", "--nj", str(nj)],
                check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
        return folder / name

    return make


def audio(folder):
    return {p.name: p.read_bytes() for p in folder.glob("digits/**/*.wav")}


def test_same_bytes_in_any_number_of_jobs(small):
    one, two = audio(small("one", 1)), audio(small("two", 2))
    assert len(one) == sum(SIZES.values())
    assert one == two


def test_audio_is_speech_in_quiet_surroundings(small, recipe):
    from lhotse import load_manifest

    folder = small("one", 1)
    for split, count in SIZES.items():
        recordings = load_manifest(folder / f"manifests/recordings_{split}.jsonl.gz")
        supervisions = load_manifest(folder / f"manifests/supervisions_{split}.jsonl.gz")
        assert len(recordings) == len(supervisions) == count
        for supervision in supervisions:
            recording = recordings[supervision.recording_id]
            with wave.open(recording.sources[0].source) as wav:
                assert wav.getparams()[:3] == (1, 2, 16000)
                samples = np.frombuffer(wav.readframes(10**7), "<i2") / 32768
            assert recording.num_samples == len(samples)
            words = len(supervision.text.split())
            assert 0.12 * words < recording.duration < 1.5 + 0.8 * words
            level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
            assert -33 < level < -16 and np.abs(samples).max() < 1
            assert {"kind", "accent", "noise", "snr", "room"} == set(supervision.custom)


def test_a_complete_corpus_is_not_made_again(small):
    folder = small("one", 1)
    before = {p: p.stat().st_mtime_ns for p in folder.glob("digits/**/*")}
    subprocess.run(
        [sys.executable, folder.parent / "small.py", "--download", folder,
         "--out", folder / "manifests"],
        check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    assert {p: p.stat().st_mtime_ns for p in folder.glob("digits/**/*")} == before


def test_splits_share_no_voice_and_no_text(recipe):
    corpus = recipe.manifests.utterances()
    assert {split: len(some) for split, some in corpus.items()} == recipe.manifests.SIZES
    voices = {split: {u.voice.variant for u in some} for split, some in corpus.items()}
    texts = {split: {u.text for u in some if len(u.text.split()) > 2}
             for split, some in corpus.items()}
    for sets in (voices, texts):
        assert not sets["train"] & sets["dev"]
        assert not sets["train"] & sets["test"]
        assert not sets["dev"] & sets["test"]
    speakers = {u.voice.name for some in corpus.values() for u in some}
    assert len(speakers) == 92  # all of voices.py have something to say
    ids = [u.id for some in corpus.values() for u in some]
    assert len(ids) == len(set(ids))
    robots = re.compile("robo|robot|whisper|klatt|demonic", re.IGNORECASE)
    assert not [name for name in speakers if robots.search(name)]


def test_lexicon_has_just_the_words_of_the_corpus(recipe):
    words = {word for some in recipe.manifests.utterances().values()
             for u in some for word in u.text.split()}
    lexicon = {line.split()[0] for line in (LOCAL / "lexicon.txt").open()}
    assert words == lexicon


def test_the_text_of_a_number(recipe):
    texts = recipe.texts
    assert texts.year(1997, False) == "NINETEEN NINETY SEVEN".split()
    assert texts.year(1900, False) == "NINETEEN HUNDRED".split()
    assert texts.year(1805, True) == "EIGHTEEN OH FIVE".split()
    assert texts.year(2000, True) == "TWO THOUSAND".split()
    assert texts.year(2007, True) == "TWO THOUSAND AND SEVEN".split()
    assert texts.year(2007, False) == "TWO THOUSAND SEVEN".split()
    assert texts.year(2014, True) == "TWENTY FOURTEEN".split()
    assert [" ".join(texts.ordinal(n)) for n in (1, 12, 20, 21, 30, 31)] == [
        "FIRST", "TWELFTH", "TWENTIETH", "TWENTY FIRST", "THIRTIETH", "THIRTY FIRST"]
