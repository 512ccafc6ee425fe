"""Weights to begin with: those of another training."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from neve.errors import ConfigError, NeveError, named
from neve.tensors import load_checkpoint
from neve.training.config import TrainingConfig
from neve.training.distributed import this_group

log = logging.getLogger(__name__)


def check_initial(config: TrainingConfig) -> None:
    """ConfigError for `training.init_partial` without weights that could be taken in part."""
    if config.init_partial and not config.init:
        raise ConfigError("training.init_partial is set, but training.init names no weights")


def load_initial(model: nn.Module, config: TrainingConfig) -> None:
    """Give the model the weights of `training.init`, if there is one; optimizers begin anew.

    Raises:
        NeveError: the file is missing or damaged, or, unless training.init_partial is set, its
            weights are not those of the model; the message names them.
    """
    if not config.init:
        return
    path = Path(config.init)
    saved = load_checkpoint(path)
    given, own = saved.get("average") or saved["model"], model.state_dict()
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    wrong = "; ".join(
        f"{what} {named(names, 8)}"
        for what, names in (
            ("it lacks", missing),
            ("the model lacks", unknown),
            ("of another shape are", shapes),
        )
        if names
    )
    fitting = {n: v for n, v in given.items() if n in own and v.shape == own[n].shape}
    if wrong and not config.init_partial:
        raise NeveError(
            f"training.init={path}: does not fit the model: {wrong}. Use the configuration saved "
            "beside it, or set training.init_partial to take what fits"
        )
    if not fitting:
        raise NeveError(f"training.init={path}: nothing of it fits the model: {wrong}")
    model.load_state_dict(fitting, strict=False)
    if not this_group().leader:
        return
    log.info("%d of %d weights are those of %s", len(fitting), len(own), path)
    if wrong:
        log.warning("training.init=%s: %s", path, wrong)
