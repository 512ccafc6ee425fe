"""The training loop: every model of every recipe is trained by `train`.

It knows nothing of speech: a task (see `task.py`) hands it batches and losses. Each epoch begins
with a seed of its own, so a training resumed at an epoch continues as if it had never stopped.
"""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path

import torch
from torch import nn

from neve.errors import ConfigError, NeveError
from neve.files import atomic_open
from neve.tensors import load_checkpoint, pick_device
from neve.training.average import MovingAverage, average_checkpoints, swapped_weights
from neve.training.checkpoint import (
    checkpoint_epochs,
    checkpoint_path,
    prune_checkpoints,
    save_checkpoint,
)
from neve.training.config import TrainingConfig
from neve.training.curves import Curves
from neve.training.schedule import rate_factor
from neve.training.task import BatchLoss, Task

log = logging.getLogger(__name__)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags.exists():
        return False
    words = set(flags.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16"})


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101); vectors are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=tuple(config.betas),
        fused=True,
    )


def train(task: Task, config: TrainingConfig, directory: Path, full_config=None) -> Path:
    """Train `task.model` in `directory`, from where an earlier run stopped if there was one.

    Writes epoch-N.pt with epoch-N.yaml, curves.jsonl, tensorboard/ and in the end averaged.pt and
    summary.json.

    Args:
        task: what is trained.
        config: the `training` section.
        directory: the experiment's directory; it must exist.
        full_config: what is saved beside each checkpoint; default `config`.

    Returns:
        The path of averaged.pt.

    Raises:
        NeveError: a loss is not finite (with the ids of the batch's offending items), the disk is
            full, or a checkpoint is damaged.
    """
    directory = Path(directory)
    if config.keep_checkpoints and config.keep_checkpoints < config.average_last:
        raise ConfigError(
            f"training.keep_checkpoints={config.keep_checkpoints} keeps fewer epochs than "
            f"training.average_last={config.average_last} averages"
        )
    run = Run(task, config, directory, full_config if full_config is not None else config)
    while run.epoch < config.epochs:
        run.train_epoch()
    run.curves.close()
    path = average_checkpoints(directory, min(config.average_last, config.epochs), run.epoch)
    run.write_summary()
    return path


class Run:
    """The state of a training between its epochs."""

    def __init__(self, task: Task, config: TrainingConfig, directory: Path, full_config):
        if config.threads:
            torch.set_num_threads(config.threads)
        self.task, self.config, self.directory = task, config, directory
        self.full_config = full_config
        self.device = pick_device(config.device)
        self.bf16 = config.precision == "bf16" or (
            config.precision == "auto" and has_bf16(self.device)
        )
        self.model = task.model.to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        self.epoch = 0  # epochs finished
        self.step = 0
        self.size = 0.0  # data used, in the task's unit
        self.seconds = 0.0
        self.nonfinite = 0  # batches skipped
        self.resume()
        self.curves = Curves(directory, self.epoch)
        if not self.epoch:
            count = sum(p.numel() for p in self.model.parameters())
            kind = "bf16" if self.bf16 else "fp32"
            log.info("%s parameters, on %s in %s", f"{count:,}", self.device, kind)

    def resume(self) -> None:
        epochs = checkpoint_epochs(self.directory)
        if not epochs:
            return
        path = checkpoint_path(self.directory, epochs[-1])
        saved = load_checkpoint(path, "remove it to resume from the epoch before")
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.average:
                self.average.state = {k: v.to(self.device) for k, v in saved["average"].items()}
                self.average.updates = saved["updates"]
        except (KeyError, AttributeError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise NeveError(
                f"{path}: does not fit the configured model ({reason}); use another tag, or "
                "--force to start anew"
            ) from error
        self.epoch, self.step = saved["epoch"], saved["step"]
        self.size, self.seconds = saved["size"], saved["seconds"]
        self.nonfinite = saved.get("nonfinite", 0)
        log.info("resuming after epoch %d of %d", self.epoch, self.config.epochs)

    def save(self) -> None:
        content = {
            "model": self.model.state_dict(),
            "average": self.average.state if self.average else None,
            "updates": self.average.updates if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "size": self.size,
            "seconds": self.seconds,
            "nonfinite": self.nonfinite,
        }
        save_checkpoint(self.directory, self.epoch, content, self.full_config)
        prune_checkpoints(self.directory, self.config.keep_checkpoints)

    def train_epoch(self) -> None:
        """One pass over the data, a validation where one is due, a checkpoint."""
        config, start = self.config, time.monotonic()
        number = self.epoch + 1
        torch.manual_seed(config.seed * 100003 + number)
        total = config.epochs * self.task.epoch_size
        size_before, told = self.size, start
        loss_sum = loss_size = 0.0
        self.model.train()
        for batch in self.task.train_batches(number):
            rate = config.learning_rate * rate_factor(config, self.size / total)
            loss = self.train_step(batch, rate)
            if loss is None:
                continue
            self.size += loss.size
            loss_sum += float(loss.total.detach()) * loss.size
            loss_size += loss.size
            now = time.monotonic()
            if now - told >= config.log_every:
                told = now
                speed = (self.size - size_before) / (now - start)
                log.info(
                    "epoch %d/%d %3.0f %% step %d | loss %.4f | rate %.2e | %.0f %s/s | %s left",
                    number,
                    config.epochs,
                    min(100.0, 100.0 * (self.size - size_before) / self.task.epoch_size),
                    self.step,
                    loss_sum / loss_size,
                    rate,
                    speed,
                    self.task.unit,
                    clock(max(0.0, total - self.size) / speed),
                )
        if not loss_size:
            raise NeveError(f"epoch {number}: there was no batch to train on")
        self.epoch = number
        self.size = number * self.task.epoch_size  # what filters dropped does not slow the schedule
        train_seconds = time.monotonic() - start
        self.seconds += train_seconds
        figures = {"loss": loss_sum / loss_size, "lr": rate}
        self.curves.add("train", number, self.step, **figures, speed=loss_size / train_seconds)
        line = f"epoch {number}/{config.epochs} done in {clock(train_seconds)}"
        line += f" | loss {figures['loss']:.4f}"
        due = number % config.validate_every == 0 or number == config.epochs
        dev = self.validate() if due else {}
        if dev:
            self.curves.add("dev", number, self.step, **dev)
            line += " | dev " + " ".join(f"{name} {value:.4f}" for name, value in dev.items())
        self.save()
        log.info("%s", line)

    def train_step(self, batch, rate: float) -> BatchLoss | None:
        """One update; None where a batch that is not finite was skipped."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.task.loss(batch)
        if not math.isfinite(float(loss.total.detach())):
            self.not_finite("loss", loss)
            return None
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = gradient_norm(self.model, self.config.clip_norm)
        if not math.isfinite(norm):
            self.not_finite("gradient", loss)
            return None
        self.optimizer.step()
        self.step += 1
        if self.average:
            self.average.update(self.model)
        return loss

    def not_finite(self, what: str, loss: BatchLoss) -> None:
        """Tell which items (and, of gradients, which parameters) are not finite; stop if so set."""
        bad = [name for name, ok in zip(loss.ids, torch.isfinite(loss.items).tolist()) if not ok]
        message = f"step {self.step + 1}: the {what} is not finite. "
        if bad:
            message += f"Utterances whose own loss is not finite: {' '.join(bad)}. "
        else:
            message += f"Every item's loss is finite; the batch was: {' '.join(loss.ids)}. "
        if what == "gradient":
            names = [
                name
                for name, p in self.model.named_parameters()
                if p.grad is not None and not bool(torch.isfinite(p.grad).all())
            ]
            message += f"Parameters with such gradients: {' '.join(names[:8])}. "
        self.nonfinite += 1
        remedy = "Look at these utterances first; else lower training.learning_rate or "
        remedy += "training.clip_norm"
        if self.config.on_nonfinite == "stop":
            raise NeveError(f"{message}{remedy}, or set training.on_nonfinite to skip")
        if self.nonfinite > self.config.max_nonfinite:
            limit = f"training.max_nonfinite={self.config.max_nonfinite} batches"
            raise NeveError(f"{message}More than {limit} were not finite. {remedy}")
        log.warning("%sSkipped (%d so far)", message, self.nonfinite)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        with swapped_weights(self.model, self.average.state if self.average else None):
            self.model.eval()
            figures = self.task.validate()
        self.model.train()
        return figures

    def write_summary(self) -> None:
        """summary.json: what the results table says of this training."""
        summary = {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "epochs": self.epoch,
            "steps": self.step,
            "train_seconds": round(self.seconds, 1),
            **self.task.summary(self.size, max(self.seconds, 1e-9)),
            "device": str(self.device),
            "precision": "bf16" if self.bf16 else "fp32",
            "threads": torch.get_num_threads(),
        }
        with atomic_open(self.directory / "summary.json") as file:
            json.dump(summary, file, indent=1)
            file.write("\n")


def gradient_norm(model: nn.Module, limit: float) -> float:
    """The norm of all gradients before they are scaled down to `limit` (0: left alone).

    A norm that is not finite is nan, and the gradients stay as they are: scaling by it would make
    all of them nan and hide where it began.
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    limit = limit if limit > 0 else math.inf
    try:
        return float(nn.utils.clip_grad_norm_(parameters, limit, error_if_nonfinite=True))
    except RuntimeError as error:
        if "non-finite" not in str(error):
            raise
        return math.nan


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
