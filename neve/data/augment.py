"""Augmentations of waveforms: added noise, reverberation, telephone band. numpy and scipy alone.

Each takes (T,) float samples and returns as many; what is random comes from the generator that is
passed, so that an utterance gets the same whatever else is processed and in which order.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from neve.data.config import AugmentConfig
from neve.errors import NeveError
from neve.frontend import AUDIO_SUFFIXES, read_audio, resample

TELEPHONE_RATE = 8000
TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712
MU = 255  # ITU-T G.711, mu-law


def generator_of(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the seed and an utterance's id and on nothing else."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def power(samples: np.ndarray) -> float:
    """Mean square of samples (0 if there are none)."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def add_noise(
    samples: np.ndarray, noise: np.ndarray, snr: float, generator: np.random.Generator
) -> np.ndarray:
    """Add (N,) noise, from a random place on and repeated as needed, at `snr` dB.

    The ratio is of mean powers over the whole utterance. Digital silence on either side leaves the
    samples as they are.
    """
    if not len(noise):
        raise ValueError("the noise has no samples")
    start = int(generator.integers(0, len(noise)))
    stretch = np.resize(np.roll(noise, -start), len(samples))
    speech_power, noise_power = power(samples), power(stretch)
    if speech_power == 0 or noise_power == 0:
        return samples
    gain = np.sqrt(speech_power / noise_power / 10 ** (snr / 10))
    return (samples + gain * stretch).astype(samples.dtype, copy=False)


def room_response(
    rt60: float, sampling_rate: int, generator: np.random.Generator, direct_ratio: float = 0.0
) -> np.ndarray:
    """A synthetic room impulse response (T,) float64: the direct sound, then decaying noise.

    The statistical model of Polack ("La transmission de l'energie sonore dans les salles", 1988):
    Gaussian noise with an envelope that falls by 60 dB in `rt60` seconds. It starts 2.5 ms after
    the direct sound, which has `direct_ratio` dB more energy than all the rest. The direct sound is
    1 at time 0, so that nothing is delayed.
    """
    if rt60 <= 0:
        raise ValueError(f"the reverberation time must be positive, not {rt60} s")
    length = max(int(rt60 * sampling_rate), 2)
    gap = min(int(0.0025 * sampling_rate), length - 1)
    time = np.arange(length) / sampling_rate
    response = generator.standard_normal(length) * np.exp(-np.log(1000) * time / rt60)
    response[:gap] = 0
    response *= np.sqrt(10 ** (-direct_ratio / 10) / np.sum(response[1:] ** 2))
    response[0] = 1
    return response


def reverberate(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve (T,) samples with a room response; their number and mean power stay the same."""
    from scipy.signal import fftconvolve

    if not len(samples):
        return samples
    result = fftconvolve(samples.astype(np.float64), response)[: len(samples)]
    before, after = power(samples), power(result)
    if after > 0:
        result *= np.sqrt(before / after)
    return result.astype(samples.dtype, copy=False)


def telephone(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """What a telephone line leaves of (T,) samples: 300 to 3400 Hz, 8 kHz, 8-bit mu-law.

    A Butterworth band pass, then quantisation to 255 values of the continuous mu-law curve (ITU-T
    G.711) relative to full scale 1. Louder samples are clipped, as they are there.
    """
    from scipy.signal import butter, sosfilt

    narrow = resample(samples.astype(np.float64), sampling_rate, TELEPHONE_RATE)
    band = butter(6, TELEPHONE_BAND, "bandpass", fs=TELEPHONE_RATE, output="sos")
    narrow = np.clip(sosfilt(band, narrow), -1, 1)
    coded = np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU)
    coded = np.round(127 * coded) / 127
    narrow = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU
    wide = resample(narrow, TELEPHONE_RATE, sampling_rate)
    result = np.zeros(len(samples))
    result[: len(wide)] = wide[: len(samples)]
    return result.astype(samples.dtype, copy=False)


class Augmenter:
    """The augmentations of a configuration, applied to an utterance by its id.

    Raises NeveError if the configuration asks for noise that is not there.
    """

    def __init__(self, config: AugmentConfig):
        self.config = config
        self.noises = list_noises(config.noise) if config.noise_prob > 0 else []
        for name in ("noise_prob", "reverb_prob", "telephone_prob"):
            if not 0 <= getattr(config, name) <= 1:
                raise NeveError(f"augment.{name} is {getattr(config, name)}; it must be 0 to 1")
        for name in ("noise_snr", "reverb_rt60"):
            values = getattr(config, name)
            if len(values) != 2 or values[0] > values[1]:
                raise NeveError(f"augment.{name} is {values}; it must be [lowest, highest]")
        if config.reverb_rt60[0] <= 0:
            raise NeveError("augment.reverb_rt60: a reverberation time must be above 0 s")

    @property
    def active(self) -> bool:
        """Whether any augmentation can happen."""
        config = self.config
        return max(config.noise_prob, config.reverb_prob, config.telephone_prob) > 0

    def __call__(
        self, samples: np.ndarray, sampling_rate: int, name: str
    ) -> tuple[np.ndarray, str]:
        """Samples changed as drawn for utterance `name`, and what was done, in words."""
        config = self.config
        generator = generator_of(config.seed, name)
        reverb, noise, phone = generator.random(3) < (
            config.reverb_prob,
            config.noise_prob,
            config.telephone_prob,
        )
        done = []
        if reverb:
            rt60 = generator.uniform(*config.reverb_rt60)
            samples = reverberate(samples, room_response(rt60, sampling_rate, generator))
            done.append(f"reverberation {rt60:.2f} s")
        if noise and self.noises:
            path = self.noises[int(generator.integers(len(self.noises)))]
            snr = generator.uniform(*config.noise_snr)
            samples = add_noise(samples, _noise(path, sampling_rate), snr, generator)
            done.append(f"noise {Path(path).name} at {snr:.1f} dB")
        if phone:
            samples = telephone(samples, sampling_rate)
            done.append("telephone band")
        return samples, ", ".join(done)


def list_noises(where: str | os.PathLike) -> list[str]:
    """Paths of the noise recordings in a folder, or listed in a file, one a line, sorted."""
    path = Path(where)
    if not os.fspath(where):
        raise NeveError("augment.noise_prob is above 0, but augment.noise names no noise")
    if path.is_dir():
        found = [
            str(file) for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES
        ]
    elif path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [str(path.parent / line.strip()) for line in lines if line.strip()]
        for number, line in enumerate(lines, 1):
            if line.strip() and not (path.parent / line.strip()).is_file():
                raise NeveError(f"{path}:{number}: there is no such audio file: {line.strip()}")
    else:
        raise NeveError(f"augment.noise: {path}: there is no such folder or list of files")
    if not found:
        raise NeveError(f"augment.noise: {path}: has no audio files")
    return sorted(found)


@functools.lru_cache(maxsize=256)
def _noise(path: str, sampling_rate: int) -> np.ndarray:
    samples, _ = read_audio(path, sampling_rate)
    if power(samples) == 0:
        raise NeveError(f"{path}: this noise is silent or empty; remove it from augment.noise")
    return samples
