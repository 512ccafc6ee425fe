"""Write and check the manifests of a corpus, with a report on it."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = (
    "data",
    "text",
    "!data.dir",
    "!data.script",
    "!data.speed_perturb",
    "!data.speed_per_epoch",
    "!data.max_duration",
    "!data.max_cuts",
    "!data.duration_jitter",
    "!data.num_workers",
    "!data.prefetch",
    "!data.cache",
)
USES = ("paths",)


def run(config, args) -> None:
    """Stage 1."""
    data, download = config.data, Path(config.paths.download)
    if data.source == "local":
        if not args.dry_run:
            download.mkdir(parents=True, exist_ok=True)  # a synthetic corpus needs no stage 0
        inputs = [Path(data.script).parent, download]
    else:
        inputs = [Path(data.dir) if data.dir else download]
    with open_stage(
        "prepare", config.paths.manifests, inputs, config, args, SECTIONS, settle=True
    ) as stage:
        if stage.finished:
            return
        from neve.data import prepare_manifests

        prepare_manifests(data, config.text, download, stage.dir, args.nj)
