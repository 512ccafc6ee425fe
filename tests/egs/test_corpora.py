"""Stages 0 and 1 of LibriSpeech, AISHELL-1 and TED-LIUM 3, from archives as their owners pack them.

The archives are tiny and hold noise instead of speech. With audio that can be learnt the recipes
are run as a whole in test_recipes_end_to_end.py.
"""

import importlib.util
import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import small_corpora
from lhotse import load_manifest
from small_corpora import CHINESE, ENGLISH, RATE, Said

from neve.data.manifests import use_libsndfile
from neve.errors import NeveError

ROOT = Path(__file__).resolve().parents[2]


class Noise:
    """In place of a studio: what is said is noise, the same for the same name."""

    def say(self, name, speaker, words, language="en-us"):
        rng = random.Random(name)
        said = [rng.choice(words) for _ in range(rng.randint(2, 4))]
        samples = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 0.1, RATE // 4)
        return Said(said, samples)


def download(corpus, dl_dir, where, **environment):
    """Stage 0 of a recipe, from `dl_dir` to `where`."""
    return subprocess.run(
        [ROOT / f"egs/{corpus}/ASR/local/download.sh", "--dl-dir", dl_dir, "--download", where],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def prepare(corpus, where, out):
    """Stage 1's script of a recipe, in this process: Lhotse is slow to import."""
    path = ROOT / f"egs/{corpus}/ASR/local/manifests.py"
    spec = importlib.util.spec_from_file_location(f"{corpus}_manifests", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out.mkdir(exist_ok=True)
    script.prepare(where, out)


def supervisions(out, split):
    return list(load_manifest(out / f"supervisions_{split}.jsonl.gz"))


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory):
    """A directory with the archives of two parts, and what stage 0 makes of them."""
    there = tmp_path_factory.mktemp("librispeech")
    parts = {"train-clean-5": 12, "dev-clean-2": 4}
    small_corpora.librispeech(there, Noise(), parts)
    small_corpora.unigram_arpa(there / "3-gram.pruned.3e-7.arpa.gz", list(ENGLISH))
    done = download("mini_librispeech", there, there / "download")
    assert done.returncode == 0, done.stderr
    return there


def test_librispeech(librispeech, tmp_path):
    prepare("librispeech", librispeech / "download", tmp_path)
    train, dev = supervisions(tmp_path, "train-clean-5"), supervisions(tmp_path, "dev-clean-2")
    assert len(train) == 12 and len(dev) == 4
    first = train[0]
    assert first.id == "100-1000-0000" and first.speaker == "100" and first.gender == "female"
    said = Noise().say(first.id, 0, list(ENGLISH))
    assert first.text == " ".join(said.words)
    recording = load_manifest(tmp_path / "recordings_train-clean-5.jsonl.gz")[first.id]
    assert recording.load_audio().shape == (1, len(said.samples))
    assert np.abs(recording.load_audio()[0] - said.samples).max() < 1 / 32768
    assert {item.gender for item in dev} == {"female", "male"}
    lexicon = (librispeech / "download/lm/librispeech-lexicon.txt").read_text()
    assert "RIVER\tR IH V ER\n" in lexicon


def test_librispeech_in_parts(librispeech, tmp_path):
    small_corpora.librispeech(tmp_path, Noise(), {"dev-clean": 2})
    small_corpora.unigram_arpa(tmp_path / "3-gram.pruned.1e-7.arpa.gz", list(ENGLISH))
    done = download("librispeech", tmp_path, tmp_path / "out", LIBRISPEECH_PARTS="dev-clean")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.glob("out/LibriSpeech/*-*")] == ["dev-clean"]
    done = download("librispeech", tmp_path, tmp_path / "out", LIBRISPEECH_PARTS="dev-klean")
    assert done.returncode == 2 and "LibriSpeech has no part 'dev-klean'" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda part: next(part.rglob("*.flac")).unlink(), "has no audio that can be read beside"),
        (lambda part: next(part.rglob("*.trans.txt")).write_text("100-1000-0000\n"),
         ".trans.txt:1: not of the form"),
        (lambda part: (part.parent / "SPEAKERS.TXT").write_text("100 | X | dev | 1.0 | A\n"),
         "SPEAKERS.TXT:1: not of the form"),
        (lambda part: [file.unlink() for file in part.rglob("*.trans.txt")],
         "has no parts with transcripts (*.trans.txt); run stage 0"),
    ],
)  # fmt: skip
def test_a_damaged_librispeech_is_named(tmp_path, spoil, message):
    small_corpora.librispeech(tmp_path, Noise(), {"dev-clean-2": 4})
    small_corpora.pack(
        tmp_path / "train-clean-5.tar.gz", {"LibriSpeech/train-clean-5/1/2/1-2-3.flac": b""}
    )
    small_corpora.unigram_arpa(tmp_path / "3-gram.pruned.3e-7.arpa.gz", list(ENGLISH))
    done = download("mini_librispeech", tmp_path, tmp_path / "download")
    assert done.returncode == 0, done.stderr
    spoil(tmp_path / "download/LibriSpeech/dev-clean-2")
    with pytest.raises(NeveError, match=re.escape(message)):
        prepare("librispeech", tmp_path / "download", tmp_path / "out")


@pytest.fixture
def aishell(tmp_path):
    """What stage 0 makes of AISHELL's two archives."""
    small_corpora.aishell(tmp_path, Noise(), {"train": 12, "dev": 4, "test": 4})
    done = download("aishell", tmp_path, tmp_path / "download")
    assert done.returncode == 0, done.stderr
    return tmp_path / "download"


def test_aishell(aishell, tmp_path):
    assert not list(aishell.rglob("*.tar.gz"))  # the speakers' archives are unpacked
    prepare("aishell", aishell, tmp_path / "out")
    splits = {name: supervisions(tmp_path / "out", name) for name in ("train", "dev", "test")}
    assert {name: len(some) for name, some in splits.items()} == {"train": 12, "dev": 4, "test": 4}
    first = splits["train"][0]
    assert first.id == "BAC009S0002W0000" and first.speaker == "S0002" and first.gender == "female"
    assert first.text == " ".join(Noise().say(first.id, 2, list(CHINESE)).words)
    assert {item.gender for item in splits["test"]} == {"female", "male"}
    said = {mark for item in splits["train"] for mark in item.text.split()}
    characters = (tmp_path / "out/characters.txt").read_text().splitlines()
    assert characters == sorted(f"{mark} {mark}" for mark in said)
    readings = (tmp_path / "out/lexicon.txt").read_text().splitlines()
    assert readings == sorted(readings) and len(readings) == len(CHINESE) + 1
    assert {"地 d e5", "地 d i4", "山 sh an1"} < set(readings)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda top: next(top.rglob("*.wav")).unlink(), "have no audio in"),
        (lambda top: (top / "data_aishell/transcript/aishell_transcript_v0.8.txt").unlink(),
         "aishell_transcript_v0.8.txt is missing; run stage 0"),
        (lambda top: (top / "resource_aishell/lexicon.txt").write_text("SIL sil\n"),
         "has no readings of single characters"),
    ],
)  # fmt: skip
def test_a_damaged_aishell_is_named(aishell, tmp_path, spoil, message):
    spoil(aishell)
    with pytest.raises(NeveError, match=re.escape(message)):
        prepare("aishell", aishell, tmp_path / "out")


@pytest.fixture
def tedlium(tmp_path):
    """What stage 0 makes of TED-LIUM's archive."""
    small_corpora.tedlium(tmp_path, Noise(), {"train": (2, 3), "dev": (1, 2), "test": (1, 2)})
    done = download("tedlium3", tmp_path, tmp_path / "download")
    assert done.returncode == 0, done.stderr
    return tmp_path / "download"


def test_tedlium(tedlium, tmp_path):
    prepare("tedlium3", tedlium, tmp_path / "out")
    splits = {name: supervisions(tmp_path / "out", name) for name in ("train", "dev", "test")}
    assert {name: len(some) for name, some in splits.items()} == {"train": 6, "dev": 2, "test": 2}
    for number, item in enumerate(splits["train"][:3]):
        said = Noise().say(f"Speaker1_2016-{number}", 1, list(ENGLISH))
        assert item.text == " ".join(said.words).lower()  # without <unk> and [NOISE]
        assert (item.speaker, item.gender) == ("Speaker1_2016", None)
        assert item.start == pytest.approx(0.75 * number, abs=0.011)
    assert [item.gender for item in splits["dev"]] == ["male"] * 2
    assert [item.gender for item in splits["test"]] == ["female"] * 2
    use_libsndfile()
    recordings = list(load_manifest(tmp_path / "out/recordings_train.jsonl.gz"))
    assert [item.id for item in recordings] == ["Speaker1_2016", "Speaker2_2016"]
    assert recordings[0].duration == pytest.approx(2.25)
    samples = recordings[0].load_audio(offset=0.75, duration=0.25)[0]
    said = Noise().say("Speaker1_2016-1", 1, list(ENGLISH))
    assert np.abs(samples - said.samples).max() < 1 / 32768
    lexicon = (tmp_path / "out/lexicon.txt").read_text().splitlines()
    assert {"table T EY B AH L", "table T EY B L"} < set(lexicon) and len(lexicon) == 9


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda top: next(top.glob("legacy/train/sph/*")).unlink(),
         "not both in sph/ and in stm/"),
        (lambda top: next(top.glob("legacy/dev/stm/*")).write_text("Speaker3_2016 1 x 0.0\n"),
         "Speaker3_2016.stm:1: not of the form"),
        (lambda top: (top / "TEDLIUM.152k.dic").write_text("table\n"),
         "TEDLIUM.152k.dic:1: no phones for table"),
        (lambda top: [file.unlink() for file in top.glob("legacy/train/stm/*")],
         "has no transcripts (*.stm); run stage 0"),
    ],
)  # fmt: skip
def test_a_damaged_tedlium_is_named(tedlium, tmp_path, spoil, message):
    spoil(tedlium / "TEDLIUM_release-3")
    with pytest.raises(NeveError, match=re.escape(message)):
        prepare("tedlium3", tedlium, tmp_path / "out")
