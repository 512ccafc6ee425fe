"""One update of the weights: the gradients of its batches, joined, clipped and applied."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from neve.errors import NeveError
from neve.training.config import TrainingConfig
from neve.training.distributed import Group
from neve.training.optimizer import make_optimizer
from neve.training.precision import DTYPES, LossScale
from neve.training.sharded import is_sharded, local, part_of, shard
from neve.training.task import BatchLoss, Task
from neve.training.trouble import NONFINITE_REMEDY, memory_watched, not_finite

log = logging.getLogger(__name__)


class LossModule(nn.Module):
    """Forward pass and loss as one module, which several processes can wrap."""

    def __init__(self, task: Task):
        super().__init__()
        self.model = task.model
        self.task = task

    def forward(self, batch) -> tuple[torch.Tensor, BatchLoss]:
        loss = self.task.loss(batch)
        return loss.total, loss

    def validate(self) -> dict[str, float]:
        return self.task.validate()


@dataclass
class Update:
    """Figures of an update, over all processes: mean loss, data in the task's unit, the norm of the
    gradient before clipping; `BatchLoss.stats` of this process's batches, weighed."""

    loss: float
    size: float
    norm: float
    stats: dict[str, float] = field(default_factory=dict)


class Updater:
    """Makes updates of `task.model`; holds the optimizer and what else has a state."""

    def __init__(
        self, task: Task, config: TrainingConfig, device: torch.device, precision: str, group: Group
    ):
        self.task, self.config, self.device, self.group = task, config, device, group
        self.dtype = DTYPES[precision]
        self.scale = LossScale(precision)
        self.wish = False  # set before an update: this process wants a checkpoint; ...
        self.wished = False  # ... after it: some process does
        self.unit = 0.0  # losses are weighed in this unit of `BatchLoss.weight`, a power of two
        self.nonfinite = 0  # updates skipped
        self.module = LossModule(task)
        self.sharded = group.size > 1 and config.parallel == "fsdp"
        self.unsynced: list[torch.Tensor] = []  # parameters whose gradients are summed here
        if self.sharded:
            self.unsynced = shard(self.module, device, group)
        elif group.size > 1:
            # Also looks for parameters that a batch does not use (skipped layers), and keeps the
            # order of summation, on which resuming bit for bit depends.
            self.module = DistributedDataParallel(self.module, find_unused_parameters=True)
        self.optimizer = make_optimizer(task.model, config)

    def state_dict(self) -> dict:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scale": self.scale.state_dict(),
            "unit": self.unit,
            "nonfinite": self.nonfinite,
        }

    def load_state_dict(self, state: dict) -> None:
        optimizer = state["optimizer"]
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        states = {
            i: {name: part_of(v, p) if getattr(v, "shape", 0) == p.shape else v
                for name, v in optimizer["state"].get(i, {}).items()}
            for i, p in enumerate(parameters)
        }  # fmt: skip
        self.optimizer.load_state_dict({**optimizer, "state": states})
        self.scale.load_state_dict(state["scale"])
        self.unit, self.nonfinite = state["unit"], state["nonfinite"]

    def update(self, batches: Sequence, rate: float, step: int) -> Update | None:
        """Update on `batches` as if they, and those of the other processes, were one.

        Args:
            batches: those of this process.
            rate: the learning rate.
            step: the update's number, for messages.

        Returns:
            Its figures; None where the gradient is not finite and the update was left out.

        Raises:
            NeveError: it is not finite and must not be left out, or the memory is full.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for place, batch in enumerate(batches, start=1):
            with (
                memory_watched(self.task, batch, self.config, self.device, step),
                self.together(place == len(batches)),
            ):
                losses.append(self.backward(batch))
        weight, loss, size = self.sums(losses)
        factor = self.unit * self.group.size / (weight * self.scale.value)
        norm = self.clip(factor)
        if not math.isfinite(loss) or not math.isfinite(norm):
            if not math.isfinite(loss) or not self.scale.overflow():
                self.leave_out(batches, losses, step)
            return None
        self.optimizer.step()
        self.scale.good()
        return Update(loss / weight, size, norm, mean_stats(losses))

    def together(self, last: bool) -> contextlib.AbstractContextManager:
        """Gradients are exchanged with the other processes after the last batch alone."""
        if self.sharded:
            self.module.set_requires_gradient_sync(last)
        if last or self.group.size == 1 or self.sharded:
            return contextlib.nullcontext()
        return self.module.no_sync()

    def backward(self, batch) -> BatchLoss:
        """Add the gradients of a batch, times its weight; its loss, detached."""
        total, loss = self.compute(self.module, batch)
        if not self.unit:
            weights = self.group.gather(loss.weight)
            self.unit = 2.0 ** round(math.log2(max(sum(weights) / len(weights), 1e-30)))
        (total * (loss.weight / self.unit * self.scale.value)).backward()
        loss.total = total.detach()
        return loss

    def compute(self, function: Callable, batch):
        """`function` of a batch in the arithmetic of the forward pass."""
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype if half else None, enabled=half):
            return function(batch)

    def sums(self, losses: Sequence[BatchLoss]) -> list[float]:
        """Weight, weighted loss and size of the update's batches of all processes."""
        weight, size = sum(loss.weight for loss in losses), sum(loss.size for loss in losses)
        sums = torch.tensor([weight, 0.0, size, self.wish], dtype=torch.float64).to(self.device)
        sums[1] = torch.stack([loss.total.double() * loss.weight for loss in losses]).sum()
        *sums, wishes = self.group.sum(sums).tolist()
        self.wished = wishes > 0
        return sums

    def clip(self, factor: float) -> float:
        """Multiply all gradients by `factor`, then scale them to `clip_norm`; the norm in between.

        Where the norm is not finite they stay as they are, to show where that began.
        """
        for p in self.unsynced:
            if p.grad is not None:
                self.group.sum(p.grad).div_(self.group.size)
        gradients = [p.grad for p in self.task.model.parameters() if p.grad is not None]
        norm = factor * self.norm(gradients)
        gradients = [local(gradient) for gradient in gradients]
        if not math.isfinite(norm):
            return norm
        limit = self.config.clip_norm if self.config.optimizer == "adamw" else 0.0
        if 0.0 < limit < norm:
            factor *= limit / norm
        torch._foreach_mul_(gradients, factor)
        return norm

    def norm(self, gradients: Sequence[torch.Tensor]) -> float:
        """The norm of all gradients together, wherever they are."""
        norms = torch.stack(torch._foreach_norm([local(gradient) for gradient in gradients]))
        if not self.sharded:
            return float(torch.linalg.vector_norm(norms))
        squares = norms.double().square()
        spread = torch.tensor([is_sharded(g) for g in gradients], device=squares.device)
        total = self.group.sum((squares * spread).sum()) + (squares * ~spread).sum()
        return float(total.sqrt())

    def leave_out(self, batches: Sequence, losses: Sequence[BatchLoss], step: int) -> None:
        """Say what is not finite, on whichever process; stop if so set."""
        # Where parameters are spread, a process cannot compute again without the others.
        compute = None if self.sharded else functools.partial(self.compute, self.task.loss)
        found = self.group.gather(not_finite(self.task, compute, batches, losses))
        some_loss = any(bad_loss for bad_loss, _ in found)
        messages = [
            (f"process {rank}: " if len(found) > 1 else "") + message
            for rank, (bad_loss, message) in enumerate(found)
            if bad_loss or not some_loss
        ]
        message = f"step {step}: " + "".join(messages)
        self.nonfinite += 1
        if self.config.on_nonfinite == "stop":
            raise NeveError(f"{message}{NONFINITE_REMEDY}, or set training.on_nonfinite to skip")
        if self.nonfinite > self.config.max_nonfinite:
            limit = f"training.max_nonfinite={self.config.max_nonfinite} batches"
            raise NeveError(f"{message}More than {limit} were not finite. {NONFINITE_REMEDY}")
        if self.group.leader:
            log.warning("%sSkipped (%d so far)", message, self.nonfinite)


def mean_stats(losses: Sequence[BatchLoss]) -> dict[str, float]:
    """The further figures of batches, each weighed as its loss is."""
    weight = max(sum(loss.weight for loss in losses), 1e-30)
    names = dict.fromkeys(name for loss in losses for name in loss.stats)
    return {
        name: sum(loss.weight * loss.stats.get(name, 0.0) for loss in losses) / weight
        for name in names
    }
