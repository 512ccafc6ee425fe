"""The learning rate as a function of how much of the training is done."""

from __future__ import annotations

import math

from neve.errors import ConfigError
from neve.training.config import TrainingConfig


def rate_factor(config: TrainingConfig, done: float) -> float:
    """The learning rate as a share of its peak when a share `done` (0..1) of the data is used.

    Counting data instead of steps keeps the schedule the same when the batch size changes.
    """
    done = min(max(done, 0.0), 1.0)
    if done < config.warmup:
        return done / config.warmup
    rest = (done - config.warmup) / max(1.0 - config.warmup, 1e-9)
    if config.schedule == "cosine":
        shape = 0.5 * (1.0 + math.cos(math.pi * rest))
    elif config.schedule == "linear":
        shape = 1.0 - rest
    elif config.schedule == "constant":
        shape = 1.0
    else:
        raise ConfigError(
            f"training.schedule={config.schedule} is unknown; there are cosine, linear, constant"
        )
    return config.final_rate + (1.0 - config.final_rate) * shape
