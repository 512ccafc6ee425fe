"""Averages of weights: the moving average during training, and the mean of several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from neve.errors import NeveError
from neve.tensors import load_checkpoint
from neve.training.checkpoint import checkpoint_epochs, checkpoint_path, save_file
from neve.training.sharded import local


class MovingAverage:
    """Exponential moving average of a model's floating point parameters and buffers.

    The decay starts low and approaches `decay`, so that the random initial weights are soon
    forgotten: after n updates it is min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averages, values = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(local(self.state[name]))
                values.append(local(value))
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1.0 - decay)


class swapped_weights:
    """Context in which `model` has the weights of `state`; its own come back on leaving."""

    def __init__(self, model: nn.Module, state: dict[str, Tensor] | None):
        self.model, self.state = model, state

    def __enter__(self) -> nn.Module:
        if self.state is not None:
            self.own = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.model.load_state_dict(self.state)
        return self.model

    def __exit__(self, *error) -> None:
        if self.state is not None:
            self.model.load_state_dict(self.own)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Element-wise mean of state dictionaries in float64; integer entries are the last one's."""
    mean = {}
    for name, last in states[-1].items():
        if last.is_floating_point():
            total = sum(state[name].double() for state in states)
            mean[name] = (total / len(states)).to(last.dtype)
        else:
            mean[name] = last.clone()
    return mean


def average_checkpoints(directory: Path, last: int = 1, epoch: int = 0) -> Path:
    """Average the weights of epochs epoch-last+1..epoch into `directory/averaged.pt`.

    Args:
        directory: an experiment's directory with epoch-N.pt files.
        last: how many epochs; the moving average of each is taken where it has one.
        epoch: the last of them; 0 means the newest there is.

    Raises:
        NeveError: one of the epochs has no checkpoint (any more).
    """
    directory = Path(directory)
    have = checkpoint_epochs(directory)
    if not have:
        raise NeveError(f"{directory}: no epoch-N.pt to average; train first")
    epoch = epoch or have[-1]
    wanted = range(epoch - last + 1, epoch + 1)
    missing = [number for number in wanted if number not in have]
    if last < 1 or missing:
        raise NeveError(
            f"{directory}: cannot average {last} epochs ending at {epoch}: no checkpoint of epoch "
            f"{', '.join(map(str, missing)) or epoch} (there are {have[0]}..{have[-1]}); lower "
            "training.average_last or raise training.keep_checkpoints"
        )
    states = []
    for number in wanted:
        checkpoint = load_checkpoint(checkpoint_path(directory, number))
        states.append(checkpoint.get("average") or checkpoint["model"])
    path = directory / "averaged.pt"
    save_file({"model": mean_state(states), "epochs": list(wanted)}, path)
    return path
