"""A long file made of known pieces, with a text that is wrong in places, gives the right pieces."""

import json

import numpy as np
import pytest
import soundfile
import torch

from neve.decoding.align_corpus import align_set
from neve.decoding.alignment_files import read_ctm
from neve.decoding.segmentation import SegmentConfig
from neve.errors import NeveError
from neve.lang import Lang, LangConfig, build_lang
from neve.transcribe.align import recording_batch
from neve.transcribe.segment import (
    LongRecording,
    segment_batches,
    segment_recording,
    windows_of,
    write_report,
)

RATE, FRAME = 1000, 0.04  # a sample is one of 40 of a frame; its loudness says the token
LETTERS = "ABCDEFGH"
WORDS = ["AB", "BAD", "CAFE", "DEAF", "FACE", "BEAD", "HEDGE", "HAG", "EGG"]


class Loudness:
    """A frontend whose features are the mean of each frame."""

    class config:
        sampling_rate = RATE

    def __call__(self, samples, rate):
        assert rate == RATE
        frames = np.concatenate([samples, np.zeros(-len(samples) % 40)]).reshape(-1, 40)
        return frames.mean(axis=1, keepdims=True).astype(np.float32)


class Levels:
    """CTC outputs of a model that knows the level of each letter."""

    model = torch.nn.Linear(1, 1)
    frame_seconds = FRAME

    def __init__(self, lang):
        self.lang = lang
        self.levels = np.full(lang.num_tokens, 9.0)
        self.levels[0] = 0.0
        for symbol in lang.tokens:
            letter = symbol.lstrip("▁")
            if letter in LETTERS and letter:  # a word begins with the letter's upper half
                level = LETTERS.index(letter) + 1 + (0.5 if symbol != letter else 0.0)
                self.levels[lang.tokens[symbol]] = level / 10

    def encode(self, features, lengths):
        distance = np.abs(features.numpy()[..., 0][..., None] - self.levels)
        scores = -100.0 * distance
        return scores - np.log(np.exp(scores).sum(-1, keepdims=True)), lengths.numpy()


@pytest.fixture
def lang(tmp_path):
    (tmp_path / "train").write_text("u1 " + " ".join(WORDS) + "\n")
    build_lang(LangConfig(kind="char", write_pt=False), [tmp_path / "train"], None,
               tmp_path / "lang")  # fmt: skip
    return Lang.load(tmp_path / "lang")


def sound(phrase, method):
    """Samples of a phrase: two frames a token, a silent one between, words together."""
    frames = []
    for word in phrase.split():
        for token in method.lang.pronunciations(word)[0]:
            frames += [method.levels[token]] * 2 + [0.0]
    return np.repeat(frames, 40)


@pytest.fixture
def long_file(tmp_path, lang):
    """(file, phrases with their seconds, method): five minutes, pauses of 0.8 s."""
    method = Levels(lang)
    draw = np.random.default_rng(5)
    parts, phrases, time = [], [], 0.0
    while time < 300:
        text = " ".join(draw.choice(WORDS, draw.integers(5, 9)))
        samples = sound(text, method)
        phrases.append((time, time + len(samples) / RATE, text))
        parts += [samples, np.zeros(800)]
        time += len(samples) / RATE + 0.8
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.concatenate(parts), RATE, subtype="FLOAT")
    return path, phrases, method


def test_known_pieces_are_found_again(long_file, tmp_path):
    path, phrases, method = long_file
    gone, more, changed = {5, 6, 30}, {12}, {20, 41}
    text = []
    for number, (_, _, phrase) in enumerate(phrases):
        words = phrase.split()
        if number in gone:
            continue  # said, but not written
        if number in changed:
            words[2] = "HAG" if words[2] != "HAG" else "EGG"
        if number in more:
            words += ["CAFE", "HEDGE", "BEAD", "XYZ"]  # written, but not said
        text += words
    recording = LongRecording(path)
    config = SegmentConfig(shortest=1.0, longest=6.0, pause=0.5)
    found = segment_recording(recording, text, method, Loudness(), config)
    bad = gone | changed
    good = [phrase for number, phrase in enumerate(phrases) if number not in bad]
    pieces = iter(found.segments)
    piece = next(pieces)
    covered = 0
    for start, end, _ in good:  # pieces are whole phrases, one or more of them
        while piece is not None and piece.end < start:
            piece = next(pieces, None)
        if piece is not None and piece.start <= start + 0.001 and end <= piece.end + FRAME:
            covered += 1
    assert covered == len(good), f"{len(good) - covered} of {len(good)} pieces were not found"
    truth = {round(start, 2): phrase for start, _, phrase in phrases}
    for piece in found.segments:
        inside = [p for s, p in truth.items() if piece.start - 0.01 <= s < piece.end]
        assert " ".join(piece.words) == " ".join(inside) and piece.agreement == 1.0
        assert 1.0 <= piece.end - piece.start <= 6.0
    out = tmp_path / "out"
    out.mkdir()
    summary = write_report(out, recording, text, found)
    left = [json.loads(line) for line in (out / "left_out.jsonl").open()]
    reasons = [row["reason"] for row in left]
    assert "speech that the text does not have" in reasons
    assert any("XYZ" in row["text"] for row in left)
    assert summary["words"] == len(text)
    assert summary["segment_words"] + sum(len(row["text"].split()) for row in left) == len(text)
    assert align_set(method, segment_batches(recording, found, Loudness()), out) == (
        len(found.segments), 0
    )  # fmt: skip
    from lhotse import CutSet

    cuts = list(CutSet.from_file(out / "cuts.jsonl.gz"))
    assert [c.supervisions[0].text for c in cuts] == [" ".join(p.words) for p in found.segments]
    ctm = read_ctm(out / "words.ctm")
    for cut, piece in zip(cuts, found.segments):
        first = cut.supervisions[0].alignment["word"][0]
        start = min(s for s, _, _ in phrases if s >= piece.start - 0.01)
        assert abs(first.start - start) <= FRAME + 0.001  # of the recording
        assert ctm[cut.id][0].start == pytest.approx(first.start - cut.start, abs=1e-3)
        assert cut.supervisions[0].custom["agreement"] == 1.0


def test_only_parts_of_the_file_are_read(long_file, monkeypatch):
    path, phrases, method = long_file
    read = []
    whole = LongRecording.read

    def counted(self, start, end, rate):
        samples = whole(self, start, end, rate)
        read.append(len(samples))
        return samples

    monkeypatch.setattr(LongRecording, "read", counted)
    text = " ".join(phrase for _, _, phrase in phrases).split()
    found = segment_recording(LongRecording(path), text, method, Loudness(), SegmentConfig())
    assert sum(len(piece.words) for piece in found.segments) == len(text)
    assert max(read) <= 30 * RATE and len(read) == len(windows_of(LongRecording(path).duration))


def test_a_part_is_what_the_whole_has_there(long_file):
    path, _, _ = long_file
    samples, _ = soundfile.read(path, dtype="float32")
    part = LongRecording(path).read(12.3, 14.7, RATE)
    np.testing.assert_array_equal(part, samples[12300:14700])
    assert len(LongRecording(path).read(1.0, 2.0, 2 * RATE)) == 2 * RATE


def test_windows():
    assert windows_of(10.0) == [(0.0, 10.0)]
    assert windows_of(60.0) == [(0.0, 30.0), (25.0, 55.0), (50.0, 60.0)]
    assert windows_of(30.0) == [(0.0, 30.0)]


def test_what_cannot_be_segmented(long_file, tmp_path):
    path, _, method = long_file
    with pytest.raises(NeveError, match="has no words"):
        segment_recording(LongRecording(path), [], method, Loudness(), SegmentConfig())
    with pytest.raises(NeveError, match="no channel 1"):
        LongRecording(path, 1)
    (tmp_path / "x.wav").write_text("no audio")
    with pytest.raises(NeveError, match="cannot be read as audio"):
        LongRecording(tmp_path / "x.wav")
    with pytest.raises(NeveError, match="--segment cuts long recordings"):
        recording_batch(path, "AB", Loudness())


def test_a_short_file_is_aligned_as_a_whole(lang, tmp_path):
    method = Levels(lang)
    path = tmp_path / "short.wav"
    samples = np.concatenate([np.zeros(80), sound("AB EGG", method), np.zeros(40)])
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    out = tmp_path / "out"
    assert align_set(method, [recording_batch(path, "AB EGG", Loudness())], out) == (1, 0)
    (words,) = read_ctm(out / "words.ctm").values()
    start = 0.08
    for word, spelled in zip(words, ("AB", "EGG"), strict=True):
        tokens = len(lang.pronunciations(spelled)[0])
        assert (word.text, word.start) == (spelled, pytest.approx(start, abs=1e-4))
        assert word.end == pytest.approx(start + 0.12 * tokens - 0.04, abs=1e-4)
        start += 0.12 * tokens
