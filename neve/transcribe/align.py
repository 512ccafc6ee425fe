"""An audio file with its text as a batch of one utterance, to be aligned."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from neve.errors import NeveError
from neve.frontend import Frontend, read_audio

LONGEST = 120.0  # s that a model is asked to take at once


def recording_batch(
    file: str | os.PathLike, text: str, frontend: Frontend, channel: int | None = None
) -> dict:
    """The batch that `neve.decoding.align_corpus.align_set` takes; the file's stem is the id.

    Raises NeveError for a file that is no audio, or longer than two minutes.
    """
    rate = frontend.config.sampling_rate
    samples, _ = read_audio(file, rate, channel)
    if len(samples) > LONGEST * rate:
        raise NeveError(
            f"{file}: lasts {len(samples) / rate:.0f} s, more than {LONGEST:.0f} s; --segment cuts "
            "long recordings into pieces with their text and aligns these"
        )
    features = torch.from_numpy(frontend(samples, rate))
    if not len(features):
        raise NeveError(f"{file}: is shorter than a frame")
    name = Path(file).stem
    cut = recording_cut(file, name, channel)
    cut.supervisions = [supervision(name, name, 0.0, cut.duration, text, cut.channel)]
    return {
        "features": features[None],
        "feature_lens": torch.tensor([len(features)]),
        "ids": [name],
        "texts": [text],
        "durations": [len(samples) / rate],
        "cuts": [cut],
    }


def recording_cut(file: str | os.PathLike, name: str, channel: int | None):
    """A Lhotse cut of a whole audio file."""
    import soundfile
    from lhotse import AudioSource, MonoCut, MultiCut, Recording

    info = soundfile.info(str(file))
    channels = list(range(info.channels))
    duration = info.frames / info.samplerate
    source = AudioSource("file", channels, str(file))
    recording = Recording(name, [source], info.samplerate, info.frames, duration, channels)
    if channel is None and len(channels) > 1:
        return MultiCut(name, 0.0, duration, channels, recording=recording)
    return MonoCut(name, 0.0, duration, channel or 0, recording=recording)


def supervision(name: str, recording: str, start: float, duration: float, text: str, channel):
    """A Lhotse supervision."""
    from lhotse import SupervisionSegment

    return SupervisionSegment(name, recording, start, duration, channel, text=text)
