"""Writing a model directory that stands alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang.lines import read_lines

FORMAT = 1
PHRASES = "phrases.txt"


def pack(
    out: str | os.PathLike,
    *,
    weights: str | os.PathLike,
    frontend: str | os.PathLike,
    lang: str | os.PathLike,
    graph: str | os.PathLike | None,
    ctc_lang: str | os.PathLike | None = None,
    scales: str | os.PathLike | None,
    scores: str | os.PathLike | None,
    settings: Mapping[str, object],
    name: str,
) -> None:
    """Fill the existing directory `out`:

    model.pt       the weights without optimizer and without heads that only training uses
    model.yaml     `settings` (sections model, features, decoding) and the decoding scales
    frontend.json  how features are computed and normalised
    lang/, graph/  copies; graph/ only where decoding searches one
    ctc_lang/      a copy, where a transducer's CTC head has other tokens than the transducer
    phrases.txt    a copy of the list decoding.phrases, if `settings` name one
    scores/        wer-summary-* of the directory `scores`, if given
    README.md      what it is and how it is used

    weights: averaged.pt; frontend: frontend.json; scales: scales.json that decoding wrote, or None
    for the usual ones; graph: the directory of one graph's arrays, or None; ctc_lang: None if it is
    `lang`.

    Raises NeveError naming a file that is missing or not what it should be.
    """
    out = Path(out)
    _copy_weights(Path(weights), out / "model.pt")
    shutil.copyfile(frontend, out / "frontend.json")
    _copy_files(Path(lang), out / "lang")
    if ctc_lang is not None:
        _copy_files(Path(ctc_lang), out / "ctc_lang")
    if graph is not None:
        _copy_files(Path(graph), out / "graph")
    found = _read_json(Path(scales)) if scales is not None else {}
    chosen = {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
    decoding = dict(settings["decoding"])
    if decoding.get("phrases"):
        _copy_text(Path(decoding["phrases"]), out / PHRASES)
        settings = {**settings, "decoding": {**decoding, "phrases": ""}}
    with atomic_open(out / "model.yaml") as stream:
        content = {"format": FORMAT, "name": name, **chosen, **settings}
        yaml.safe_dump(content, stream, sort_keys=False, allow_unicode=True)
    summaries = []
    if scores is not None:
        summaries = sorted(Path(scores).glob("wer-summary-*"))
        (out / "scores").mkdir()
        for path in summaries:
            shutil.copyfile(path, out / "scores" / path.name)
    with atomic_open(out / "README.md") as stream:
        stream.write(_readme(name, [path for path in summaries if path.suffix == ".txt"]))


def _copy_weights(source: Path, target: Path) -> None:
    import torch

    from neve.models.load import needed

    try:
        saved = torch.load(source, map_location="cpu", weights_only=True)
        state = saved["model"]
    except FileNotFoundError:
        raise NeveError(f"{source}: there are no such weights; train first (stage 6)") from None
    except Exception as error:
        raise NeveError(f"{source}: is not a file of weights ({error}); train again") from error
    with atomic_open(target, "wb") as stream:
        torch.save({"model": needed(state)}, stream)


def _copy_files(source: Path, target: Path) -> None:
    """Copy a directory without hidden files, logs and the configuration that made it."""
    if not source.is_dir():
        raise NeveError(f"{source}: there is no such directory; run the stage that makes it")
    ignore = shutil.ignore_patterns(".*", "*.log", "log", "config.yaml")
    shutil.copytree(source, target, ignore=ignore)


def _copy_text(source: Path, target: Path) -> None:
    """Copy a list of lines, without compression."""
    with atomic_open(target) as stream:
        stream.writelines(f"{line}\n" for _, line in read_lines(source, "list of phrases"))


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeveError(f"{path}: there is no such file; decode first (stage 7)") from None
    except ValueError as error:
        raise NeveError(f"{path}: is damaged ({error}); decode again (stage 7)") from error


def _readme(name: str, summaries: list[Path]) -> str:
    lines = [
        f"# {name}",
        "",
        "A speech recognition model made by neve. It needs nothing beside this directory:",
        "",
        "    neve transcribe recording.wav --model THIS_DIRECTORY",
        "",
        "`config.yaml` is the configuration of the experiment that it comes from.",
    ]
    if summaries:
        lines += ["", "## Scores"]
    for path in summaries:
        head = path.read_text(encoding="utf-8").split("\n\n")[0].strip()
        lines += ["", *(f"    {line}" for line in head.splitlines())]
    return "\n".join(lines) + "\n"
