"""Stage 2: features of every utterance, and of its speed-perturbed and augmented copies.

Work is cut into shares of fixed size, each with an archive of its own, so that any number of jobs
writes the same files. Features are stored unnormalised (`frontend.json` says how to normalise).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neve.data.augment import Augmenter
from neve.data.config import AugmentConfig, DataConfig
from neve.data.manifests import load_cuts, use_libsndfile, write_manifest
from neve.errors import NeveError, disk_full
from neve.frontend import Fbank, FeatureConfig, Frontend, Statistics
from neve.pipeline import run_jobs

SHARE = 200  # utterances in an archive
SMALL = 0.25  # hours of audio below which starting processes takes longer than the work


def compute_features(
    config: DataConfig,
    features: FeatureConfig,
    augment: AugmentConfig,
    manifests: str | os.PathLike,
    out: str | os.PathLike,
    nj: int,
    final: str | os.PathLike | None = None,
) -> None:
    """Write cuts_<split>.jsonl.gz with stored features, and frontend.json, to `out`.

    With `data.on_the_fly` nothing is stored: the loader computes the features. Utterances that
    bring features (of a Shar directory) keep them, as they are.

    `manifests` is the directory that `prepare_manifests` made. Training splits get a copy at each
    speed of `data.speed_perturb` (ids end in _sp0.9) and `augment.copies` augmented copies of each
    (_aug1). `final` is the name under which `out` will be found in the end, for the paths that the
    manifests hold.

    Raises NeveError naming the utterance whose audio cannot be read, or the path if the disk is
    full.
    """
    manifests, out = Path(manifests), Path(out)
    final = Path(final) if final is not None else out
    check_speeds(config.speed_perturb)
    augmenting = Augmenter(augment).active
    out.mkdir(parents=True, exist_ok=True)
    shares: list[Share] = []
    counts: dict[str, int] = {}
    for split in unique(config.train + config.dev + config.test):
        training = split in config.train
        cuts = load_cuts(manifests / f"cuts_{split}.jsonl.gz")
        counts[split] = len(cuts)
        check_stored(cuts, features, augmenting, split)
        cuts = at_rate(cuts, features.sampling_rate, split)
        tasks = variants(cuts, split, training, config, augment, augmenting)
        for start in range(0, len(tasks), SHARE):
            shares.append(
                Share(
                    tasks[start : start + SHARE],
                    split,
                    f"feats_{split}_{start // SHARE:04d}",
                    out,
                    final,
                    features,
                    augment,
                    statistics=training and features.cmvn == "global",
                    stored=not config.on_the_fly,
                )
            )
    hours = sum(task.cut.duration for share in shares for task in share.tasks) / 3600
    answers = run_jobs(
        extract_share,
        shares,
        nj if hours > SMALL else 1,
        what=f"features of {hours:.2f} h",
        unit=f"x {SHARE} utterances",
    )
    statistics = Statistics(features.num_bins)
    stored: dict[str, list] = {split: [] for split in counts}
    for share, (cuts, part) in zip(shares, answers, strict=True):
        stored[share.split].extend(cuts)
        if part is not None:
            statistics.merge(part)
    for split, cuts in stored.items():
        write_manifest(cuts, out / f"cuts_{split}.jsonl.gz")
        print(
            f"{split}: {counts[split]} utterances, {len(cuts)} with copies,"
            f" {sum(cut.duration for cut in cuts) / 3600:.2f} h,"
            f" {sum(expected_frames(cut, features) for cut in cuts)} frames"
            + (" (to be computed on the fly)" if config.on_the_fly else ""),
            flush=True,
        )
    mean, deviation = (None, None)
    if features.cmvn == "global":
        mean, deviation = statistics.mean_and_deviation()
    Frontend(features, mean, deviation).save(out)


@dataclass
class Task:
    """One matrix to compute: a cut, and whether it is to be augmented."""

    cut: object
    augment: bool


@dataclass
class Share:
    """Utterances that go into one archive, computed by one process."""

    tasks: list[Task]
    split: str
    name: str
    out: Path
    final: Path
    features: FeatureConfig
    augment: AugmentConfig
    statistics: bool  # whether to gather mean and variance
    stored: bool  # whether to store the features


def unique(names: list[str]) -> list[str]:
    """Names in their order, each once."""
    return list(dict.fromkeys(names))


def check_speeds(speeds: list[float]) -> None:
    """NeveError for speeds that make no sense."""
    for speed in speeds:
        if not 0.5 <= speed <= 2 or speed == 1:
            raise NeveError(
                f"data.speed_perturb: {speed} is not a speed from 0.5 to 2 other than 1"
                " (the original speed is always there)"
            )


def check_stored(cuts: list, features: FeatureConfig, augmenting: bool, split: str) -> None:
    """NeveError if features that utterances bring are not of the kind that is configured."""
    given = [cut for cut in cuts if cut.has_features]
    for cut in given:
        for name, have, want in (
            ("features.num_bins", cut.features.num_features, features.num_bins),
            ("features.frame_shift", cut.features.frame_shift, features.frame_shift),
        ):
            if have != want:
                raise NeveError(
                    f"split {split}, utterance {cut.id}: its features were made with {name} {have},"
                    f" but {want} is configured: set that, or use a Shar directory with audio"
                )
    if given:
        print(
            f"{split}: {len(given)} utterances have features and keep them"
            + (": there is no audio to augment" if augmenting else ""),
            flush=True,
        )


def at_rate(cuts: list, sampling_rate: int, split: str) -> list:
    """Cuts that will be read at `sampling_rate`, and a line on those that are resampled."""
    others: dict[int, int] = {}
    for cut in cuts:
        if cut.sampling_rate != sampling_rate and not cut.has_features:
            others[cut.sampling_rate] = others.get(cut.sampling_rate, 0) + 1
    for rate, count in sorted(others.items()):
        print(
            f"{split}: {count} utterances are resampled from {rate} to {sampling_rate} Hz"
            + (" (they have nothing above half their own rate)" if rate < sampling_rate else ""),
            flush=True,
        )
    return [
        cut.resample(sampling_rate)
        if cut.sampling_rate != sampling_rate and not cut.has_features
        else cut
        for cut in cuts
    ]


def variants(
    cuts: list,
    split: str,
    training: bool,
    config: DataConfig,
    augment: AugmentConfig,
    active: bool,
) -> list[Task]:
    """All that is stored of a split: each utterance's speeds, then their augmented copies."""
    changed = active and split in (augment.splits or config.train)
    if not training:
        return [Task(marked(cut, cut.id), changed) for cut in cuts]
    copies = augment.copies if changed else 0
    tasks = []
    for cut in cuts:
        speeds = [cut]
        if not cut.has_features:
            speeds += [cut.perturb_speed(speed) for speed in config.speed_perturb]
        for version in speeds:
            tasks.append(Task(marked(version, cut.id), changed and not copies))
            for copy in range(1, copies + 1):
                renamed = version.with_id(f"{version.id}_aug{copy}")
                tasks.append(Task(marked(renamed, cut.id), True))
    return tasks


def marked(cut, utterance: str):
    """The cut with a custom field `utterance`: the id of the utterance that it is a version of."""
    cut = cut.with_id(cut.id)
    cut.custom = {**(cut.custom or {}), "utterance": utterance}
    return cut


def extract_share(share: Share) -> tuple[list, Statistics | None]:
    """Compute and store the features of one share; its cuts with features, and statistics.

    What is not needed is not computed.
    """
    import torch

    torch.set_num_threads(1)
    use_libsndfile()
    fbank = Fbank(share.features)
    augmenter = Augmenter(share.augment) if any(task.augment for task in share.tasks) else None
    statistics = Statistics(share.features.num_bins) if share.statistics else None
    cuts = []
    try:
        with open_writer(share) if share.stored else contextlib.nullcontext() as writer:
            for task in share.tasks:
                given = task.cut.has_features
                if given and statistics is not None:
                    statistics.add(task.cut.load_features())
                elif not given and (share.stored or statistics is not None):
                    matrix, what = extract(task.cut, fbank, augmenter if task.augment else None)
                    if statistics is not None:
                        statistics.add(matrix)
                    if share.stored:
                        cuts.append(store(task.cut, matrix, what, writer, share))
                        continue
                if task.augment:
                    task.cut.custom["augment"] = True  # for the loader
                cuts.append(task.cut)
    except OSError as error:
        raise disk_full(error, share.out) or error from error
    return cuts, statistics


def extract(
    cut, fbank: Fbank, augmenter: Augmenter | None, draw: str = ""
) -> tuple[np.ndarray, str]:
    """(T, num_bins) features of one cut, and how it was augmented.

    What is drawn at random for it follows from `draw`; its id if empty.
    """
    rate = fbank.config.sampling_rate
    try:
        samples = cut.load_audio()[0]
    except Exception as error:
        raise NeveError(
            f"utterance {cut.id}: its audio ({sources_of(cut)}) cannot be read"
            f" ({innermost(error)}): it has changed since it was checked; restore it, or run"
            " stage 1 again"
        ) from error
    if not np.isfinite(samples.sum()):
        raise NeveError(
            f"utterance {cut.id}: its audio ({sources_of(cut)}) has values that are not finite:"
            " stage 1 (--force) with data.check full finds such audio and leaves it out"
        )
    what = ""
    if augmenter is not None:
        samples, what = augmenter(samples, rate, draw or cut.id)
    matrix = fbank(samples.astype(np.float32, copy=False), rate)
    return fit(matrix, expected_frames(cut, fbank.config), cut.id), what


def sources_of(cut) -> str:
    """Where the audio of a cut is."""
    return ", ".join(str(source.source) for source in cut.recording.sources)


def innermost(error: BaseException) -> str:
    """The first line of the error at the bottom of a chain."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def expected_frames(cut, config: FeatureConfig) -> int:
    """Frames that Lhotse expects of a cut."""
    from lhotse.utils import compute_num_frames

    return compute_num_frames(cut.duration, config.frame_shift, config.sampling_rate)


def fit(matrix: np.ndarray, frames: int, name: str) -> np.ndarray:
    """The matrix with as many frames as expected; they may differ by one, from rounding times."""
    if len(matrix) == frames:
        return matrix
    if len(matrix) == frames + 1:
        return matrix[:frames]
    if len(matrix) == frames - 1 and len(matrix):
        return np.concatenate([matrix, matrix[-1:]])
    raise NeveError(
        f"utterance {name}: has {len(matrix)} frames where its duration gives {frames}:"
        " its recording is not as long as its manifest says; run stage 1 again"
    )


def open_writer(share: Share):
    """A Lhotse writer for the archive of a share."""
    from lhotse.features.io import LilcomChunkyWriter, NumpyFilesWriter

    if share.features.storage == "lilcom":
        return LilcomChunkyWriter(share.out / share.name)
    return NumpyFilesWriter(share.out / share.name)


def store(cut, matrix: np.ndarray, what: str, writer, share: Share):
    """Store a matrix; return the cut that refers to it."""
    from lhotse import Features

    from neve.data.extractor import TYPE

    frames, filters = matrix.shape
    if share.features.storage == "float16":
        matrix = matrix.astype(np.float16)
    elif share.features.storage == "lilcom":
        matrix = matrix.copy()  # lilcom overwrites what it is given
    key = writer.write(cut.id, matrix)
    custom = dict(cut.custom)
    if what:
        custom["augmented"] = what
    result = cut.with_id(cut.id)
    result.custom = custom
    result.features = Features(
        type=TYPE,
        num_frames=frames,
        num_features=filters,
        frame_shift=share.features.frame_shift,
        sampling_rate=share.features.sampling_rate,
        start=cut.start,
        duration=cut.duration,
        storage_type=writer.name,
        storage_path=str(share.final / Path(writer.storage_path).name),
        storage_key=key,
        recording_id=cut.recording_id,
        channels=cut.channel,
    )
    return result
