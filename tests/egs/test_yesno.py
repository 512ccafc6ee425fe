"""yesno's manifests: from silent files with the right names, and from the corpus itself."""

import wave

import pytest
from lhotse import load_manifest


def silence(path, frames=800):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 8000, frames, "NONE", ""))
        wav.writeframes(bytes(2 * frames))


def test_words_and_splits(tmp_path, manifests):
    names = ["0_0_0_0_1_1_1_1", "0_1_0_0_0_0_0_0", "1_1_1_1_1_1_1_0"]
    for name in names:
        silence(tmp_path / f"waves_yesno/{name}.wav")
    done = manifests("yesno", tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    train = load_manifest(tmp_path / "out/supervisions_train.jsonl.gz")
    test = load_manifest(tmp_path / "out/supervisions_test.jsonl.gz")
    assert [u.id for u in train] == names[::2] and [u.id for u in test] == names[1::2]
    assert train[names[0]].text == "NO NO NO NO YES YES YES YES"
    recording = load_manifest(tmp_path / "out/recordings_test.jsonl.gz")[names[1]]
    assert (recording.sampling_rate, recording.num_samples) == (8000, 800)
    lexicon = (tmp_path / "out/lexicon.txt").read_text().split()
    assert lexicon[0] == "NO" and "YES" in lexicon


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("0_0_0_0_1_1_1_2.wav", None, "0_0_0_0_1_1_1_2.wav: the name is not eight of 0 and 1"),
        ("0_0_0_0_0_0_0_0.wav", b"RIFF", "0_0_0_0_0_0_0_0.wav is not a WAV file"),
    ],
)
def test_bad_file_is_named(tmp_path, manifests, name, content, message):
    silence(tmp_path / "waves_yesno/1_1_1_1_1_1_1_1.wav")
    silence(tmp_path / f"waves_yesno/{name}")
    if content is not None:
        (tmp_path / f"waves_yesno/{name}").write_bytes(content)
    done = manifests("yesno", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr


def test_missing_corpus(tmp_path, manifests):
    done = manifests("yesno", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "run stage 0" in done.stderr


def test_real_corpus(unpacked, tmp_path, manifests):
    done = manifests("yesno", unpacked("yesno", "waves_yesno.tar.gz"), tmp_path)
    assert done.returncode == 0, done.stderr
    for split in ("train", "test"):
        supervisions = load_manifest(tmp_path / f"supervisions_{split}.jsonl.gz")
        assert len(supervisions) == 30
        assert sum(len(u.text.split()) for u in supervisions) == 240
