"""The training loop on a task that has nothing to do with speech."""

import errno
import json
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from neve.config import option
from neve.errors import ConfigError, NeveError
from neve.training import (
    BatchLoss,
    Progress,
    Task,
    TrainingConfig,
    average_checkpoints,
    load_checkpoint,
    train,
)
from neve.training.average import MovingAverage, mean_state, swapped_weights
from neve.training.schedule import batch_factor, rate_factor


@dataclass
class Root:
    training: TrainingConfig = option(TrainingConfig, "training")


class Line(Task):
    """Fit y = 2x - 1 with dropout, so that random numbers matter; items may be poisoned."""

    unit = "points"
    epoch_size = 32.0

    def __init__(self, seed=0, poison=(), gradient_poison=""):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.poison, self.gradient_poison = set(poison), gradient_poison

    def train_batches(self, epoch, skip=0):
        generator = torch.Generator().manual_seed(epoch)
        batches = [(epoch, number, torch.randn(8, 1, generator=generator)) for number in range(4)]
        return iter(batches[skip:])

    def loss(self, batch):
        epoch, number, x = batch
        ids = [f"e{epoch}b{number}i{i}" for i in range(len(x))]
        items = (self.model(x) - (2 * x - 1)).square().squeeze(1)
        bad = torch.tensor([name in self.poison for name in ids])
        items = torch.where(bad, torch.full_like(items, math.nan), items)
        total = items.mean()
        if self.gradient_poison == "nan":
            total = total + (self.model[2].bias.sum() * 0.0).sqrt()  # its gradient is not finite
        elif self.gradient_poison == "huge":
            total = total + self.model[2].bias.sum() * 1e30 * 1e-4
        return BatchLoss(total, items.detach(), ids, float(len(x)))

    def summary(self, size, seconds):
        return {"points": size}

    def validate(self):
        x = torch.linspace(-1, 1, 16)[:, None]
        return {"loss": float((self.model(x) - (2 * x - 1)).square().mean())}


def settings(**changes):
    return TrainingConfig(
        **{"epochs": 6, "learning_rate": 0.05, "device": "cpu", "ema_decay": 0.9, **changes}
    )


def weights(directory):
    return load_checkpoint(directory / "averaged.pt")["model"]


def test_it_learns_and_says_so(tmp_path):
    path = train(Line(), settings(epochs=30), tmp_path, Root(settings(epochs=30)))
    entries = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    dev = [entry["loss"] for entry in entries if entry["split"] == "dev"]
    assert len(dev) == 30 and dev[-1] < 0.05 < 0.5 < dev[0]
    assert path == tmp_path / "averaged.pt"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["epochs"] == 30 and summary["steps"] == 120 and summary["parameters"] == 25
    assert summary["points"] == 30 * 32.0 and "hours_per_hour" not in summary  # the task's to say
    assert (tmp_path / "epoch-30.yaml").read_text().startswith("training:")
    assert list((tmp_path / "tensorboard").iterdir())


def test_resumed_training_equals_one_that_never_stopped(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    train(Line(), settings(), whole, Root(settings()))

    class Stops(Line):
        def train_batches(self, epoch, skip=0):
            for batch in super().train_batches(epoch, skip):
                if batch[:2] == (4, 2):
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        train(Stops(), settings(), parts, Root(settings()))
    train(Line(seed=5), settings(), parts, Root(settings()))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name
    lines = [json.loads(line) for line in (parts / "curves.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in lines if entry["split"] == "train"] == [1, 2, 3, 4, 5, 6]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    train(Line(), settings(keep_checkpoints=2, average_last=2), tmp_path, Root())
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == [
        "epoch-5.pt",
        "epoch-5.yaml",
        "epoch-6.pt",
        "epoch-6.yaml",
    ]


def test_a_loss_that_is_not_finite_stops_and_names_the_item(tmp_path):
    with pytest.raises(NeveError, match=r"loss is not finite.*e2b1i3\."):
        train(Line(poison={"e2b1i3"}), settings(), tmp_path, Root())
    assert load_checkpoint(tmp_path / "epoch-1.pt")["epoch"] == 1


def test_a_loss_that_is_not_finite_can_be_skipped(tmp_path, caplog):
    config = settings(on_nonfinite="skip")
    train(Line(poison={"e2b1i3", "e3b0i0"}), config, tmp_path, Root())
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 6 * 4 - 2
    assert "e2b1i3" in caplog.text and "e3b0i0" in caplog.text
    for value in weights(tmp_path).values():
        assert torch.isfinite(value).all()


def test_too_many_skipped_batches_stop_the_training(tmp_path):
    config = settings(on_nonfinite="skip", max_nonfinite=1)
    poison = {"e2b1i3", "e3b0i0"}
    for _ in range(2):  # a training that goes on does not begin to count again
        with pytest.raises(NeveError, match=r"e3b0i0.*More than training\.max_nonfinite=1"):
            train(Line(poison=poison), config, tmp_path, Root())
        assert load_checkpoint(tmp_path / "epoch-2.pt")["updater"]["nonfinite"] == 1


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        ("nan", r"gradient is not finite.*gradients: 2\.bias\. Look"),
        ("huge", r"norm is infinite: 2\.bias \(1e\+26\).*e1b0i0.*Look"),
    ],
)
def test_a_gradient_that_is_not_finite_names_the_parameter(tmp_path, poison, message):
    for limit in (5.0, 0.0):
        with pytest.raises(NeveError, match=message):
            train(Line(gradient_poison=poison), settings(clip_norm=limit), tmp_path, Root())


def test_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    import neve.training.checkpoint as checkpoint

    save, calls = torch.save, []

    def full(content, file):
        calls.append(1)
        if len(calls) == 3:
            file.write(b"half a checkpoint")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(NeveError, match=r"epoch-3\.pt.*disk is full"):
        train(Line(), settings(), tmp_path, Root())
    assert load_checkpoint(tmp_path / "epoch-2.pt")["epoch"] == 2
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]
    monkeypatch.undo()
    train(Line(), settings(), tmp_path, Root())
    assert load_checkpoint(tmp_path / "epoch-6.pt")["epoch"] == 6


def test_a_task_without_held_out_data_has_no_dev_curve(tmp_path):
    task = Line()
    task.validate = dict
    train(task, settings(), tmp_path, Root())
    lines = (tmp_path / "curves.jsonl").read_text().splitlines()
    assert {json.loads(line)["split"] for line in lines} == {"train"}


def test_damaged_checkpoint_is_named(tmp_path):
    train(Line(), settings(), tmp_path, Root())
    content = (tmp_path / "epoch-6.pt").read_bytes()
    (tmp_path / "epoch-6.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(NeveError, match=r"epoch-6\.pt: not a readable.*from the epoch before"):
        train(Line(), settings(epochs=7), tmp_path, Root())


def test_checkpoint_of_another_model_is_refused(tmp_path):
    train(Line(), settings(), tmp_path, Root())
    other = Line()
    other.model = nn.Linear(1, 1)
    with pytest.raises(NeveError, match=r"does not fit.*0\.weight"):
        train(other, settings(epochs=7), tmp_path, Root())


def test_average_is_the_mean_of_the_moving_averages(tmp_path):
    train(Line(), settings(average_last=3), tmp_path, Root())
    saved = [load_checkpoint(tmp_path / f"epoch-{i}.pt")["average"] for i in (4, 5, 6)]
    for name, value in weights(tmp_path).items():
        assert torch.allclose(value, sum(state[name] for state in saved) / 3, atol=1e-7)
    average_checkpoints(tmp_path, 1, 5)
    assert torch.equal(weights(tmp_path)["0.weight"], saved[1]["0.weight"])
    with pytest.raises(NeveError, match="no checkpoint of epoch 0, 1"):
        average_checkpoints(tmp_path, 4, 3)


def test_average_needs_checkpoints_that_are_kept(tmp_path):
    with pytest.raises(ConfigError, match=r"keep_checkpoints=2.*average_last=3"):
        train(Line(), settings(keep_checkpoints=2, average_last=3), tmp_path, Root())


def test_mean_state_leaves_integers_alone():
    states = [{"x": torch.tensor([1.0]), "n": torch.tensor(3)}] * 2
    mean = mean_state([states[0], {"x": torch.tensor([4.0]), "n": torch.tensor(9)}])
    assert float(mean["x"]) == 2.5 and int(mean["n"]) == 9


def test_moving_average_follows_its_definition():
    model = nn.Linear(1, 1)
    average, expected = MovingAverage(model, 0.5), model.weight.detach().clone()
    for n in range(20):
        with torch.no_grad():
            model.weight.add_(1.0)
        average.update(model)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    assert torch.allclose(average.state["weight"], expected, atol=1e-5)
    own = model.weight.detach().clone()
    with swapped_weights(model, average.state):
        assert torch.allclose(model.weight, expected, atol=1e-5)
    assert torch.equal(model.weight, own)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("cosine", 0.55), ("linear", 0.55), ("constant", 1.0)]
)
def test_schedule_rises_and_falls(schedule, middle):
    config = TrainingConfig(warmup=0.2, final_rate=0.1, schedule=schedule)

    def factor(share):
        return rate_factor(config, Progress(epoch=3, step=7, share=share, batches=9.0))

    assert factor(0.1) == pytest.approx(0.5)
    assert factor(0.2) == pytest.approx(1.0)
    assert factor(0.6) == pytest.approx(middle)
    end = 1.0 if schedule == "constant" else 0.1
    assert factor(1.0) == pytest.approx(end) == factor(1.5)


def test_eden_falls_with_batches_and_epochs():
    config = TrainingConfig(schedule="eden", eden_batches=100, eden_epochs=2, eden_warmup=50)

    def factor(batches, epoch):
        return rate_factor(config, Progress(epoch=epoch, step=1, share=0.5, batches=batches))

    assert factor(0, 1) == pytest.approx(0.5)
    assert factor(25, 1) == pytest.approx(0.75 * (1 + 0.25**2) ** -0.25)
    assert factor(100, 1) == pytest.approx(2**-0.25)
    assert factor(100, 3) == pytest.approx(2**-0.5)
    far = factor(1e6, 1001)  # as the square root of both
    assert far == pytest.approx(1e-2 * (1 / 500) ** 0.5, rel=1e-3)


def test_rate_follows_the_batch():
    config = TrainingConfig()
    assert batch_factor(config, 400.0, 100.0) == pytest.approx(2.0)
    assert batch_factor(config, 50.0, 100.0) == pytest.approx(0.5**0.5)
    assert batch_factor(TrainingConfig(rate_scaling="linear"), 400.0, 100.0) == pytest.approx(4.0)
    assert batch_factor(TrainingConfig(rate_scaling="none"), 400.0, 100.0) == 1.0


def test_unknown_device_is_named(tmp_path):
    with pytest.raises(ConfigError, match="'cpux'"):
        train(Line(), settings(device="cpux"), tmp_path, Root())
