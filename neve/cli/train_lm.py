"""Train a neural language model on text; resumes where an earlier run stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from neve.cli.main import open_stage, require_inputs
from neve.cli.train import add_arguments as add_training_arguments
from neve.cli.train import choose_device

SECTIONS = (
    "neural_lm",
    "text",
    "data.train",
    "data.dev",
    "!neural_lm.text",
    "!neural_lm.dev_text",
    *(
        f"!neural_lm.training.{key}"
        for key in (
            "device",
            "threads",
            "log_every",
            "keep_checkpoints",
            "save_minutes",
            "save_batches",
            "restarts",
            "diagnostics",
        )
    ),
)
USES = ("paths",)
EXTEND = ("neural_lm.training.epochs",)


def add_arguments(parser) -> None:
    """Those of `neve train`."""
    add_training_arguments(parser)


def run(config, args) -> None:
    """Train, or be one of several processes that do."""
    settings = config.neural_lm
    processes = choose_device(settings, args)
    lang, out = Path(config.paths.lang), config.paths.neural_lm
    manifests = Path(config.paths.manifests)
    train = [manifests / f"text_{split}" for split in config.data.train]
    train = train if settings.transcripts else []
    dev = [manifests / f"text_{split}" for split in config.data.dev]
    texts = [Path(path) for path in (*settings.text, *settings.dev_text)]
    inputs = [lang, *train, *dev, *texts]

    def work() -> None:
        from neve.tasks.lm import train_lm

        train_lm(settings, out, lang, train, dev, config.text, config)

    several = "WORLD_SIZE" in os.environ and os.environ["WORLD_SIZE"] != "1"
    if args.find_max_duration:
        from neve.tasks.lm import LmTask
        from neve.training import memory_report

        require_inputs(inputs, config)
        task = LmTask(settings, lang, train, dev, config.text)
        print(memory_report(task, settings.training))
        return
    if processes > 1 and not several and not args.dry_run:
        from neve.training import launch

        require_inputs(inputs, config)
        command = [sys.executable, "-m", "neve", "train-lm", *args.words]
        launch(command, processes, settings.training.restarts)
        return
    if several:
        from neve.training import join_group, others_watched

        group = join_group(settings.training.device)
        if not group.leader:  # the first process has the stage, its lock and its log
            with others_watched():
                finished = any(group.gather(False))
            if not finished:
                work()
            return
    with open_stage(
        "train-lm", out, inputs, config, args, SECTIONS, live=True, extend=EXTEND
    ) as stage:
        if several:
            group.gather(stage.finished)
        if not stage.finished:
            work()
