"""Train the acoustic model; resumes where an earlier run stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from neve.cli.main import open_stage, require, require_inputs
from neve.errors import ConfigError

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
    "!training.save_minutes",
    "!training.save_batches",
    "!training.restarts",
    "!training.parallel",
    "!training.diagnostics",
)
USES = ("tag", "paths", "data", "features")
EXTEND = (  # what may be changed before a training goes on: also what messages say to change
    "training.epochs",
    "training.learning_rate",
    "training.clip_norm",
    "training.clip_scale",
    "training.accumulate",
    "training.precision",
    "training.on_nonfinite",
    "training.max_nonfinite",
    "data.max_duration",
    "data.max_cuts",
    "data.min_utterance",
    "data.max_utterance",
    "loss.too_long",
)


def add_arguments(parser) -> None:
    """On how many devices, and what to do instead of training."""
    add = parser.add_argument
    add("--ngpu", type=int, help="0: train on the CPU; N: on so many GPUs of this machine")
    add("--nproc", type=int, help="processes on this machine (default: one for each GPU)")
    add("--num-nodes", type=int, default=1, help="machines (%(default)s); see docs/training.md")
    add(
        "--find-max-duration",
        action="store_true",
        help="do not train: measure the largest batch that fits, and what takes the memory",
    )


def run(config, args) -> None:
    """Stage 6, or one process of it."""
    processes = choose_device(config, args)
    fbank, lang = Path(config.paths.fbank), Path(config.paths.lang)
    ctc_lang = Path(config.paths.ctc_lang)
    splits = dict.fromkeys([*config.data.train, *config.data.dev])
    cuts = [fbank / f"cuts_{split}.jsonl.gz" for split in splits]
    inputs = [*cuts, fbank / "frontend.json", *dict.fromkeys((lang, ctc_lang))]
    if config.training.init:
        inputs.append(("training.init", config.training.init))
    if config.loss.teacher:
        for name in ("model.pt", "model.yaml"):
            inputs.append((f"loss.teacher/{name}", Path(config.loss.teacher) / name))

    def task():
        from neve.tasks import make_task

        return make_task(config, fbank, lang, ctc_lang)

    train_in_stage(
        "train",
        config,
        args,
        processes,
        training=config.training,
        out=config.paths.exp,
        inputs=inputs,
        sections=SECTIONS,
        extend=EXTEND,
        task=task,
        work=lambda: train_model(config, fbank),
    )


def train_in_stage(
    verb: str,
    config,
    args,
    processes: int,
    *,
    training,
    out,
    inputs: Sequence,
    sections: Sequence[str],
    extend: Sequence[str],
    task: Callable,
    work: Callable[[], object],
) -> None:
    """A training as a live stage: start its processes, or be one of them.

    Args:
        verb: the verb and the stage's name.
        processes: how many there shall be on this machine.
        training: the section that says how it is trained.
        task: makes the task, for `--find-max-duration`.
        work: trains, in each process.
    """
    several = "WORLD_SIZE" in os.environ and os.environ["WORLD_SIZE"] != "1"
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        args.force = False  # torchrun starts anew after a loss: what was done since is to be kept
    if args.find_max_duration:
        from neve.training import memory_report

        require_inputs(inputs, config)
        print(memory_report(task(), training))
        return
    if processes > 1 and not several and not args.dry_run:
        from neve.training import launch

        require_inputs(inputs, config)
        command = [sys.executable, "-m", "neve", verb, *args.words]
        launch(command, processes, training.restarts)
        return
    if several:
        from neve.training import join_group, others_watched

        group = join_group(training.device)
        if not group.leader:  # the first process has the stage, its lock and its log
            with others_watched():
                finished = any(group.gather(False))
            if not finished:
                work()
            return
    with open_stage(verb, out, inputs, config, args, sections, live=True, extend=extend) as stage:
        if several:
            group.gather(stage.finished)
        if not stage.finished:
            work()


def train_model(config, fbank: Path) -> None:
    """Train into the experiment's directory."""
    from neve.tasks import train

    paths = config.paths
    train(
        config,
        fbank=fbank,
        lang=Path(paths.lang),
        ctc_lang=Path(paths.ctc_lang),
        out=Path(paths.exp),
    )


def choose_device(config, args) -> int:
    """What --ngpu and --nproc make of the configuration; the number of processes here."""
    require(
        args.num_nodes == 1,
        "to train on several machines, start on each of them: torchrun --nnodes N "
        "--nproc-per-node GPUS --rdzv-backend c10d --rdzv-endpoint FIRST:29500 -m neve train ...",
    )
    for name in ("ngpu", "nproc"):
        value = getattr(args, name)
        if value is not None and value < (name == "nproc"):
            raise ConfigError(f"--{name} {value}: there cannot be so few")
    if args.ngpu == 0:
        config.training.device = "cpu"
    elif args.ngpu and not config.training.device.startswith("cuda"):
        config.training.device = "cuda"
    return args.nproc or args.ngpu or 1
