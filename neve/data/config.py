"""Where the data comes from and how it is used: the keys of the `data` and `augment` sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neve.config import option


@dataclass
class DataConfig:
    source: str = option(
        "local",
        "where manifests come from: local (the recipe's script), lhotse:<name> (Lhotse's own"
        " recipe, e.g. lhotse:librispeech), kaldi (Kaldi data directories), table (csv or tsv) or"
        " shar (Lhotse Shar directories)",
    )
    dir: str = option(
        "",
        "the user's data: for kaldi a directory with one data directory per split, or one data"
        " directory; for table a file with a `split` column, or a directory with <split>.csv or"
        " <split>.tsv; for shar a directory with one Shar directory per split; empty: the download"
        " directory",
    )
    script: str = option("local/manifests.py", "the script of source local")
    options: dict[str, Any] = option({}, "further arguments of Lhotse's recipe, as {name: value}")
    train: list[str] = option(["train"], "splits to train on")
    dev: list[str] = option(["dev"], "splits to validate on")
    test: list[str] = option(["test"], "splits to decode and score")
    hold_out_dev: float = option(
        0.0,
        "share of the training utterances (by whole speakers where there are several) that become"
        " the first split of `dev`, if the source has no such split",
    )
    hold_out_test: float = option(0.0, "the same for the first split of `test`")
    sampling_rate: int = option(
        0, "sampling rate the audio should have, Hz; 0: any (the rates found are reported)"
    )
    resample: bool = option(
        True, "whether audio at another rate is resampled (and said so) or is a problem"
    )
    check: str = option(
        "full",
        "how audio is checked: full (decode all of it) or header (only look at the headers: faster,"
        " finds no damage within compressed files and no duplicates)",
        choices=("full", "header"),
    )
    on_problem: str = option(
        "drop",
        "what happens to an utterance that cannot be used: drop (and report) or error",
        choices=("drop", "error"),
    )
    max_dropped: float = option(
        0.05, "share of a split's utterances that may be dropped before it is an error"
    )
    min_utterance: float = option(
        0.1, "shortest utterance to train on, s; others are reported"
    )
    max_utterance: float = option(
        30.0, "longest utterance to train on, s; others are reported"
    )
    speed_perturb: list[float] = option(
        [0.9, 1.1], "speeds at which training splits are stored besides the original; [] for none"
    )
    on_the_fly: bool = option(
        False,
        "whether features are computed from the audio whenever they are needed, instead of stored:"
        " needs no disk, and augmentation differs in each epoch, but takes time in each;"
        " data.num_workers on a GPU",
    )
    speed_per_epoch: str = option(
        "one",
        "what an epoch holds of each training utterance: one speed drawn at random (an epoch is"
        " one pass over the corpus) or all speeds",
        choices=("one", "all"),
    )
    max_duration: float = option(
        120.0, "most seconds of audio in a batch, padding included (one utterance always fits)"
    )
    max_cuts: int = option(0, "most utterances in a batch; 0: no limit")
    duration_jitter: float = option(
        0.05,
        "training batches hold utterances of similar length: each length is multiplied by up to"
        " 1 + this or 1 - this before they are sorted, so that every epoch has other batches",
    )
    num_workers: int = option(
        0, "processes that load batches for each trainer; 0: one thread, which is enough for a CPU"
    )
    prefetch: int = option(4, "batches loaded ahead by the thread, or by each process")
    cache: bool = option(
        False,
        "keep features decompressed in memory (46 MB for an hour of audio and each speed at 80"
        " filters) instead of reading them every epoch; loads with a thread",
    )


@dataclass
class AugmentConfig:
    seed: int = option(0, "seed of the augmentations at the features stage")
    copies: int = option(
        0,
        "additional copies of each training utterance to which noise, reverberation and telephone"
        " band are applied with their probabilities; 0: they change the utterances themselves",
    )
    noise: str = option(
        "", "folder of audio files (searched through) or a file with one path a line; empty: none"
    )
    noise_prob: float = option(0.0, "probability of adding noise to an utterance")
    noise_snr: list[float] = option(
        [5.0, 20.0], "lowest and highest signal-to-noise ratio of added noise, dB"
    )
    reverb_prob: float = option(0.0, "probability of reverberating an utterance")
    reverb_rt60: list[float] = option(
        [0.1, 0.6], "shortest and longest reverberation time, s until the echo has lost 60 dB"
    )
    telephone_prob: float = option(
        0.0, "probability of passing an utterance through a telephone band (300-3400 Hz, mu-law)"
    )
    splits: list[str] = option(
        [], "splits to which this is applied, e.g. [train, dev, test]; empty: those trained on"
    )
    spec_augment: bool = option(True, "whether training batches get SpecAugment")
    time_warp: int = option(
        80, "SpecAugment: farthest that a point in time is moved, frames; 0: none"
    )
    freq_masks: int = option(2, "SpecAugment: frequency masks per utterance")
    freq_mask_width: int = option(27, "SpecAugment: widest frequency mask, filters")
    time_masks: int = option(10, "SpecAugment: most time masks per utterance")
    time_mask_width: int = option(100, "SpecAugment: widest time mask, frames")
    time_mask_share: float = option(
        0.15, "SpecAugment: largest share of an utterance's frames that time masks may cover"
    )
    spec_prob: float = option(0.9, "SpecAugment: probability that an utterance is changed at all")
