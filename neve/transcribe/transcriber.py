"""A model directory put to use on audio files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from neve.decoding import load_packed
from neve.frontend import Frontend, read_audio
from neve.progress import progress
from neve.results import Hypothesis, Word
from neve.transcribe.segments import cut_at_pauses

SHORTEST = 0.1  # s; a shorter piece holds no word


@dataclass
class Transcript:
    """What was said in a file: its words with times in seconds from the file's start."""

    file: str
    duration: float
    words: list[Word]

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(word.text for word in self.words)

    def to_dict(self) -> dict:
        """Plain data for JSON."""
        return {
            "file": self.file,
            "duration": round(self.duration, 3),
            "text": self.text,
            "words": [
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": None if word.confidence is None else round(word.confidence, 4),
                }
                for word in self.words
            ],
        }


class Transcriber:
    """The model of a directory that `neve pack` wrote; call it with an audio file.

    `overrides` change decoding settings: ("decoding.search_beam", "30"). Raises NeveError naming
    what is missing or damaged in the directory.
    """

    def __init__(
        self, model_dir: str | os.PathLike, overrides: Sequence[tuple[str, str]] = ()
    ):
        self.packed = load_packed(model_dir, list(overrides))
        self.frontend = Frontend.load(model_dir)

    def __call__(self, file: str | os.PathLike, channel: int | None = None) -> Transcript:
        """Transcribe an audio file at any sampling rate; several channels are averaged.

        Raises NeveError if the file is missing or is not audio.
        """
        rate = self.frontend.config.sampling_rate
        samples, _ = read_audio(file, rate, channel)
        words: list[Word] = []
        pieces = cut_at_pauses(samples, rate)
        for start, end in progress(pieces, what="transcribing", unit="pieces"):
            if (end - start) / rate < SHORTEST:
                continue
            features = torch.from_numpy(self.frontend(samples[start:end], rate))
            hypothesis = self._decode(features)
            for word in hypothesis.words:
                word.start += start / rate
                word.end += start / rate
                words.append(word)
        return Transcript(str(file), len(samples) / rate, words)

    def _decode(self, features: torch.Tensor):
        recognizer = self.packed.recognizer
        outputs, lengths = recognizer.encode(features[None], torch.tensor([len(features)]))
        (nbest,) = recognizer.search(outputs, lengths, self.packed.scales)
        return nbest[0] if nbest else Hypothesis([])


def transcribe(file: str | os.PathLike, model_dir: str | os.PathLike) -> Transcript:
    """Transcribe one audio file with the model in `model_dir`."""
    return Transcriber(model_dir)(file)
