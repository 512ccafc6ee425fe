"""What the training loop asks of a task, so that the loop itself knows nothing of speech."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass
class BatchLoss:
    """The loss of one batch.

    Attributes:
        total: the scalar to differentiate.
        items: (N,) loss of each item, detached; it tells the item that is not finite.
        ids: what the N items are called.
        size: how much data this was, in the task's unit.
        stats: further figures to log, each already a mean over the batch.
    """

    total: Tensor
    items: Tensor
    ids: list[str]
    size: float
    stats: dict[str, float] = field(default_factory=dict)


class Task(Protocol):
    """A model with its data and its loss."""

    model: nn.Module
    unit: str  # what `size` counts, e.g. "s of audio"
    epoch_size: float  # data in one epoch, in `unit`

    def train_batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch; the same for the same seed and epoch."""

    def loss(self, batch: Any) -> BatchLoss:
        """Forward pass and loss in training mode."""

    def validate(self) -> dict[str, float]:
        """Figures on held-out data with the model as it is; `loss` is one of them.

        Empty where there is no such data.
        """

    def summary(self, size: float, seconds: float) -> dict[str, float]:
        """What summary.json says of a training on `size` data, in `unit`, in `seconds`."""
