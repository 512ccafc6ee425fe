"""What the training loop asks of a task, so that the loop itself knows nothing of speech."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from neve.errors import NeveError


@dataclass
class BatchLoss:
    """The loss of one batch.

    Attributes:
        total: the scalar to differentiate.
        items: (N,) loss of each item, detached; it tells the item that is not finite.
        ids: what the N items are called.
        size: how much data this was, in the task's unit.
        stats: further figures to log, each already a mean over the batch.
        weight: what `total` was divided by (tokens, frames, utterances): batches that make one
            update together, on one process or several, are joined in this proportion, as if they
            were one batch. N if not given.
    """

    total: Tensor
    items: Tensor
    ids: list[str]
    size: float
    stats: dict[str, float] = field(default_factory=dict)
    weight: float | None = None

    def __post_init__(self):
        if self.weight is None:
            self.weight = float(len(self.ids))


@dataclass(frozen=True)
class Progress:
    """How far a training is, for schedules of learning rates, losses or modules.

    Attributes:
        epoch: the epoch under way, from 1.
        step: updates done.
        share: share of the whole training that is done, 0 to 1.
        batches: data used, as a number of batches of `training.reference_batch`.
    """

    epoch: int
    step: int
    share: float
    batches: float


class Task:
    """A model with its data and its loss; what has a body here need not be defined.

    Attributes:
        model: what is trained.
        unit: what `size` counts, e.g. "s of audio".
        epoch_size: data in one epoch (of all processes), in `unit`.
        batch_size: the most data in a batch of one process, in `unit`; 0 if unknown.
        item: what one of the things in a batch is called in messages.
    """

    model: nn.Module
    unit: str
    epoch_size: float
    batch_size: float = 0.0
    item: str = "item"

    def train_batches(self, epoch: int, skip: int = 0) -> Iterable[Any]:
        """This process's batches of an epoch: the same for the same seed, epoch and number of
        processes, and equally many for each process.

        `skip` batches, counted over all processes, were used before; they do not come again.
        What is drawn at random must not come from torch's, numpy's or Python's global generator,
        because batches are loaded ahead of their use.
        """
        raise NotImplementedError

    def loss(self, batch: Any) -> BatchLoss:
        """Forward pass and loss in training mode."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Figures on held-out data with the model as it is; `loss` is one of them.

        Empty where there is no such data. With several processes only the first is asked.
        """
        return {}

    def summary(self, size: float, seconds: float) -> dict[str, float]:
        """What summary.json says of a training on `size` data, in `unit`, in `seconds`."""
        return {}

    def begin_update(self, progress: Progress) -> None:
        """Called before the batches of an update: the place for what changes while training.

        What is set here must follow from `progress` alone, so that resuming finds it again.
        """

    def describe(self, batch: Any) -> str:
        """The size of a batch in words, for messages about memory."""
        return ""

    def memory_knobs(self) -> Sequence[str]:
        """Configuration keys that make a batch need less memory, each with its effect."""
        return ()

    def largest_batch(self, size: float) -> Any:
        """The batch of at most `size` data that needs most memory (`--find-max-duration`)."""
        raise NeveError("this task cannot make a batch of a given size")

    def begin_measuring(self) -> None:
        """Called before memory is measured: what is left to chance in training then always takes
        the course that needs most memory."""

    def parts_to_compile(self) -> Sequence[nn.Module]:
        """The modules whose `forward` `training.compile` compiles."""
        return (self.model,)
