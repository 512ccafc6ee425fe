"""`neve average`: averaged.pt of the epochs that are named, while nobody trains there."""

from pathlib import Path

import pytest
import torch

from neve.cli.main import main
from neve.pipeline import DirectoryLock


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Three epochs, one of them with a moving average, as the weights of each number them."""
    monkeypatch.chdir(tmp_path)
    directory = Path("exp/ctc-seed0")
    directory.mkdir(parents=True)
    for epoch in (1, 2, 3):
        saved = {"model": {"w": torch.full((2,), float(epoch))}}
        torch.save(saved, directory / f"epoch-{epoch}.pt")
    saved = {"model": {"w": torch.zeros(2)}, "average": {"w": torch.full((2,), 9.0)}}
    torch.save(saved, directory / "epoch-2.pt")
    return directory


@pytest.mark.parametrize(
    "words, value",
    [
        ([], 3.0),
        (["--epoch", "1"], 1.0),
        (["--training.average-last", "2"], 6.0),
        (["--epoch", "2", "--training.average-last", "2", "--wait"], 5.0),
    ],
)
def test_mean_of_the_epochs(experiment, words, value, capsys):
    assert main(["average", *words]) == 0
    assert capsys.readouterr().out == f"wrote {experiment / 'averaged.pt'}\n"
    found = torch.load(experiment / "averaged.pt", weights_only=True)["model"]["w"]
    assert found.tolist() == [value, value]


def test_an_epoch_that_is_not_there(experiment, capsys):
    assert main(["average", "--epoch", "7"]) == 1
    assert "no checkpoint of epoch 7 (there are 1..3)" in capsys.readouterr().err


def test_a_directory_in_use(experiment, capsys):
    lock = DirectoryLock(experiment.resolve())
    lock.own()
    try:
        assert main(["average"]) == 1
    finally:
        lock.release()
    assert "ctc-seed0" in capsys.readouterr().err and not (experiment / "averaged.pt").exists()
