"""The training loop: every model of every recipe is trained by `train`.

It knows nothing of speech: a task (see `task.py`) hands it batches and losses. Each epoch begins
with a seed of its own, and a checkpoint within an epoch holds the states of all generators, so a
training that is resumed continues as if it had never stopped.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from neve.errors import NeveError
from neve.files import atomic_open
from neve.progress import StatusLine
from neve.tensors import pick_device
from neve.training.average import MovingAverage, average_checkpoints, swapped_weights
from neve.training.checkpoint import (
    MIDDLE,
    has_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    save_file,
)
from neve.training.config import TrainingConfig, check_training
from neve.training.curves import Curves
from neve.training.diagnostics import Diagnostics
from neve.training.distributed import join_group, others_watched
from neve.training.initial import load_initial
from neve.training.precision import pick_precision
from neve.training.random_state import random_state, seed_all, set_random_state
from neve.training.schedule import batch_factor, rate_factor
from neve.training.sharded import part_of, whole
from neve.training.task import Progress, Task
from neve.training.update import Updater

log = logging.getLogger(__name__)


def train(task: Task, config: TrainingConfig, directory: Path, full_config=None) -> Path:
    """Train `task.model` in `directory`, from where an earlier run stopped if there was one.

    Writes epoch-N.pt with epoch-N.yaml, resume.pt within epochs, curves.jsonl, tensorboard/ and in
    the end averaged.pt and summary.json. With several processes the first one writes.

    Args:
        task: what is trained.
        config: the `training` section.
        directory: the experiment's directory; it must exist.
        full_config: what is saved beside each checkpoint; default `config`.

    Returns:
        The path of averaged.pt.

    Raises:
        NeveError: a loss is not finite (with the ids of the batch's offending items), the disk or
            the memory is full, another process was lost, or a checkpoint is damaged.
    """
    directory = Path(directory)
    check_training(config)
    with others_watched():
        run = Run(task, config, directory, full_config if full_config is not None else config)
        while run.epoch < config.epochs:
            run.train_epoch()
        return run.finish()


@dataclass
class Position:
    """Where an epoch under way is.

    Attributes:
        batches: those used, of all processes.
        loss, size: sum of the losses times their data, and of the data.
        seconds: time spent on it.
        rate: the last learning rate.
        stats: sums of further figures times their data.
    """

    batches: int = 0
    loss: float = 0.0
    size: float = 0.0
    seconds: float = 0.0
    rate: float = 0.0
    stats: dict[str, float] = field(default_factory=dict)


class Run:
    """The state of a training between two updates."""

    def __init__(self, task: Task, config: TrainingConfig, directory: Path, full_config):
        if config.threads:
            torch.set_num_threads(config.threads)
        self.task, self.config, self.directory = task, config, directory
        self.full_config = full_config
        self.group = join_group(config.device)
        self.device = pick_device(config.device)
        self.precision = pick_precision(config.precision, self.device)
        self.model = task.model.to(self.device)
        if not has_checkpoint(directory):
            load_initial(self.model, config)
        if config.compile:
            for part in task.parts_to_compile():
                part.compile(dynamic=True)
        self.updater = Updater(task, config, self.device, self.precision, self.group)
        self.average = None
        if config.ema_decay and (self.group.leader or self.updater.sharded):
            self.average = MovingAverage(self.model, config.ema_decay)
        self.epoch = 0  # epochs finished
        self.step = 0
        self.size = 0.0  # data used, in the task's unit
        self.seconds = 0.0
        self.norm = 0.0  # of the last gradient
        self.position = Position()
        self.random_states: list[dict] = []  # to go on with, within an epoch
        self.resume()
        self.curves = Curves(directory, self.epoch, self.step) if self.group.leader else None
        self.diagnostics = Diagnostics(self.model, config.diagnostics, directory, self.group)
        self.peak_rate = config.learning_rate * self.batch_factor()

    def batch_factor(self) -> float:
        """See `schedule.batch_factor`; said in the log unless it is 1."""
        config, unit = self.config, self.task.unit
        batches = self.group.size * config.accumulate
        batch = self.task.batch_size or 1.0
        reference = config.reference_batch if self.task.batch_size else 0.0
        self.reference = reference or batch
        factor = batch_factor(config, batches * batch, self.reference)
        if self.group.leader and factor != 1.0:
            log.info(
                "an update is on up to %g %s (%d processes x %g x %d accumulated), %.3g times the "
                "reference of %g: learning rate %.3g instead of %.3g (training.rate_scaling=%s)",
                batches * batch,
                unit if self.task.batch_size else "batches",
                self.group.size,
                batch,
                config.accumulate,
                batches * batch / self.reference,
                self.reference,
                factor * config.learning_rate,
                config.learning_rate,
                config.rate_scaling,
            )
        return factor

    # -- checkpoints ---------------------------------------------------------------------------

    def resume(self) -> None:
        found = newest_checkpoint(self.directory)
        if found is None:
            if self.group.leader:
                count = sum(p.numel() for p in self.model.parameters())
                where = f"{self.group.size} processes" if self.group.size > 1 else "one process"
                kind = self.precision
                log.info("%s parameters, %s on %s in %s", f"{count:,}", where, self.device, kind)
            return
        path, saved = found
        try:
            own = self.model.state_dict()
            known = {k: part_of(v, own.get(k)) for k, v in saved["model"].items()}
            self.model.load_state_dict(known)
            self.updater.load_state_dict(saved["updater"])
            if self.average:
                self.average.state = {
                    k: part_of(v.to(self.device), own[k]) for k, v in saved["average"].items()
                }
                self.average.updates = saved["updates"]
            self.position = Position(**saved["position"])
            self.random_states = saved["random"]
        except (KeyError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise NeveError(
                f"{path}: does not fit the configured model and optimizer ({reason}); use another "
                "tag, or --force to start anew"
            ) from error
        self.epoch, self.step = saved["epoch"], saved["step"]
        self.size, self.seconds = saved["size"], saved["seconds"]
        if self.group.leader:
            within = f", {self.position.batches} batches into the next" * bool(self.random_states)
            log.info("resuming after epoch %d of %d%s", self.epoch, self.config.epochs, within)
            if self.random_states and len(self.random_states) != self.group.size:
                log.info(
                    "it was on %d processes and is on %d now: this epoch's random numbers differ",
                    len(self.random_states),
                    self.group.size,
                )

    def content(self) -> dict:
        """What a checkpoint holds; every process has to come here where parameters are spread."""
        content = {
            "model": self.model.state_dict(),
            "average": self.average.state if self.average else None,
            "updates": self.average.updates if self.average else 0,
            "updater": self.updater.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "size": self.size,
            "seconds": self.seconds,
            "position": asdict(self.position),
            "random": self.random_states,
        }
        return whole(content, keep=self.group.leader) if self.updater.sharded else content

    def save_middle(self) -> None:
        """A checkpoint within an epoch; every process has to come here."""
        self.random_states = self.group.gather(random_state())
        if self.group.leader or self.updater.sharded:
            content = self.content()
        if self.group.leader:
            save_file(content, self.directory / MIDDLE)
        self.random_states = []

    def save_epoch(self, content: dict) -> None:
        save_checkpoint(self.directory, self.epoch, content, self.full_config)
        prune_checkpoints(self.directory, self.config.keep_checkpoints)

    # -- an epoch ------------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """One pass over the data, a validation where one is due, a checkpoint."""
        number = self.epoch + 1
        self.begin_epoch(number)
        start, already = time.monotonic(), self.position.seconds
        size_before = self.size
        saved = start
        line = StatusLine(self.config.log_every, log.info)
        groups = grouped(
            self.task.train_batches(number, self.position.batches), self.config.accumulate
        )
        for batches in groups:
            self.updater.wish = self.wants_checkpoint(saved, len(batches))
            self.train_step(batches, number)
            now = time.monotonic()
            self.position.seconds = already + now - start
            if self.updater.wished:
                self.save_middle()
                saved = now
            if self.group.leader and line.due() and self.position.size:
                line.show(self.line(number, (self.size - size_before) / (now - start)))
        line.end()
        if not self.position.size:
            raise NeveError(f"epoch {number}: there was no batch to train on")
        self.end_epoch(number)

    def begin_epoch(self, number: int) -> None:
        """Seed the generators, or set them to where they were within the epoch."""
        seed_all(self.config.seed * 100003 + number, self.group.rank)
        if len(self.random_states) == self.group.size:
            set_random_state(self.random_states[self.group.rank])
        self.random_states = []
        self.model.train()

    def wants_checkpoint(self, saved: float, count: int) -> bool:
        """Whether one is due after the next update, the last one having been made at `saved`."""
        config = self.config
        if config.save_minutes and time.monotonic() - saved >= 60.0 * config.save_minutes:
            return self.group.leader
        every, done = config.save_batches, self.position.batches // self.group.size
        return bool(every) and (done + count) // every > done // every

    def train_step(self, batches: list, number: int) -> None:
        """One update and what follows from it."""
        total = self.config.epochs * self.task.epoch_size
        if self.task.batch_size:
            used = self.size / self.reference
        else:
            used = float(self.step * self.config.accumulate * self.group.size)
        progress = Progress(number, self.step, self.size / total, used)
        self.position.rate = self.peak_rate * rate_factor(self.config, progress)
        self.task.begin_update(progress)
        with self.diagnostics.watch(self.step + 1):
            update = self.updater.update(batches, self.position.rate, self.step + 1)
        self.position.batches += len(batches) * self.group.size
        if update is None:
            return
        self.step += 1
        if self.average:
            self.average.update(self.model)
        self.size += update.size
        self.position.loss += update.loss * update.size
        self.position.size += update.size
        for name, value in update.stats.items():
            before = self.position.stats.get(name, 0.0)
            self.position.stats[name] = before + value * update.size
        self.norm = update.norm

    def line(self, number: int, speed: float) -> str:
        """Where the epoch is, for the terminal; noted for TensorBoard too."""
        position, config = self.position, self.config
        total = config.epochs * self.task.epoch_size
        loss = position.loss / position.size
        self.curves.show(
            "train_within", self.step, loss=loss, lr=position.rate, norm=self.norm, speed=speed
        )
        return (
            f"epoch {number}/{config.epochs} "
            f"{min(100.0, 100.0 * position.size / self.task.epoch_size):3.0f} % step {self.step} "
            f"| loss {loss:.4f} | rate {position.rate:.2e} | {speed:.0f} {self.task.unit}/s "
            f"| {clock(max(0.0, total - self.size) / max(speed, 1e-9))} left"
        )

    def end_epoch(self, number: int) -> None:
        """Curves, validation, checkpoint."""
        config, position = self.config, self.position
        self.epoch = number
        self.size = number * self.task.epoch_size  # what filters dropped does not slow the schedule
        self.seconds += position.seconds
        self.position = Position()
        due = number % config.validate_every == 0 or number == config.epochs
        if self.group.leader or self.updater.sharded:
            dev = self.validate() if due else {}
            content = self.content()
        if self.group.leader:
            figures = {"loss": position.loss / position.size, "lr": position.rate}
            figures.update({name: x / position.size for name, x in position.stats.items()})
            speed = position.size / position.seconds
            self.curves.add("train", number, self.step, **figures, speed=speed)
            line = f"epoch {number}/{config.epochs} done in {clock(position.seconds)}"
            line += f" | loss {figures['loss']:.4f}"
            if dev:
                self.curves.add("dev", number, self.step, **dev)
                line += " | dev " + " ".join(f"{name} {value:.4f}" for name, value in dev.items())
            self.save_epoch(content)
            log.info("%s", line)
        self.group.wait()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        with swapped_weights(self.model, self.average.state if self.average else None):
            self.model.eval()
            if self.updater.sharded:  # all processes compute the same, together
                figures = self.updater.module.validate()
                self.updater.module.reshard()
            else:
                figures = self.task.validate()
        self.model.train()
        return figures

    # -- the end -------------------------------------------------------------------------------

    def finish(self) -> Path:
        """Average the last epochs, write the summary; the path of averaged.pt."""
        path = self.directory / "averaged.pt"
        if self.group.leader:
            self.curves.close()
            last = min(self.config.average_last, self.config.epochs)
            average_checkpoints(self.directory, last, self.epoch)
            self.write_summary()
        self.group.wait()
        return path

    def write_summary(self) -> None:
        """summary.json: what the results table says of this training."""
        summary = {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "epochs": self.epoch,
            "steps": self.step,
            "train_seconds": round(self.seconds, 1),
            **self.task.summary(self.size, max(self.seconds, 1e-9)),
            "device": str(self.device),
            "processes": self.group.size,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
        }
        with atomic_open(self.directory / "summary.json") as file:
            json.dump(summary, file, indent=1)
            file.write("\n")


def grouped(batches: Iterable, count: int) -> Iterator[list]:
    """Lists of `count` batches; the last may be shorter."""
    batches = iter(batches)
    while group := list(itertools.islice(batches, count)):
        yield group


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
