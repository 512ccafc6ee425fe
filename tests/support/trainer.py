"""A small training in a process of its own, to be killed: python trainer.py DIRECTORY [KEY=VALUE].

Alone or as one of several processes. Dropout, numpy and Python draw random numbers while it trains.
The key `pace` makes each batch take longer, `die` lets process 1 be killed once, after so many
batches; `poison` makes an item of the last process's batch of that number not finite.
"""

import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from neve.errors import NeveError
from neve.training import BatchLoss, Task, TrainingConfig, this_group, train

ITEMS, BATCHES = 6, 24


class Layers(nn.Module):
    """Linear layers, some in a list, as those of an encoder are; and a gain without dimensions."""

    def __init__(self, dropout):
        super().__init__()
        self.first = nn.Linear(1, 15)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(15, 15), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2)
        )
        self.last = nn.Linear(15, 1)
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.gain * self.last(x)


class Curve(Task):
    """Fit a parabola; batch b of an epoch goes to process b modulo their number."""

    unit = "points"
    epoch_size = float(ITEMS * BATCHES)
    batch_size = float(ITEMS)

    def __init__(
        self, directory, beat, pace=0.0, die=0, poison=0, dropout=0.2, noise=0.01,
        joined=1, double=0,
    ):  # fmt: skip
        torch.manual_seed(0)
        self.group, self.beat = this_group(), beat
        self.model = Layers(dropout)
        self.dtype = torch.float64 if double else torch.float32
        self.model.to(self.dtype)
        self.mark = Path(directory) / "died"
        self.pace, self.die, self.noise, self.joined = pace, die, noise, joined
        self.poison = poison if self.group.rank == self.group.size - 1 else 0
        self.batch_size *= joined
        self.done = 0

    def train_batches(self, epoch, skip=0):
        generator = torch.Generator().manual_seed(epoch)
        batches = [2 * torch.rand(ITEMS, 1, generator=generator) - 1 for _ in range(BATCHES)]
        batches = [
            torch.cat(batches[i : i + self.joined]) for i in range(0, len(batches), self.joined)
        ]
        return iter(batches[skip:][self.group.rank :: self.group.size])

    def validate(self):
        x = torch.linspace(-1, 1, 9, dtype=self.dtype)[:, None]
        return {"loss": float((self.model(x) - x.square()).square().mean())}

    def loss(self, batch):
        self.beat()
        time.sleep(self.pace * random.random())
        self.done += 1
        batch = batch.to(self.dtype)
        if self.done == self.die and self.group.rank == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        keep = (batch.abs() > 0.1).squeeze(1)  # not all batches have the same weight
        noise = self.noise * float(np.random.standard_normal())
        items = (self.model(batch) - batch.square() + noise).square().squeeze(1) * keep
        if self.done == self.poison:
            items = items + torch.tensor([0.0, torch.nan, *[0.0] * (len(items) - 2)])
        weight = max(1.0, float(keep.sum()))
        ids = [f"i{i}" for i in range(len(batch))]
        size = float(len(batch))
        return BatchLoss(items.sum() / weight, items.detach(), ids, size, weight=weight)


def run(words, beat=lambda: None):
    """Train as `words` say; `beat` is called before each batch. The exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    directory, *words = words
    keys = {key: yaml.safe_load(value) for key, value in (word.split("=") for word in words)}
    of_task = {"pace", "die", "dropout", "noise", "joined", "double", "poison"} & keys.keys()
    task = Curve(directory, beat, **{key: keys.pop(key) for key in of_task})
    keys = {"epochs": 3, "device": "cpu", "learning_rate": 0.02, "threads": 1, **keys}
    try:
        train(task, TrainingConfig(**keys), Path(directory))
    except NeveError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
