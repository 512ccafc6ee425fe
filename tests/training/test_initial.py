"""Weights that a training begins with: whole, in part, of another shape, none when it resumes."""

import pytest
import torch
from torch import nn

from neve.errors import NeveError
from neve.training import TrainingConfig
from neve.training.initial import load_initial


def small(width=3, more=False):
    torch.manual_seed(width + more)
    layers = [nn.Linear(2, width), nn.Linear(width, 1)]
    return nn.Sequential(*layers, *([nn.Linear(1, 1)] if more else []))


def write(path, model, average=None):
    torch.save({"model": model.state_dict(), "average": average}, path)
    return str(path)


def test_the_weights_are_those_of_the_file(tmp_path):
    other, model = small(), small()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    load_initial(model, TrainingConfig(init=write(tmp_path / "epoch-1.pt", other)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def test_or_its_moving_average(tmp_path):
    model, average = small(), {k: v + 2.0 for k, v in small().state_dict().items()}
    load_initial(model, TrainingConfig(init=write(tmp_path / "epoch-1.pt", small(), average)))
    assert all(torch.equal(v, average[k]) for k, v in model.state_dict().items())


def test_without_a_name_nothing_happens():
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    load_initial(model, TrainingConfig())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_what_does_not_fit_is_named_unless_a_part_is_enough(tmp_path, caplog):
    path = write(tmp_path / "averaged.pt", small(3))
    model = small(5, more=True)
    fresh = model[1].weight.clone()
    with pytest.raises(NeveError, match=r"it lacks 2\.weight, 2\.bias") as error:
        load_initial(model, TrainingConfig(init=path))
    assert "0.weight (3, 2) instead of (5, 2)" in str(error.value)
    assert "init_partial" in str(error.value) and "averaged.pt" in str(error.value)
    with pytest.raises(NeveError, match=r"the model lacks 2\.weight, 2\.bias"):
        more = write(tmp_path / "more.pt", small(3, more=True))
        load_initial(small(3), TrainingConfig(init=more))
    load_initial(model, TrainingConfig(init=path, init_partial=True))
    assert torch.equal(model[1].bias, small(3)[1].bias)  # what fits
    assert torch.equal(model[1].weight, fresh)
    assert "it lacks 2.weight" in caplog.text


def test_nothing_that_fits_and_no_file_are_errors(tmp_path):
    torch.save({"model": {"other": torch.zeros(1)}}, tmp_path / "strange.pt")
    strange = TrainingConfig(init=str(tmp_path / "strange.pt"), init_partial=True)
    with pytest.raises(NeveError, match="nothing of it fits"):
        load_initial(small(), strange)
    with pytest.raises(NeveError, match="no such checkpoint"):
        load_initial(small(), TrainingConfig(init=str(tmp_path / "missing.pt")))
