"""Stage 1: what it writes, and every problem that it must find, name and act upon."""

import errno
import json
import math
import os

import numpy as np
import pytest
import soundfile

from neve.data import DataConfig, load_cuts, prepare_manifests
from neve.data import prepare as prepare_module
from neve.errors import NeveError
from neve.text import TextConfig


def config_of(corpus, **keys) -> DataConfig:
    table = str(corpus.folder / "train.csv")
    defaults = {"source": "table", "dir": table, "dev": [], "test": [], "max_dropped": 0.5}
    return DataConfig(**{**defaults, **keys})


def prepare(config, tmp_path, nj=1, text=None):
    out = tmp_path / "manifests"
    prepare_manifests(config, text or TextConfig(), tmp_path / "download", out, nj)
    lines = [line.split("\t") for line in (out / "problems.txt").read_text().splitlines()]
    return out, {(kind, name): (action, detail) for _, name, action, kind, detail in lines}


def without_unlisted(problems):
    """The problems less those of audio that a table leaves out on purpose."""
    return {key: what for key, what in problems.items() if key[0] != "audio without transcript"}


def test_manifests_texts_and_report(corpus, tmp_path):
    corpus.table()
    out, problems = prepare(config_of(corpus), tmp_path)
    assert not problems
    cuts = load_cuts(out / "cuts_train.jsonl.gz")
    assert [cut.id for cut in cuts] == list(corpus.texts)
    for cut in cuts:
        (supervision,) = cut.supervisions
        assert supervision.id == cut.id and supervision.text == corpus.texts[cut.id]
        assert supervision.speaker == corpus.speakers[cut.id]
        assert cut.load_audio().shape == (1, soundfile.info(corpus.path(cut.id)).frames)
    lines = (out / "text_train").read_text().splitlines()
    assert lines == [f"{name} {text}" for name, text in sorted(corpus.texts.items())]
    entry = json.loads((out / "report.json").read_text())["splits"]["train"]
    words = " ".join(corpus.texts.values()).split()
    assert entry["utterances"] == 12 and entry["speakers"] == 4 and entry["dropped"] == 0
    assert entry["words"] == len(words) and entry["distinct_words"] == len(set(words))
    assert entry["sampling_rates"] == {"16000": 12}
    seconds = sum(soundfile.info(corpus.path(name)).duration for name in corpus.texts)
    assert entry["hours"] == pytest.approx(seconds / 3600, abs=1e-5)
    assert sum(entry["duration"]["histogram"]["counts"]) == 12
    page = (out / "report.html").read_text()
    assert "<svg" in page and "<script" not in page and "http" not in page


def test_lhotse_validates_what_is_written(corpus, tmp_path):
    from lhotse import CutSet, RecordingSet, SupervisionSet
    from lhotse.qa import validate, validate_recordings_and_supervisions

    corpus.table()
    out, _ = prepare(config_of(corpus), tmp_path)
    validate_recordings_and_supervisions(
        RecordingSet.from_file(out / "recordings_train.jsonl.gz"),
        SupervisionSet.from_file(out / "supervisions_train.jsonl.gz"),
        read_data=True,
    )
    validate(CutSet.from_file(out / "cuts_train.jsonl.gz"))


def test_any_number_of_jobs_gives_the_same_bytes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "FEW", 0)
    monkeypatch.setattr(prepare_module, "SHARE", 5)
    corpus.table()
    corpus.path("utt003").unlink()
    first, problems = prepare(config_of(corpus), tmp_path / "one", nj=1)
    second, _ = prepare(config_of(corpus), tmp_path / "two", nj=2)
    assert ("missing audio", "utt003") in problems
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def truncate(path, share=0.5):
    os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "sph", "aiff"])
def test_truncated_audio_of_every_format(corpus, tmp_path, humming, extension):
    rows = corpus.rows()
    for name in ("whole", "cut"):
        path = corpus.audio / f"{name}.{extension}"
        kind = "NIST" if extension == "sph" else None
        soundfile.write(path, humming(["YES", "NO"] * 5, seed=len(name)), 16000, format=kind)
        rows.append([f"audio/{path.name}", "YES NO", "spk0"])
    truncate(corpus.audio / f"cut.{extension}")
    corpus.table(rows)
    out, problems = prepare(config_of(corpus), tmp_path)
    assert problems["truncated audio", "cut"][0] == "dropped"
    assert f"cut.{extension}" in problems["truncated audio", "cut"][1]
    ids = [cut.id for cut in load_cuts(out / "cuts_train.jsonl.gz")]
    assert "whole" in ids and "cut" not in ids


def test_audio_that_cannot_be_used(corpus, tmp_path):
    corpus.table()
    corpus.path("utt000").unlink()
    corpus.path("utt001").write_bytes(b"")
    corpus.path("utt002").write_text("this is not audio at all")
    soundfile.write(corpus.path("utt003"), np.zeros(0), 16000)
    soundfile.write(corpus.path("utt004"), np.zeros(16000), 16000)
    soundfile.write(corpus.path("utt005"), np.full(16000, math.nan), 16000, subtype="FLOAT")
    out, problems = prepare(config_of(corpus), tmp_path)
    assert {key: action for key, (action, _) in problems.items()} == {
        ("missing audio", "utt000"): "dropped",
        ("empty audio", "utt001"): "dropped",
        ("unreadable audio", "utt002"): "dropped",
        ("empty audio", "utt003"): "dropped",
        ("silent audio", "utt004"): "dropped",
        ("unreadable audio", "utt005"): "dropped",
    }
    assert len(load_cuts(out / "cuts_train.jsonl.gz")) == 6
    summary = json.loads((out / "report.json").read_text())
    assert summary["splits"]["train"]["dropped"] == 6
    assert {"action": "dropped", "kind": "empty audio", "count": 2} in summary["problems"]


def test_an_mp3_that_does_not_say_its_length_is_not_called_truncated(corpus, tmp_path, humming):
    path = corpus.audio / "radio.mp3"
    soundfile.write(path, humming(["YES", "NO", "MAYBE"] * 10), 16000)
    content = path.read_bytes()
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    start = content.index(content[:2], 4)  # the second frame; the first one holds the length
    path.write_bytes(content[start:])
    corpus.table([["audio", "text"], ["audio/radio.mp3", "YES NO MAYBE " * 10]])
    out, problems = prepare(config_of(corpus), tmp_path)
    assert not any(kind.endswith("audio") for kind, name in problems if name == "radio")
    assert len(load_cuts(out / "cuts_train.jsonl.gz")) == 1


def test_audio_that_stands_in_no_table(corpus, tmp_path, monkeypatch):
    corpus.table(corpus.rows()[:4])
    _, problems = prepare(config_of(corpus), tmp_path / "a")
    assert len(problems) == 9
    action, detail = problems["audio without transcript", "utt003"]
    assert action == "ignored" and "utt003.wav: stands in no table" in detail
    monkeypatch.setattr("neve.data.sources.UNLISTED", 2)
    _, problems = prepare(config_of(corpus), tmp_path / "b")
    assert len(problems) == 2
    assert "7 more files" in problems["audio without transcript", "utt004"][1]


def test_a_damaged_flac_is_found_by_decoding_alone(corpus, tmp_path, humming):
    path = corpus.audio / "damaged.flac"
    soundfile.write(path, humming(["YES"] * 20), 16000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    corpus.table([*corpus.rows(), ["audio/damaged.flac", "YES " * 20, "spk0"]])
    _, problems = prepare(config_of(corpus), tmp_path / "full")
    assert ("truncated audio", "damaged") in problems or ("unreadable audio", "damaged") in problems
    _, problems = prepare(config_of(corpus, check="header"), tmp_path / "header")
    assert not problems


def test_empty_transcripts(corpus, tmp_path):
    rows = corpus.rows()
    rows[1][1], rows[2][1] = "", " -- "
    corpus.table(rows)
    _, problems = prepare(config_of(corpus), tmp_path)
    assert problems["empty transcript", "utt000"] == (
        "dropped",
        f"{corpus.folder / 'train.csv'}:2: the transcript is empty",
    )
    assert "after normalisation" in problems["empty transcript", "utt001"][1]


def test_text_is_normalised(corpus, tmp_path):
    rows = corpus.rows()
    rows[1][1] = " Yes;  no! "
    corpus.table(rows)
    out, _ = prepare(config_of(corpus), tmp_path, text=TextConfig(case="lower"))
    assert (out / "text_train").read_text().splitlines()[0] == "utt000 yes no"


def test_another_sampling_rate_is_resampled_or_a_problem(corpus, tmp_path, humming):
    soundfile.write(corpus.path("utt001"), humming(["NO"], rate=8000), 8000)
    corpus.table()
    out, problems = prepare(config_of(corpus, sampling_rate=16000), tmp_path / "a")
    action, detail = problems["resampled", "utt001"]
    assert action == "kept" and "from 8000 to 16000 Hz" in detail
    cut = load_cuts(out / "cuts_train.jsonl.gz")[1]
    assert cut.id == "utt001" and cut.sampling_rate == 16000
    samples = cut.load_audio()[0]
    assert len(samples) == cut.num_samples
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 16000 / len(samples) == pytest.approx(300, abs=5)

    _, problems = prepare(config_of(corpus, sampling_rate=16000, resample=False), tmp_path / "b")
    action, detail = problems["wrong sampling rate", "utt001"]
    assert action == "dropped" and "8000 Hz" in detail and "16000" in detail

    out, problems = prepare(config_of(corpus), tmp_path / "c")
    assert not problems
    entry = json.loads((out / "report.json").read_text())["splits"]["train"]
    assert entry["sampling_rates"] == {"8000": 1, "16000": 11}


def test_on_problem_error_names_the_utterance_and_drops_nothing(corpus, tmp_path):
    corpus.table()
    corpus.path("utt004").unlink()
    with pytest.raises(NeveError, match=r"utt004: missing audio.*utt004\.wav(.|\n)*on_problem"):
        prepare(config_of(corpus, on_problem="error"), tmp_path)


def test_too_many_dropped_is_an_error(corpus, tmp_path):
    corpus.table()
    for name in ("utt004", "utt005"):
        corpus.path(name).unlink()
    with pytest.raises(NeveError, match=r"16\.7% of split train(.|\n)*utt005(.|\n)*max_dropped"):
        prepare(config_of(corpus, max_dropped=0.1), tmp_path / "a")
    prepare(config_of(corpus, max_dropped=0.2), tmp_path / "b")


def test_many_utterances_under_one_id_count_as_many(corpus, tmp_path):
    rows = corpus.rows()
    corpus.table([["id", *rows[0]], *(["same", *row] for row in rows[1:])])
    with pytest.raises(NeveError, match=r"91\.7% of split train \(11 of 12 utterances\)"):
        prepare(config_of(corpus), tmp_path)


def test_a_split_left_empty_is_an_error(corpus, tmp_path):
    corpus.table()
    for name in corpus.texts:
        corpus.path(name).unlink()
    with pytest.raises(NeveError, match="split train has no utterance that can be used"):
        prepare(config_of(corpus, max_dropped=1.0), tmp_path)


def test_spans_outside_the_recording(corpus, tmp_path):
    length = soundfile.info(corpus.path("utt003")).duration
    rows = [["audio", "text", "speaker", "id", "start", "end"]]
    for name, start, end in (
        ("inside", 0.1, 1.0),
        ("overhang", 0.2, length + 0.05),
        ("beyond", 0.1, length + 0.5),
        ("backwards", 1.0, 0.5),
        ("negative", -0.5, 0.5),
    ):
        rows.append(["audio/utt003.wav", "YES NO", "a", name, str(start), str(end)])
    corpus.table(rows)
    out, problems = prepare(config_of(corpus, max_dropped=0.9), tmp_path)
    dropped = {name for (kind, name), (action, _) in problems.items() if action == "dropped"}
    assert dropped == {"beyond", "backwards", "negative"}
    assert problems["longer than its recording", "overhang"][0] == "kept"
    inside, overhang = load_cuts(out / "cuts_train.jsonl.gz")
    assert inside.load_audio().shape[1] == round(0.9 * 16000)
    assert overhang.end == pytest.approx(length)
    assert overhang.load_audio().shape[1] == round((length - 0.2) * 16000)


def test_channels(corpus, tmp_path, humming):
    stereo = np.stack([humming(["YES"]), humming(["NO"], seed=1)], axis=1)
    soundfile.write(corpus.audio / "stereo.wav", stereo, 16000)
    rows = [["audio", "text", "speaker", "id", "channel"]]
    for name, channel in (("left", "0"), ("right", "1"), ("third", "2"), ("unsaid", "")):
        rows.append(["audio/stereo.wav", name, "a", name, channel])
    corpus.table(rows)
    out, problems = prepare(config_of(corpus), tmp_path)
    assert problems["no such channel", "third"][0] == "dropped"
    assert problems["several channels", "unsaid"][0] == "kept"
    cuts = {cut.id: cut for cut in load_cuts(out / "cuts_train.jsonl.gz")}
    assert np.allclose(cuts["left"].load_audio()[0], stereo[:, 0], atol=1e-4)
    assert np.allclose(cuts["right"].load_audio()[0], stereo[:, 1], atol=1e-4)
    assert cuts["unsaid"].channel == 0


def test_duplicates(corpus, tmp_path, humming):
    """Ids, audio within and across splits, speakers and their texts across splits."""
    rows = [["audio", "text", "speaker", "id", "split"]]
    words = {}
    for number in range(8):
        words[number] = ["YES", "NO"] * (number + 1)
        soundfile.write(corpus.audio / f"{number}.wav", humming(words[number], seed=number), 16000)
        split, speaker = ("test", "tess") if number >= 6 else ("train", f"spk{number}")
        rows.append([f"audio/{number}.wav", " ".join(words[number]), speaker, str(number), split])
    rows.append(["audio/1.wav", "YES YES NO NO", "x", "0", "train"])  # the id is there
    samples, _ = soundfile.read(corpus.audio / "2.wav", dtype="int16")
    soundfile.write(corpus.audio / "copy2.flac", samples, 16000)
    rows.append(["audio/copy2.flac", "MAYBE " * 6, "y", "copy2", "train"])  # within train
    soundfile.write(corpus.audio / "leak.wav", humming(words[7], seed=7), 16000)
    rows.append(["audio/leak.wav", "NO " * 16, "z", "leak", "train"])  # of test
    soundfile.write(corpus.audio / "again.wav", humming(words[6], seed=60), 16000)
    rows.append(["audio/again.wav", " ".join(words[6]), "tess", "again", "train"])  # words of test
    corpus.table(rows)
    out, problems = prepare(config_of(corpus, test=["test"]), tmp_path)
    assert problems["duplicate id", "0"][0] == "dropped"
    assert problems["duplicate audio", "copy2"] == ("kept", "the same audio is 2 in train")
    action, detail = problems["audio of a held-out utterance", "leak"]
    assert action == "dropped" and "7 in test" in detail
    action, detail = problems["same speaker and text", "6"]
    assert action == "kept" and "tess" in detail and "again in train" in detail
    assert problems["speaker overlap", "tess"][0] == "kept"
    assert len(without_unlisted(problems)) == 5
    assert "leak" not in (out / "text_train").read_text()
    summary = json.loads((out / "report.json").read_text())
    assert summary["speakers_in_both"] == {"train and test": 1}
    assert summary["splits"]["test"]["words_unseen_in_training"] == 0


def test_words_that_training_text_lacks(corpus, tmp_path):
    rows = [row + ["train"] for row in corpus.rows()]
    rows[0][-1] = "split"
    rows[2] = [rows[2][0], "YES SURELY SURELY", "other", "test"]
    corpus.table(rows)
    out, _ = prepare(config_of(corpus, test=["test"]), tmp_path)
    entry = json.loads((out / "report.json").read_text())["splits"]["test"]
    assert entry["words_unseen_in_training"] == 2
    assert entry["most_frequent_unseen_words"] == ["SURELY"]


def test_unusual_durations_and_rates_of_speech_are_kept_and_noted(corpus, tmp_path):
    rows = corpus.rows()
    rows[1][1] = "A WHOLE PARAGRAPH OF TEXT " * 10
    corpus.table(rows)
    _, problems = prepare(config_of(corpus, max_utterance=1.3), tmp_path)
    assert problems["unusual rate of speech", "utt000"][0] == "kept"
    action, detail = problems["unusual duration", "utt003"]
    assert action == "kept" and "1.45 s" in detail and "not trained on" in detail


def test_manifest_unlike_its_audio_is_corrected(corpus, tmp_path):
    from neve.data.audio_check import check_audio
    from neve.data.checks import Checker
    from neve.data.sources import from_manifests

    corpus.table()
    out, _ = prepare(config_of(corpus), tmp_path)
    cuts = load_cuts(out / "cuts_train.jsonl.gz")
    recordings = [cut.recording for cut in cuts]
    recordings[0].num_samples, recordings[0].duration = 99, 99 / 16000
    split = from_manifests(recordings, [cut.supervisions[0] for cut in cuts], "train")
    problems = []
    sources = [audio.source for audio in split.recordings.values()]
    facts = {(source, False): check_audio(source) for source in sources}
    checked = Checker(config_of(corpus), TextConfig(), facts, problems).check({"train": split})
    (problem,) = problems
    assert problem.kind == "manifest unlike audio" and problem.id == "utt000"
    frames = soundfile.info(corpus.path("utt000")).frames
    assert checked["train"].recordings[0].num_samples == frames


def test_speaker_names_may_be_missing(corpus, tmp_path):
    corpus.table([row[:2] for row in corpus.rows()])
    out, problems = prepare(config_of(corpus), tmp_path)
    assert not problems
    speakers = {cut.supervisions[0].speaker for cut in load_cuts(out / "cuts_train.jsonl.gz")}
    assert speakers == {"unknown"}


def test_a_full_disk(corpus, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    corpus.table()
    monkeypatch.setattr("neve.files.os.fsync", full)
    with pytest.raises(NeveError, match="recordings_train.jsonl.gz: no space is left on this disk"):
        prepare(config_of(corpus), tmp_path)
    assert not any((tmp_path / "manifests").iterdir())
