"""Reading a corpus from wherever it is: a recipe's script, Lhotse's recipes, Kaldi, a table."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

from neve.data.config import DataConfig
from neve.data.corpus import Audio, Problem, Split, Utterance
from neve.data.kaldi import read_data_directory
from neve.data.manifests import read_manifest, use_libsndfile
from neve.data.table import read_table
from neve.errors import NeveError
from neve.frontend import AUDIO_SUFFIXES

UNLISTED = 100  # files without a transcript that are named one by one, in a folder


def read_corpus(
    config: DataConfig, download: Path, out: Path, nj: int, problems: list[Problem]
) -> dict[str, Split]:
    """{split: corpus} of the splits that `data.train`, `data.dev` and `data.test` name.

    What a recipe's script writes besides manifests (a lexicon, say) is left in `out`.
    """
    wanted = list(dict.fromkeys(config.train + config.dev + config.test))
    if not config.train:
        raise NeveError("data.train names no split: there is nothing to train on")
    both = sorted(set(config.train) & set(config.dev + config.test))
    if both:
        raise NeveError(f"split {both[0]} is in data.train and in data.dev or data.test as well")
    kind, _, recipe = config.source.partition(":")
    if kind == "local" and not recipe:
        corpus = run_script(config, download, out, nj, wanted)
    elif kind == "lhotse" and recipe:
        corpus = run_lhotse_recipe(recipe, config, download, nj)
    elif kind == "kaldi" and not recipe:
        corpus = read_kaldi(config, download, wanted, problems)
    elif kind == "shar" and not recipe:
        corpus = read_shars(config, download, wanted, problems)
    elif kind == "table" and not recipe:
        corpus = read_tables(config, download, wanted)
        note_unlisted(corpus, problems)
    else:
        raise NeveError(
            f"data.source: {config.source!r} is not local, lhotse:<name>, kaldi, table or shar"
        )
    hold_out(corpus, config)
    for split in wanted:
        if split not in corpus or not corpus[split].utterances:
            raise NeveError(
                f"the corpus has no split {split} (it has {', '.join(sorted(corpus)) or 'none'}):"
                " correct data.train, data.dev and data.test, or have it held out of the training"
                " data by data.hold_out_dev or data.hold_out_test"
            )
    return {split: corpus[split] for split in wanted}


def run_script(
    config: DataConfig, download: Path, out: Path, nj: int, wanted: list[str]
) -> dict[str, Split]:
    """Run the recipe's script; read the manifests that it writes."""
    script = Path(config.script)
    if not script.is_file():
        raise NeveError(
            f"{script}: there is no such script; data.source is local, which runs it from the"
            " recipe's directory (see data.script)"
        )
    command = [sys.executable, str(script), "--download", str(download), "--out", str(out)]
    status = subprocess.run([*command, "--nj", str(nj)], check=False).returncode
    if status:
        raise NeveError(f"{script} failed with exit status {status}; its message is above")
    found = sorted(path.name for path in out.glob("supervisions_*.jsonl*"))
    names = [name.removeprefix("supervisions_").partition(".jsonl")[0] for name in found]
    corpus = {}
    for split in dict.fromkeys(names):
        paths = [
            next((p for p in (out / f"{kind}_{split}.jsonl.gz", out / f"{kind}_{split}.jsonl")
                  if p.exists()), out / f"{kind}_{split}.jsonl.gz")
            for kind in ("recordings", "supervisions")
        ]
        corpus[split] = from_manifests(read_manifest(paths[0]), read_manifest(paths[1]), split)
        if split not in wanted:  # so that only what was checked is left
            for path in paths:
                path.unlink()
    return corpus


def run_lhotse_recipe(
    recipe: str, config: DataConfig, download: Path, nj: int
) -> dict[str, Split]:
    """Call lhotse.recipes.prepare_<recipe> on data.dir or the download directory."""
    use_libsndfile()
    recipes = importlib.import_module("lhotse.recipes")
    prepare = getattr(recipes, f"prepare_{recipe}", None)
    if prepare is None:
        known = [name.removeprefix("prepare_") for name in dir(recipes) if name[:8] == "prepare_"]
        raise NeveError(
            f"data.source: Lhotse has no recipe {recipe}; it has {', '.join(sorted(known))}"
        )
    folder = Path(config.dir) if config.dir else download
    if not folder.is_dir():
        raise NeveError(f"{folder}: there is no such directory; Lhotse's recipe {recipe} reads it")
    parameters = list(inspect.signature(prepare).parameters)
    options = dict(config.options)
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise NeveError(
            f"data.options: prepare_{recipe} takes no {unknown[0]}; it takes"
            f" {', '.join(parameters[1:])}"
        )
    if "num_jobs" in parameters:
        options.setdefault("num_jobs", nj)
    try:
        result = prepare(folder, **options)
    except Exception as error:
        raise NeveError(
            f"Lhotse's prepare_{recipe}({folder}) failed: {type(error).__name__}: {error};"
            " does data.dir name the directory that this recipe expects (see Lhotse's"
            " documentation of it)?"
        ) from error
    corpus = {}
    for name, manifests in flatten(result):
        split = name or config.train[0]
        corpus[split] = from_manifests(manifests["recordings"], manifests["supervisions"], split)
    return corpus


def flatten(result: dict, name: str = "") -> list[tuple[str, dict]]:
    """(split, manifests) of the nested dictionaries that Lhotse's recipes return."""
    if "recordings" in result:
        return [(name, result)] if result.get("supervisions") is not None else []
    keys = list(result)
    found = []
    for key in keys:
        if isinstance(result[key], dict):
            inner = f"{name}_{key}" if name else str(key)
            found += flatten(result[key], inner)
    outer = {split.partition("_")[0] for split, _ in found}
    nested = all(isinstance(v, dict) and "recordings" not in v for v in result.values())
    if not name and nested and len(outer) == 1 and len(keys) == 1:  # e.g. a single language
        found = [(split.partition("_")[2], manifests) for split, manifests in found]
    return found


def from_manifests(recordings, supervisions, split: str) -> Split:
    """A split as Lhotse recordings and supervisions describe it."""
    result = Split()
    for recording in recordings:
        if recording.id in result.recordings:
            raise NeveError(f"split {split}: recording {recording.id} is in its manifest twice")
        source = recording.sources[0]
        result.recordings[recording.id] = Audio(
            recording.id, str(source.source), source.type == "command", recording
        )
    for item in supervisions:
        channel = item.channel
        if not isinstance(channel, int):
            channel = channel[0] if channel else None
        result.utterances.append(
            Utterance(
                id=item.id,
                recording=item.recording_id,
                text=item.text or "",
                speaker=item.speaker,
                start=item.start,
                duration=item.duration,
                channel=channel,
                language=item.language,
                gender=item.gender,
                fields=dict(item.custom or {}),
                where=f"supervisions of {split}",
                alignment=item.alignment,
            )
        )
    return result


def read_kaldi(
    config: DataConfig, download: Path, wanted: list[str], problems: list[Problem]
) -> dict[str, Split]:
    """One Kaldi data directory, or one for each split."""
    folder = Path(config.dir) if config.dir else download
    if not folder.is_dir():
        raise NeveError(f"{folder}: there is no such directory; data.dir names Kaldi data")
    if (folder / "wav.scp").exists():
        return {config.train[0]: read_data_directory(folder, config.train[0], problems)}
    found = [split for split in wanted if (folder / split / "wav.scp").exists()]
    if not found:
        raise NeveError(
            f"{folder}: has neither wav.scp nor a directory {wanted[0]} with one: it is no Kaldi"
            " data directory (set data.dir and data.train)"
        )
    return {split: read_data_directory(folder / split, split, problems) for split in found}


def read_shars(
    config: DataConfig, download: Path, wanted: list[str], problems: list[Problem]
) -> dict[str, Split]:
    """One Shar directory for each split."""
    from neve.data.shar import read_shar

    folder = Path(config.dir) if config.dir else download
    found = [split for split in wanted if (folder / split).is_dir()]
    if not found:
        raise NeveError(
            f"{folder}: has no directory {wanted[0]}: data.dir names a directory with one Lhotse"
            " Shar directory for each split of data.train, data.dev and data.test"
        )
    return {split: read_shar(folder / split, split, problems) for split in found}


def read_tables(config: DataConfig, download: Path, wanted: list[str]) -> dict[str, Split]:
    """One table, or one for each split."""
    path = Path(config.dir) if config.dir else download
    if path.is_file():
        return read_table(path, config.train[0])
    corpus = {}
    for split in wanted:
        for suffix in (".csv", ".tsv"):
            if (path / f"{split}{suffix}").is_file():
                corpus.update(read_table(path / f"{split}{suffix}", split))
    if not corpus:
        raise NeveError(
            f"{path}: is neither a table nor a directory with {wanted[0]}.csv or {wanted[0]}.tsv"
            " (set data.dir and data.train)"
        )
    return corpus


def note_unlisted(corpus: dict[str, Split], problems: list[Problem]) -> None:
    """Note the audio files that lie among those of the tables but stand in none of them."""
    listed: dict[Path, set[str]] = {}
    first_split: dict[Path, str] = {}
    for name, split in corpus.items():
        for audio in split.recordings.values():
            path = Path(audio.source)
            listed.setdefault(path.parent, set()).add(path.name)
            first_split.setdefault(path.parent, name)
    for folder, names in listed.items():
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        others = [
            path
            for path in found
            if path.suffix.lower() in AUDIO_SUFFIXES and path.name not in names
        ]
        for number, path in enumerate(others[:UNLISTED], 1):
            detail = f"{path}: stands in no table; it is not used"
            if number == UNLISTED < len(others):
                detail += f", nor are {len(others) - UNLISTED} more files in that folder"
            problems.append(
                Problem(
                    first_split[folder], path.stem, "audio without transcript", detail, "ignored"
                )
            )


def hold_out(corpus: dict[str, Split], config: DataConfig) -> None:
    """Move a share of the first training split to dev and test, where these are not there.

    Whole speakers move if there are at least four, else utterances; which ones follows from their
    names alone.
    """
    for names, share, key in (
        (config.dev, config.hold_out_dev, "data.hold_out_dev"),
        (config.test, config.hold_out_test, "data.hold_out_test"),
    ):
        if not names or not share or names[0] in corpus:
            continue
        if not 0 < share < 1:
            raise NeveError(f"{key} is {share}; it must be above 0 and below 1")
        train = corpus.get(config.train[0])
        if train is None:
            continue
        speakers = {utterance.speaker for utterance in train.utterances}
        whole = len(speakers - {None}) >= 4
        groups: dict[str, list[Utterance]] = {}
        for utterance in train.utterances:
            groups.setdefault((utterance.speaker if whole else None) or utterance.id, []).append(
                utterance
            )
        moved: list[Utterance] = []
        for name in sorted(groups, key=lambda name: hashlib.blake2b(name.encode()).digest()):
            if len(moved) + len(groups[name]) / 2 > share * len(train.utterances) and moved:
                break
            moved += groups[name]
        ids = {id(utterance) for utterance in moved}
        needed = {utterance.recording for utterance in moved}
        corpus[names[0]] = Split(
            {name: audio for name, audio in train.recordings.items() if name in needed},
            [utterance for utterance in train.utterances if id(utterance) in ids],
        )
        stay = [utterance for utterance in train.utterances if id(utterance) not in ids]
        others = {utterance.recording for utterance in stay} | (set(train.recordings) - needed)
        corpus[config.train[0]] = Split(
            {name: audio for name, audio in train.recordings.items() if name in others}, stay
        )
