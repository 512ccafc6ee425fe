"""Further figures of batches: weighed as their losses are, in the curves, also after a resume."""

import json

import torch
from torch import nn

from neve.training import BatchLoss, Task, TrainingConfig, train
from neve.training.update import mean_stats

ITEMS = [3, 1, 2, 4]


def loss(weight, **stats):
    return BatchLoss(torch.zeros(()), torch.zeros(1), ["a"], 1.0, stats, weight)


def test_figures_are_weighed_as_losses_are():
    found = mean_stats([loss(3.0, ctc=1.0, more=2.0), loss(1.0, ctc=5.0)])
    assert found == {"ctc": 2.0, "more": 1.5}
    assert mean_stats([loss(2.0)]) == {}


class Halves(Task):
    """Two parts of a loss; each batch has another number of items."""

    unit = "points"
    epoch_size = float(sum(ITEMS))

    def __init__(self, stop=None):
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)
        self.stop = stop

    def train_batches(self, epoch, skip=0):
        for place, count in list(enumerate(ITEMS))[skip:]:
            if (epoch, place) == self.stop:
                raise KeyboardInterrupt
            yield place, torch.ones(count, 1)

    def loss(self, batch):
        place, x = batch
        first = self.model(x).square().squeeze(1)
        stats = {"place": float(place), "first": float(first.detach().mean())}
        total = first.mean() + place
        return BatchLoss(total, first.detach(), [str(i) for i in range(len(x))], len(x), stats)


def figures(directory):
    lines = map(json.loads, (directory / "curves.jsonl").read_text().splitlines())
    return [line for line in lines if line["split"] == "train"]


def test_curves_have_them_by_epoch_also_when_it_is_resumed(tmp_path):
    config = TrainingConfig(epochs=2, device="cpu", precision="fp32", save_batches=1, threads=1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    train(Halves(), config, whole)
    try:
        train(Halves(stop=(2, 2)), config, parts)
    except KeyboardInterrupt:
        train(Halves(), config, parts)
    for a, b in zip(figures(whole), figures(parts), strict=True):
        assert {**a, "speed": 0} == {**b, "speed": 0}
        place = sum(i * n for i, n in enumerate(ITEMS)) / sum(ITEMS)
        assert a["place"] == place
        assert abs(a["loss"] - a["first"] - place) < 1e-5
