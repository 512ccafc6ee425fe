"""Train the acoustic model; resumes where an earlier run stopped."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage, require

SECTIONS = (
    "model",
    "training",
    "loss",
    "augment",
    "data.train",
    "data.dev",
    "data.speed_per_epoch",
    "data.min_utterance",
    "data.max_utterance",
    "data.max_duration",
    "data.max_cuts",
    "data.duration_jitter",
    "!training.device",
    "!training.threads",
    "!training.log_every",
    "!training.keep_checkpoints",
)
USES = ("tag", "paths", "data", "features")
EXTEND = ("training.epochs",)


def add_arguments(parser) -> None:
    """What the recipes' --ngpu and --num-nodes become."""
    parser.add_argument("--ngpu", type=int, help="0: train on the CPU; 1: on a GPU")
    parser.add_argument("--num-nodes", type=int, default=1, help="machines (%(default)s)")


def run(config, args) -> None:
    """Stage 6."""
    require(
        args.ngpu in (None, 0, 1) and args.num_nodes == 1,
        "training on several GPUs or machines is not there yet: give --ngpu 0 or 1 and "
        "--num-nodes 1",
    )
    if args.ngpu is not None and config.training.device == "auto":
        config.training.device = "cuda" if args.ngpu else "cpu"
    fbank = Path(config.paths.fbank)
    splits = dict.fromkeys([*config.data.train, *config.data.dev])
    cuts = [fbank / f"cuts_{split}.jsonl.gz" for split in splits]
    lang = Path(config.paths.lang)
    inputs = [*cuts, fbank / "frontend.json", lang]
    with open_stage(
        "train", config.paths.exp, inputs, config, args, SECTIONS, live=True, extend=EXTEND
    ) as stage:
        if stage.finished:
            return
        from neve.tasks import train

        train(config, fbank=fbank, lang=lang, out=stage.dir)
