"""AN4's manifests: from a tiny copy of the corpus's layout, and from the corpus itself."""

import wave
from pathlib import Path

import numpy as np
import pytest
from lhotse import load_manifest

DICTIONARY = """A                    AH
A(2)                 EY
GO                   G OW
NOVEMBER             N OW V EH M B ER
YES                  Y EH S
<sil>                SIL
"""


def sphere(path, samples, order="01", count=None):
    """Write 16-bit samples as a NIST SPHERE file; order 01 is little-endian."""
    header = (f"NIST_1A\n   1024\nsample_count -i {len(samples) if count is None else count}\n"
              f"sample_rate -i 16000\nsample_n_bytes -i 2\nsample_byte_format -s2 {order}\n"
              "channel_count -i 1\nsample_coding -s3 pcm\nend_head\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode().ljust(1024)
                     + np.asarray(samples).astype("<i2" if order == "01" else ">i2").tobytes())


@pytest.fixture
def download(tmp_path):
    """Two training speakers, one of them held out by the recipe (fash), and a test speaker."""
    corpus = tmp_path / "download/an4"
    lines = {
        "train": ["<s> YES </s> (an251-fash-b)", "<s> A A </s> (cen1-mblb-b)",
                  "<s> GO ++NOISE++ A </s> (an1-mblb-b)"],
        "test": ["GO (an406-fcaw-b)"],
    }
    (corpus / "etc").mkdir(parents=True)
    (corpus / "etc/an4.dic").write_text(DICTIONARY)
    for part, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        ids = [line.split("(")[1].rstrip(")") for line in lines[part]]
        (corpus / f"etc/an4_{part}.transcription").write_text("\n".join(lines[part]) + "\n")
        (corpus / f"etc/an4_{part}.fileids").write_text(
            "".join(f"{folder}/{i.split('-')[1]}/{i}\n" for i in ids))
        for n, i in enumerate(ids):
            sphere(corpus / "wav" / folder / i.split("-")[1] / f"{i}.sph",
                   np.arange(-1600, 1600) * (n + 1), "01" if n % 2 else "10")
    return corpus.parent


def test_manifests(download, tmp_path, manifests):
    done = manifests("an4", download, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    sets = {s: load_manifest(tmp_path / f"out/supervisions_{s}.jsonl.gz")
            for s in ("train", "dev", "test")}
    assert {s: {u.id: u.text for u in us} for s, us in sets.items()} == {
        "train": {"cen1-mblb-b": "A A", "an1-mblb-b": "GO A"},
        "dev": {"an251-fash-b": "YES"},
        "test": {"an406-fcaw-b": "GO"},
    }
    first, second = sets["train"]["cen1-mblb-b"], sets["train"]["an1-mblb-b"]
    assert (first.speaker, first.gender) == ("mblb", "male")
    assert first.custom == {"prompt": "surname", "kind": "spelled"}
    assert second.custom == {"prompt": "command or code", "kind": "mixed"}
    assert sets["dev"]["an251-fash-b"].gender == "female"
    assert (tmp_path / "out/lexicon.txt").read_text().splitlines() == [
        "A AH", "A EY", "GO G OW", "NOVEMBER N OW V EH M B ER", "YES Y EH S"]


def test_audio_in_either_byte_order(download, tmp_path, manifests):
    assert manifests("an4", download, tmp_path / "out").returncode == 0
    for split, utterance, factor in (("train", "cen1-mblb-b", 2), ("train", "an1-mblb-b", 3)):
        recording = load_manifest(tmp_path / f"out/recordings_{split}.jsonl.gz")[utterance]
        assert recording.sampling_rate == 16000 and recording.num_samples == 3200
        with wave.open(recording.sources[0].source) as wav:
            samples = np.frombuffer(wav.readframes(9999), "<i2")
        assert np.array_equal(samples, np.arange(-1600, 1600) * factor)


def test_truncated_audio_is_named(download, tmp_path, manifests):
    sphere(download / "an4/wav/an4_clstk/mblb/an1-mblb-b.sph", [1, 2, 3], count=5)
    done = manifests("an4", download, tmp_path / "out")
    assert done.returncode == 1
    assert "an1-mblb-b.sph has 3 samples, but its header says 5" in done.stderr


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("an4_test.transcription", "GO\n", "an4_test.transcription:1: not of the form"),
        ("an4_test.transcription", "OH (an406-fcaw-b)\n", "words ['OH'] are not in"),
        ("an4_test.fileids", "an4test_clstk/fcaw/other\n", "differ in"),
        ("an4.dic", "GO\n", "an4.dic:1: no phones for GO"),
    ],
)
def test_bad_text_is_named(download, tmp_path, manifests, file, text, message):
    (download / "an4/etc" / file).write_text(text)
    done = manifests("an4", download, tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr


def test_missing_corpus(tmp_path, manifests):
    done = manifests("an4", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "an4.dic is missing; run stage 0" in done.stderr


def test_real_corpus(unpacked, tmp_path, manifests):
    done = manifests("an4", unpacked("an4", "an4_sphere.tar.gz"), tmp_path)
    assert done.returncode == 0, done.stderr
    sets = {s: list(load_manifest(tmp_path / f"supervisions_{s}.jsonl.gz"))
            for s in ("train", "dev", "test")}
    assert {s: len(us) for s, us in sets.items()} == {"train": 848, "dev": 100, "test": 130}
    assert sum(len(u.text.split()) for u in sets["test"]) == 773
    speakers = {s: {u.speaker for u in us} for s, us in sets.items()}
    assert {s: len(names) for s, names in speakers.items()} == {"train": 66, "dev": 8, "test": 10}
    assert len(set.union(*speakers.values())) == 84  # nobody is in two of them
    assert {u.gender for u in sets["dev"]} == {"female", "male"}

    words = {s: {w for u in us for w in u.text.split()} for s, us in sets.items()}
    lexicon = {line.split()[0] for line in Path(tmp_path, "lexicon.txt").open()}
    assert set.union(*words.values()) <= lexicon
    assert words["test"] - words["train"] == {"NOVEMBER", "THIRTEEN"}
    recordings = [r for s in sets for r in load_manifest(tmp_path / f"recordings_{s}.jsonl.gz")]
    assert sum(r.duration for r in recordings) == pytest.approx(0.80647 * 3600, abs=0.1)
