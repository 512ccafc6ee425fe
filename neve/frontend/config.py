"""What the features are: the keys of the `features` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class FeatureConfig:
    sampling_rate: int = option(
        16000, "sampling rate the model works at, Hz; audio at other rates is resampled to it"
    )
    num_bins: int = option(80, "number of mel filters, the width of a feature frame")
    frame_length: float = option(0.025, "length of the analysis window, s")
    frame_shift: float = option(0.01, "time from one frame to the next, s")
    low_freq: float = option(20.0, "lower edge of the lowest mel filter, Hz")
    high_freq: float = option(
        -400.0, "upper edge of the highest mel filter, Hz; at most 0: counted from half the rate"
    )
    dither: float = option(
        0.0, "standard deviation of noise added to samples in [-1, 1]; not repeatable, so 0"
    )
    cmvn: str = option(
        "none",
        "mean and variance normalisation of each filter: over the whole training set (global; can"
        " stream) or over the utterance (cannot stream)",
        choices=("none", "utterance", "global"),
    )
    storage: str = option(
        "lilcom",
        "how features are stored: lilcom (about 1 byte a value, error at most 2^-6), float16"
        " (2 bytes, error at most 2^-8 for values below 16) or float32 (exact)",
        choices=("lilcom", "float16", "float32"),
    )
