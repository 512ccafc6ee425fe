"""Long recordings with a text that may have errors: pieces of them whose text is right."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from neve.decoding.biased import BiasedDecoder, join_windows
from neve.decoding.segmentation import Segmentation, SegmentConfig, segment
from neve.errors import NeveError
from neve.files import atomic_open
from neve.frontend import Frontend, resample
from neve.progress import progress
from neve.transcribe.align import recording_cut, supervision

WINDOW = 30.0  # s that the model takes at once
OVERLAP = 5.0  # s that two windows have in common


class LongRecording:
    """An audio file of any length, of which only parts are in memory.

    Raises NeveError for a file that is not audio, or has no such channel.
    """

    def __init__(self, file: str | os.PathLike, channel: int | None = None):
        self.file, self.channel = Path(file), channel
        try:
            info = soundfile.info(str(file))
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise NeveError(f"{file}: cannot be read as audio ({error})") from error
        if channel is not None and not 0 <= channel < info.channels:
            raise NeveError(f"{file}: has {info.channels} channel(s), no channel {channel}")
        self.rate, self.frames = info.samplerate, info.frames
        self.duration = info.frames / info.samplerate

    def read(self, start: float, end: float, rate: int) -> np.ndarray:
        """(T,) float32 samples of seconds start..end, at `rate`."""
        first, last = round(start * self.rate), min(round(end * self.rate), self.frames)
        try:
            with soundfile.SoundFile(str(self.file)) as stream:
                stream.seek(first)
                samples = stream.read(max(0, last - first), dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise NeveError(
                f"{self.file}: cannot be read at {start:.1f} s ({error}): it is damaged; convert "
                "it to wav or flac"
            ) from error
        mono = samples.mean(axis=1) if self.channel is None else samples[:, self.channel]
        return resample(mono, self.rate, rate)


def windows_of(duration: float) -> list[tuple[float, float]]:
    """(begin, end) seconds of windows that overlap."""
    starts = np.arange(0.0, max(duration - OVERLAP, 1e-6), WINDOW - OVERLAP).tolist()
    return [(start, min(start + WINDOW, duration)) for start in starts]


def segment_recording(
    recording: LongRecording, text: Sequence[str], method, frontend: Frontend, config: SegmentConfig
) -> Segmentation:
    """The pieces of a recording that agree with `text`, and what is left out.

    Args:
        method: the CTC outputs of a model (`neve.decoding.methods.CtcMethod`).
        frontend: the features that the model takes.
        config: how pieces are cut.
    """
    if not text:
        raise NeveError(f"{recording.file}: its text has no words")
    decoder = BiasedDecoder(text, method.lang, method.frame_seconds)
    rate = frontend.config.sampling_rate
    found = []
    for begin, end in progress(windows_of(recording.duration), what="listening", unit="windows"):
        outputs = encoded(method, frontend(recording.read(begin, end, rate), rate))
        found.append((begin, end, decoder(outputs, begin)))
    heard = join_windows(found)
    return segment(text, heard, recording.duration, config, set(decoder.unknown))


def encoded(method, features: np.ndarray) -> np.ndarray:
    """(T', C) log-probabilities of (T, F) features."""
    if not len(features):
        return np.zeros((0, method.lang.num_tokens), np.float32)
    device = next(method.model.parameters()).device
    lengths = torch.tensor([len(features)])
    outputs, lengths = method.encode(
        torch.from_numpy(features)[None].to(device), lengths.to(device)
    )
    return outputs[0, : int(lengths[0])]


def segment_batches(
    recording: LongRecording, segmentation: Segmentation, frontend: Frontend
) -> Iterator[dict]:
    """Each piece as a batch that `neve.decoding.align_corpus.align_set` takes.

    A piece is called STEM-<start>-<end>, in hundredths of seconds; its supervision has the share of
    words that agree in `agreement`.
    """
    rate, name = frontend.config.sampling_rate, recording.file.stem
    whole = recording_cut(recording.file, name, recording.channel)
    for piece in segmentation.segments:
        start = round(piece.start * recording.rate) / recording.rate
        duration = round((piece.end - start) * recording.rate) / recording.rate
        text = " ".join(piece.words)
        ident = f"{name}-{round(100 * start):08d}-{round(100 * (start + duration)):08d}"
        said = supervision(ident, name, 0.0, duration, text, whole.channel)
        said.custom = {"agreement": round(piece.agreement, 4)}
        cut = dataclasses.replace(
            whole, id=ident, start=start, duration=duration, supervisions=[said]
        )
        features = torch.from_numpy(frontend(recording.read(start, start + duration, rate), rate))
        yield {
            "features": features[None],
            "feature_lens": torch.tensor([len(features)]),
            "ids": [ident],
            "texts": [text],
            "durations": [duration],
            "cuts": [cut],
        }


def write_report(
    out: Path, recording: LongRecording, text: Sequence[str], segmentation: Segmentation
) -> dict:
    """`left_out.jsonl`, a line for each part that is in no piece, and `summary.json`; the latter's
    content."""
    reasons: dict[str, dict[str, float]] = {}
    with atomic_open(out / "left_out.jsonl") as stream:
        for part in segmentation.left_out:
            row = dataclasses.asdict(part)
            row |= {
                key: None if row[key] is None else round(row[key], 2) for key in ("start", "end")
            }
            row |= {"text": " ".join(part.text), "heard": " ".join(part.heard)}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count = reasons.setdefault(part.reason, {"parts": 0, "words": 0, "seconds": 0.0})
            count["parts"] += 1
            count["words"] += len(part.text)
            count["seconds"] = round(count["seconds"] + (part.end or 0.0) - (part.start or 0.0), 2)
    summary = {
        "recording": str(recording.file),
        "seconds": round(recording.duration, 2),
        "words": len(text),
        "segments": len(segmentation.segments),
        "segment_seconds": round(sum(p.end - p.start for p in segmentation.segments), 2),
        "segment_words": sum(len(p.words) for p in segmentation.segments),
        "left_out": reasons,
    }
    with atomic_open(out / "summary.json") as stream:
        json.dump(summary, stream, ensure_ascii=False, indent=2)
        stream.write("\n")
    return summary
