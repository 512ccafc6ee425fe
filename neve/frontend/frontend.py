"""From samples at any rate to what a model takes: resampling, filterbank, normalisation.

`frontend.json` holds one whole: the `features` section and, for global normalisation, the mean and
standard deviation of each filter over the training set. The features stage writes it beside the
features (which are stored unnormalised), the loader applies it, a model directory carries it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from neve.config import to_dict
from neve.errors import NeveError
from neve.files import atomic_open
from neve.frontend.audio import read_audio, resample
from neve.frontend.config import FeatureConfig
from neve.frontend.filterbank import LOG_FLOOR, Fbank, FbankStream

FILE_NAME = "frontend.json"
FORMAT = 1
SMALLEST_DEVIATION = 1e-3


class Statistics:
    """Mean and standard deviation of every filter, gathered over any number of utterances."""

    def __init__(self, dim: int):
        self.count = 0
        self.sum = np.zeros(dim)
        self.squares = np.zeros(dim)

    def add(self, features: np.ndarray) -> Statistics:
        """Count (T, dim) features in; sums are in float64."""
        wide = features.astype(np.float64)
        self.count += len(wide)
        self.sum += wide.sum(axis=0)
        self.squares += (wide**2).sum(axis=0)
        return self

    def merge(self, other: Statistics) -> Statistics:
        """Count in what `other` has gathered."""
        self.count += other.count
        self.sum += other.sum
        self.squares += other.squares
        return self

    def mean_and_deviation(self) -> tuple[np.ndarray, np.ndarray]:
        """(dim,) float32 means and standard deviations, these at least 1e-3."""
        if not self.count:
            raise NeveError("there is no audio to take the mean and variance of features from")
        mean = self.sum / self.count
        variance = np.maximum(self.squares / self.count - mean**2, 0)
        deviation = np.maximum(np.sqrt(variance), SMALLEST_DEVIATION)
        return mean.astype(np.float32), deviation.astype(np.float32)


class Frontend:
    """`Frontend(config)(samples, rate)` -> (frames, num_bins) float32, ready for the model."""

    def __init__(
        self,
        config: FeatureConfig | None = None,
        mean: np.ndarray | None = None,
        deviation: np.ndarray | None = None,
    ):
        self.config = config or FeatureConfig()
        if self.config.cmvn == "global" and (mean is None or deviation is None):
            raise NeveError(
                "features.cmvn is global, but there are no statistics of a training set: "
                f"load the {FILE_NAME} that the features stage wrote"
            )
        self.mean = mean
        self.deviation = deviation
        self.fbank = Fbank(self.config)

    @property
    def dim(self) -> int:
        """Values in a frame."""
        return self.config.num_bins

    @property
    def padding(self) -> np.ndarray:
        """(num_bins,) float32: the frame that stands for silence beyond an utterance's end."""
        if self.config.cmvn == "utterance":
            return np.zeros(self.dim, dtype=np.float32)
        return self.normalise(np.full((1, self.dim), LOG_FLOOR, dtype=np.float32))[0]

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """Features of (T,) samples in [-1, 1] at any rate (Hz)."""
        samples = resample(np.asarray(samples), sampling_rate, self.config.sampling_rate)
        return self.normalise(self.fbank(samples))

    def file(self, path: str | os.PathLike, channel: int | None = None) -> np.ndarray:
        """Features of an audio file (see `read_audio`)."""
        samples, rate = read_audio(path, self.config.sampling_rate, channel)
        return self(samples, rate)

    def stream(self) -> FrontendStream:
        """Features of audio that arrives piece by piece, at `config.sampling_rate`."""
        if self.config.cmvn == "utterance":
            raise NeveError(
                "features.cmvn is utterance, which needs the whole utterance: a model for "
                "streaming takes global or none"
            )
        return FrontendStream(self, self.fbank.stream())

    def normalise(self, features: np.ndarray) -> np.ndarray:
        """Raw (T, num_bins) features with the mean and variance normalisation of `config`."""
        if self.config.cmvn == "none" or not len(features):
            return features
        if self.config.cmvn == "global":
            return (features - self.mean) / self.deviation
        mean, deviation = Statistics(features.shape[1]).add(features).mean_and_deviation()
        return (features - mean) / deviation

    def save(self, directory: str | os.PathLike) -> None:
        """Write `frontend.json` into `directory`."""
        content = {"format": FORMAT, "features": to_dict(self.config)}
        if self.mean is not None:
            content["mean"] = [float(value) for value in self.mean]
            content["deviation"] = [float(value) for value in self.deviation]
        with atomic_open(Path(directory) / FILE_NAME) as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")

    @classmethod
    def load(cls, directory: str | os.PathLike) -> Frontend:
        """The frontend that `save` wrote into `directory`; NeveError names a file that is bad."""
        path = Path(directory) / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NeveError(
                f"{path}: there is no such file; the features stage writes it, "
                "`neve pack` copies it into a model directory"
            ) from None
        except (OSError, ValueError) as error:
            raise NeveError(f"{path}: cannot be read ({error}): compute features again") from error
        known = {field.name for field in dataclasses.fields(FeatureConfig)}
        features = content.get("features", {}) if isinstance(content, dict) else {}
        if not features or content.get("format") != FORMAT or not set(features) <= known:
            raise NeveError(
                f"{path}: is not format {FORMAT} of this version of neve: compute features again"
            )
        mean, deviation = (
            np.array(content[name], dtype=np.float32) if name in content else None
            for name in ("mean", "deviation")
        )
        return cls(FeatureConfig(**features), mean, deviation)


class FrontendStream:
    """Normalised frames as soon as they are complete; the same as those of the whole file."""

    def __init__(self, frontend: Frontend, stream: FbankStream):
        self._frontend = frontend
        self._stream = stream

    def accept_waveform(
        self, samples: np.ndarray, sampling_rate: int | None = None
    ) -> np.ndarray:
        """Take the next (T,) samples in [-1, 1]; return the (k, num_bins) frames now complete."""
        return self._frontend.normalise(self._stream.accept_waveform(samples, sampling_rate))

    def finish(self) -> np.ndarray:
        """The last frames, those whose window reaches beyond the end of the audio."""
        return self._frontend.normalise(self._stream.finish())
