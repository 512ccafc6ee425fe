"""The learning rate as a function of how much of the training is done, and of the batch's size."""

from __future__ import annotations

import math

from neve.training.config import TrainingConfig
from neve.training.task import Progress


def rate_factor(config: TrainingConfig, progress: Progress) -> float:
    """The learning rate as a share of its peak.

    Schedules count data instead of steps, so they stay the same when the batch size changes.
    """
    if config.schedule == "eden":
        return eden(config, progress.batches, progress.epoch - 1)
    done = min(max(progress.share, 0.0), 1.0)
    if done < config.warmup:
        return done / config.warmup
    rest = (done - config.warmup) / max(1.0 - config.warmup, 1e-9)
    if config.schedule == "cosine":
        shape = 0.5 * (1.0 + math.cos(math.pi * rest))
    elif config.schedule == "linear":
        shape = 1.0 - rest
    else:
        shape = 1.0
    return config.final_rate + (1.0 - config.final_rate) * shape


def eden(config: TrainingConfig, batches: float, epochs: int) -> float:
    """Eden (Yao et al., 2023, arXiv:2310.11230, section 3.5) after so many batches and epochs.

    It falls as the square root of both, batches and epochs, once they are past `eden_batches` and
    `eden_epochs`, and depends neither on the number of epochs nor on the size of the corpus.
    """
    factor = ((batches / config.eden_batches) ** 2 + 1.0) ** -0.25
    factor *= ((epochs / config.eden_epochs) ** 2 + 1.0) ** -0.25
    if batches < config.eden_warmup:
        start = config.eden_start
        factor *= start + (1.0 - start) * batches / config.eden_warmup
    return factor


def batch_factor(config: TrainingConfig, total: float, reference: float) -> float:
    """By how much the learning rate is changed for updates on `total` data instead of `reference`.

    `sqrt` is the rule for optimizers that divide by the root of a second moment, as all here do
    (Malladi et al., 2022, arXiv:2205.10287); `linear` that of plain gradient descent.
    """
    if config.rate_scaling == "none" or reference <= 0 or total <= 0:
        return 1.0
    share = total / reference
    return share if config.rate_scaling == "linear" else math.sqrt(share)
