"""Memory: measured by part, searched for the largest batch, and named when it is full."""

import json

import pytest
import torch
from torch import nn

from neve.errors import NeveError
from neve.training import BatchLoss, Task, TrainingConfig, memory_report, train
from neve.training.memory import Memory, extrapolate, search


def taking(bytes_per_size, limit=None):
    def measure(size):
        if limit and size * bytes_per_size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Memory(1, 1, 2, 1, int(size * bytes_per_size), 100 + int(size * bytes_per_size))

    return measure


def test_the_largest_batch_is_found():
    for start in (1.0, 30.0, 5000.0):
        size, memory = search(taking(10, limit=12345), start)
        assert 0.97 * 1234.5 <= size <= 1234.5 and memory.activations == int(size * 10)
    with pytest.raises(NeveError, match="not even the smallest"):
        search(taking(10, limit=1e-6), 100.0)
    size, memory = extrapolate(taking(10), 100.0, 5000)
    assert size == pytest.approx(600.0) and memory.activations == pytest.approx(6000)


def test_an_extrapolation_needs_two_different_batches_and_does_not_go_far():
    asked = []

    def one_utterance(size):  # of 30; a batch has at least one
        asked.append(size)
        return taking(10)(30 * max(1, size // 30))

    size, memory = extrapolate(one_utterance, 20.0, 5000)
    assert asked == [10.0, 20.0, 40.0, 80.0]
    assert size == pytest.approx(80 + 5000 * 70 / 300) and memory.activations == 600 + 5000
    size, memory = extrapolate(taking(10), 100.0, 10**12)  # the memory is not the limit
    assert size == 1600.0 and memory.activations == 16000
    size, memory = extrapolate(lambda size: taking(10)(1), 100.0, 5000)  # one batch has all data
    assert size == 100.0 and memory.activations == 10


def settings(**changes):
    return TrainingConfig(**{"epochs": 6, "device": "cpu", "precision": "fp32", **changes})


class Sized(Task):
    """Fit a line with dropout; a batch is (epoch, number, points)."""

    unit = "points"
    epoch_size = 32.0

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))

    def train_batches(self, epoch, skip=0):
        generator = torch.Generator().manual_seed(epoch)
        batches = [(epoch, number, torch.randn(8, 1, generator=generator)) for number in range(4)]
        return iter(batches[skip:])

    def loss(self, batch):
        items = (self.model(batch[2]) - 2 * batch[2]).square().squeeze(1)
        return BatchLoss(items.mean(), items.detach(), ["i"] * len(items), float(len(items)))

    def largest_batch(self, size):
        return 1, 1, torch.randn(int(size), 1)

    def describe(self, batch):
        return f"{len(batch[2])} points"

    def memory_knobs(self):
        return ["line.points (now 8): fewer points"]


def test_memory_by_part():
    task = Sized()
    task.batch_size = 4000.0
    text = memory_report(task, settings())
    assert "parameters" in text and "0.0001 MB" in text and "line.points" in text


def test_what_is_left_to_chance_is_measured_at_its_worst():
    class Chance(Sized):
        worst, seen = False, []

        def begin_measuring(self):
            self.worst = True

        def loss(self, batch):
            self.seen.append(self.worst)
            return super().loss(batch)

    task = Chance()
    task.batch_size = 4000.0
    memory_report(task, settings())
    assert task.seen and all(task.seen)


def test_a_full_memory_names_batch_and_remedies(tmp_path):
    class Greedy(Sized):
        def loss(self, batch):
            if batch[:2] == (2, 1):
                torch.empty(1 << 55)
            return super().loss(batch)

    with pytest.raises(NeveError) as error:
        train(Greedy(), settings(), tmp_path)
    text = str(error.value)
    assert "out of memory on cpu at step 6. The batch: 8 points" in text
    assert "line.points (now 8)" in text and "training.accumulate (now 1)" in text


def test_diagnostics_change_nothing(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    train(Sized(), settings(), one)
    train(Sized(), settings(diagnostics=10), two)
    first, second = (torch.load(d / "averaged.pt")["model"] for d in (one, two))
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [json.loads(line) for line in (two / "diagnostics.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == {10, 20}
    assert {row["kind"] for row in rows} == {"output", "gradient", "parameter"}
    assert all(row["change"] > 0 for row in rows if row["kind"] == "parameter")
