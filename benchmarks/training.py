"""Training of a transducer: frames a second and memory, by part, and on several processes.

    python benchmarks/training.py [--config FILE] [--durations 30 60] [--processes 1 2]
        [--repeat N] [--device DEVICE] [--out docs/training-speed.md] [SECTION.KEY=VALUE ...]

The model is that of FILE (conf/zipformer_small.yaml), with random weights, on utterances of noise
of 2 to 14 s with 12 to 18 characters a second, in word pieces. Times are medians of --repeat runs
after one that does not count; on the CPU they are processor seconds of one thread, so that what
else the machine does hardly matters. The parts of an update are computed one by one, forward and
backward; memory is the most that was taken while a part was computed, beyond what was there before
it. With several processes each has a batch of the same size, and time is that of the clock.
"""

import argparse
import ctypes
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from neve.cli.config import Config
from neve.config import load
from neve.data import Loader, compute_features, prepare_manifests
from neve.fsa import do_rnnt_pruning, rnnt_loss_pruned, rnnt_loss_smoothed
from neve.lang import build_lang
from neve.tasks import make_task
from neve.tasks.ctc_targets import ctc_losses
from neve.training import Progress, join_group, launch
from neve.training.average import MovingAverage
from neve.training.memory import peak_memory
from neve.training.precision import pick_precision
from neve.training.update import Updater

ROOT = Path(__file__).resolve().parent.parent
UTTERANCES = 60
RATE = 16000
SETTINGS = {
    "data.source": "table", "data.dev": "[]", "data.test": "[]", "data.check": "header",
    "data.speed_perturb": "[]", "features.storage": "lilcom", "lang.kind": "bpe",
    "lang.vocab_size": "200", "lang.write_pt": "false", "augment.spec_augment": "true",
}  # fmt: skip


def make_corpus(folder: Path) -> float:
    """Utterances of noise and random words, and their table; seconds of audio."""
    generator = np.random.default_rng(0)
    letters = list("ETAOINSRHLDCUM")
    words = ["".join(generator.choice(letters, generator.integers(2, 8))) for _ in range(400)]
    lines, seconds = ["audio,text,speaker"], 0.0
    for number in range(UTTERANCES):
        duration = generator.uniform(2, 14)
        text, size = [], duration * generator.uniform(12, 18)
        while sum(map(len, text)) < size:
            text.append(words[generator.integers(len(words))])
        samples = 0.1 * generator.standard_normal(int(duration * RATE))
        soundfile.write(folder / f"u{number:02d}.flac", samples, RATE)
        lines.append(f"u{number:02d}.flac,{' '.join(text)},s{number % 5}")
        seconds += duration
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return seconds


def prepare(folder: Path, config) -> dict[str, float]:
    """Stages 1 to 3; seconds that the features of the whole corpus take."""
    config.data.dir = str(folder / "table.csv")
    prepare_manifests(config.data, config.text, folder, folder / "manifests", 1)
    begin = time.process_time()
    compute_features(
        config.data, config.features, config.augment, folder / "manifests", folder / "fbank", 1
    )
    took = time.process_time() - begin
    config.data.on_the_fly = True
    compute_features(
        config.data, config.features, config.augment, folder / "manifests", folder / "fly", 1
    )
    (folder / "lang").mkdir()
    build_lang(config.lang, [folder / "manifests/text_train"], None, folder / "lang")
    return took


class Clock:
    """Median seconds and most memory of pieces of work on a device."""

    def __init__(self, device: torch.device, repeat: int, alone: bool = True):
        self.device, self.repeat = device, repeat
        self.now = time.process_time if alone and device.type == "cpu" else time.perf_counter

    def __call__(self, work) -> tuple[float, int]:
        """Of `work()`, which is done once before."""
        work()
        times = []
        base = self.taken()
        with peak_memory(self.device) as peak:
            for _ in range(self.repeat):
                begin = self.now()
                work()
                self.wait()
                times.append(self.now() - begin)
        return statistics.median(times), max(0, peak[0] - base)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def taken(self) -> int:
        """Bytes that are taken now."""
        self.wait()
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        ctypes.CDLL(None).malloc_trim(0)  # else what was freed counts as taken
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_()


def parts(task, updater: Updater, average: MovingAverage, batch: dict, clock: Clock) -> list[tuple]:
    """(name, seconds, bytes) of the parts of an update, and of the whole."""
    model, config = task.model, task.config
    features, lengths, texts = task.inputs(batch)
    targets = [task.tokens(text) for text in texts]
    encoded, frames = updater.compute(lambda _: model.encode(features, lengths), None)
    lattice = updater.compute(lambda _: task.pruned_lattice(encoded, frames, targets), None)
    symbols, boundary, ranges = lattice.symbols, lattice.boundary, lattice.ranges
    encoded = leaf(encoded)
    rows = torch.nn.functional.pad(symbols, (1, 0))

    def forward_encoder(_):
        output, _ = model.encode(features, lengths)
        return [output]

    def forward_joiner(_):
        predicted = model.predictor(rows)
        pair = do_rnnt_pruning(
            model.joiner.project(encoded), model.joiner.project_predictor(predicted), ranges
        )
        logits = model.joiner.join(*pair)
        return [model.simple_am_proj(encoded), model.simple_lm_proj(predicted), logits]

    am, lm, logits = (leaf(x.float()) for x in updater.compute(forward_joiner, None))
    posteriors = None
    if config.ctc_weight:
        posteriors = leaf(updater.compute(lambda _: model.ctc_log_probs(encoded), None).float())
    spoken = [task.ctc_targets.tokens(text) for text in texts]

    def losses():
        simple, _ = rnnt_loss_smoothed(
            lm=lm, am=am, symbols=symbols, termination_symbol=0, boundary=boundary,
            lm_only_scale=config.lm_only_scale, am_only_scale=config.am_only_scale,
            rnnt_type=config.rnnt_type, reduction="none", return_grad=True,
        )  # fmt: skip
        pruned = rnnt_loss_pruned(
            logits=logits, symbols=symbols, ranges=ranges, termination_symbol=0,
            boundary=boundary, rnnt_type=config.rnnt_type, reduction="none",
        )  # fmt: skip
        total = simple.sum() + pruned.sum()
        if posteriors is not None:
            total = total + ctc_losses(posteriors, frames, spoken).sum()
        total.backward()

    def through(forward):
        def work():
            outputs = updater.compute(forward, None)
            torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])

        return work

    def optimizer():
        updater.clip(1e-6)
        updater.optimizer.step()
        average.update(model)

    def update():
        updater.update([batch], 1e-5, 1)
        average.update(model)

    update()  # so that there are gradients and states
    return [
        ("encoder", *clock(through(forward_encoder))),
        ("predictor and joiner", *clock(through(forward_joiner))),
        ("losses", *clock(losses)),
        ("optimizer and average", *clock(optimizer)),
        ("the whole update", *clock(update)),
    ]


def task_of(config, folder: Path):
    """The task with its model on the device, and what updates it."""
    group = join_group(config.training.device)
    task = make_task(config, folder / "fbank", folder / "lang")
    task.model.to(task.device).train()
    task.begin_update(Progress(1, 1000, 0.5, 1000.0))
    precision = pick_precision(config.training.precision, task.device)
    return task, Updater(task, config.training, task.device, precision, group), group, precision


def batches_of(task, count: int) -> list[dict]:
    """Full batches of the first epoch."""
    found = sorted(task.train_batches(1), key=lambda batch: -sum(batch["durations"]))
    return found[:count]


def worker(config, folder: Path, repeat: int, answer: Path) -> None:
    """One of several processes: writes frames a second of all of them."""
    task, updater, group, _ = task_of(config, folder)
    batch = batches_of(task, 1)[0]
    clock = Clock(task.device, repeat, alone=False)
    seconds, _ = clock(lambda: updater.update([batch], 1e-5, 1))
    frames = group.sum(torch.tensor(float(batch["feature_lens"].sum())))
    if group.leader:
        answer.write_text(json.dumps({"seconds": seconds, "frames": float(frames)}))


def scaling(args, config, folder: Path) -> list[tuple[int, int, float, float]]:
    """(processes, threads of each, seconds of an update, frames a second)."""
    cores = len(os.sched_getaffinity(0))
    rows = []
    for processes in args.processes:
        threads = max(1, cores // processes)
        for each in sorted({1, threads}):
            answer = folder / f"speed-{processes}-{each}.json"
            words = ["--worker", str(folder), str(answer), *sys.argv[1:]]
            os.environ["OMP_NUM_THREADS"] = str(each)
            launch([sys.executable, __file__, *words], processes, 0)
            found = json.loads(answer.read_text())
            rows.append((processes, each, found["seconds"], found["frames"] / found["seconds"]))
    return rows


def loading(config, folder: Path) -> list[tuple[str, float]]:
    """(how, processor seconds) that the batches of an epoch take without a model."""
    rows = []
    for name, how in (("fbank", "stored"), ("fly", "on the fly")):
        files = [folder / name / "cuts_train.jsonl.gz"]
        loader = Loader(files, config.data, config.augment, training=True, num_workers=0)
        begin = time.process_time()
        for _ in loader:
            pass
        rows.append((how, time.process_time() - begin))
    return rows


def report(args, config, folder: Path, seconds: float, took: float) -> list[str]:
    """The page."""
    lines = []
    torch.set_num_threads(1)
    task = updater = None
    for duration in args.durations:
        config.data.max_duration = duration
        task, updater, _, precision = task_of(config, folder)
        if not lines:
            lines += heading(args, task, precision)
        average = MovingAverage(task.model, 0.999)
        batch = batches_of(task, 1)[0]
        frames = int(batch["feature_lens"].sum())
        rows = parts(task, updater, average, batch, Clock(task.device, args.repeat))
        lines += [
            "",
            f"A batch of up to {duration:g} s: {len(batch['ids'])} utterances, "
            f"{sum(batch['durations']):.0f} s, {task.describe(batch).rpartition(', ')[2]}.",
            "",
            "| part | s | share | frames/s | memory, MB |",
            "|---|---:|---:|---:|---:|",
        ]
        whole = rows[-1][1]
        lines += [
            f"| {name} | {spent:.3f} | {spent / whole:.0%} | {frames / spent:,.0f} "
            f"| {taken / 1e6:,.0f} |"
            for name, spent, taken in rows
        ]
    lines += loading_lines(config, folder, seconds, took, whole / sum(batch["durations"]))
    if args.processes:
        lines += scaling_lines(scaling(args, config, folder), args.durations[-1])
    return lines


def heading(args, task, precision: str) -> list[str]:
    count = sum(p.numel() for p in task.model.parameters())
    device = "CPU"
    if task.device.type == "cuda":
        device = torch.cuda.get_device_name(task.device)
    else:
        names = Path("/proc/cpuinfo").read_text().splitlines()
        found = [line.partition(": ")[2] for line in names if line.startswith("model name")]
        device = f"{len(os.sched_getaffinity(0))} cores of {found[0] if found else 'a CPU'}"
    return [
        "# Speed of training",
        "",
        "Written by `python benchmarks/training.py"
        + "".join(f" {word}" for word in args.words)
        + "`; see there what is measured.",
        "",
        f"{device}, {precision}, Python {platform.python_version()}, torch {torch.__version__}; "
        f"{Path(args.config).name}: {count:,} parameters, {task.lang.num_tokens} tokens.",
    ]


def loading_lines(config, folder, seconds: float, took: float, step: float) -> list[str]:
    """How long loading takes beside training on the same audio."""
    lines = [
        "",
        "## Loading",
        "",
        f"Of {seconds:.0f} s of audio, in one thread without a model, in batches of up to "
        f"{config.data.max_duration:g} s. Storing the features took {took:.1f} s.",
        "",
        "| features | processor s | share of the time of the updates |",
        "|---|---:|---:|",
    ]
    return lines + [
        f"| {name} | {spent:.2f} | {spent / (step * seconds):.1%} |"
        for name, spent in loading(config, folder)
    ]


def scaling_lines(rows: list[tuple], duration: float) -> list[str]:
    first = rows[0][3]
    return [
        "",
        "## Several processes",
        "",
        f"Each with a batch of up to {duration:g} s; gradients are exchanged, so this is the speed"
        " of training.",
        "",
        "| processes | threads of each | s an update | frames/s | times the first |",
        "|---:|---:|---:|---:|---:|",
        *(
            f"| {processes} | {threads} | {spent:.2f} | {speed:,.0f} | {speed / first:.2f} |"
            for processes, threads, spent, speed in rows
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default=str(ROOT / "conf/zipformer_small.yaml"))
    parser.add_argument("--durations", type=float, nargs="+", default=[30.0, 60.0])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("keys", nargs="*", metavar="SECTION.KEY=VALUE")
    args = parser.parse_args()
    args.words = sys.argv[1:]
    given = [tuple(key.split("=", 1)) for key in args.keys]
    overrides = [*SETTINGS.items(), ("training.device", args.device), *given]
    config = load(Config, [args.config], overrides)
    if args.worker:
        config.data.max_duration = args.durations[-1]
        worker(config, args.worker[0], args.repeat, args.worker[1])
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        seconds = make_corpus(folder)
        took = prepare(folder, config)
        lines = report(args, config, folder, seconds, took)
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
