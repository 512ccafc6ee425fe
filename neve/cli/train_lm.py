"""Train a neural language model on text; resumes where an earlier run stopped."""

from __future__ import annotations

from pathlib import Path

from neve.cli import train as training

SECTIONS = (
    "neural_lm",
    "text",
    "data.train",
    "data.dev",
    "!neural_lm.text",
    "!neural_lm.dev_text",
    *(f"!neural_lm.{key[1:]}" for key in training.SECTIONS if key.startswith("!training.")),
)
USES = ("paths",)
EXTEND = tuple(f"neural_lm.{key}" for key in training.EXTEND if key.startswith("training."))


def add_arguments(parser) -> None:
    """Those of `neve train`."""
    training.add_arguments(parser)


def run(config, args) -> None:
    """Train, or be one of several processes that do."""
    settings = config.neural_lm
    processes = training.choose_device(settings, args)
    lang, out = Path(config.paths.lang), config.paths.neural_lm
    manifests = Path(config.paths.manifests)
    train = [manifests / f"text_{split}" for split in config.data.train]
    train = train if settings.transcripts else []
    dev = [manifests / f"text_{split}" for split in config.data.dev]
    texts = [Path(path) for path in (*settings.text, *settings.dev_text)]
    inputs = [lang, *train, *dev, *texts]
    if settings.training.init:
        inputs.append(("neural_lm.training.init", settings.training.init))

    def task():
        from neve.tasks import LmTask

        return LmTask(settings, lang, train, dev, config.text)

    def work() -> None:
        from neve.tasks import train_lm

        train_lm(settings, out, lang, train, dev, config.text, config)

    training.train_in_stage(
        "train-lm",
        config,
        args,
        processes,
        training=settings.training,
        out=out,
        inputs=inputs,
        sections=SECTIONS,
        extend=EXTEND,
        task=task,
        work=work,
    )
