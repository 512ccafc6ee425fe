"""Audio files to samples in [-1, 1] at the rate that is wanted."""

from __future__ import annotations

import os
from math import gcd

import numpy as np

from neve.errors import NeveError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif", ".w64", ".au")


def read_audio(
    path: str | os.PathLike, sampling_rate: int | None = None, channel: int | None = None
) -> tuple[np.ndarray, int]:
    """Samples (T,) float32 in [-1, 1] of one channel of an audio file, and their rate in Hz.

    Reads what libsndfile reads: wav, flac, ogg, mp3, NIST SPHERE and others. `sampling_rate`
    resamples. Without `channel`, the channels of a file that has several are averaged. Raises
    NeveError naming the file if it is missing, not audio, or has no such channel.
    """
    import soundfile

    if not os.path.isfile(path):
        raise NeveError(f"{path}: there is no such audio file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise NeveError(
            f"{path}: cannot be read as audio ({error}): it is damaged or of a format that "
            "libsndfile does not know; convert it to wav or flac"
        ) from error
    if channel is not None and not 0 <= channel < samples.shape[1]:
        raise NeveError(f"{path}: has {samples.shape[1]} channel(s), no channel {channel}")
    mono = samples.mean(axis=1) if channel is None else samples[:, channel]
    if sampling_rate is not None and sampling_rate != rate:
        return resample(mono, rate, sampling_rate), sampling_rate
    return np.ascontiguousarray(mono), rate


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Samples (..., T) at another rate: polyphase filtering with a Kaiser window (scipy).

    The result has ceil(T * target / source) samples, of the input's floating-point type.
    """
    if source_rate == target_rate:
        return samples
    from scipy.signal import resample_poly

    divisor = gcd(source_rate, target_rate)
    result = resample_poly(samples, target_rate // divisor, source_rate // divisor, axis=-1)
    return result.astype(samples.dtype, copy=False)
