"""Trainings in processes of their own: killed at random moments, and on several processes.

NEVE_KILLS says how many times each training is killed (2).
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from neve.errors import NeveError
from neve.training import launch, load_checkpoint

TRAINER = str(Path(__file__).with_name("trainer.py"))
KILLS = int(os.environ.get("NEVE_KILLS", "2"))
LAUNCH = """
import logging, sys
from neve.training import launch
logging.basicConfig(level=logging.INFO)
launch([sys.executable, *sys.argv[2:]], int(sys.argv[1]), 0)
"""


def command(directory, processes, *keys):
    inner = [TRAINER, str(directory), *keys]
    return [sys.executable, *(inner if processes == 1 else ["-c", LAUNCH, str(processes), *inner])]


def run(directory, processes, *keys):
    directory.mkdir(exist_ok=True)
    answer = subprocess.run(
        command(directory, processes, *keys), capture_output=True, text=True, timeout=600
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stderr


def final(directory):
    """The last epoch's weights, moving average and optimizer, by name."""
    saved = load_checkpoint(sorted(directory.glob("epoch-*.pt"))[-1])
    tensors = {f"{kind}.{k}": v for kind in ("model", "average") for k, v in saved[kind].items()}
    for i, state in saved["updater"]["optimizer"]["state"].items():
        tensors |= {f"{i}.{k}": v for k, v in state.items() if isinstance(v, torch.Tensor)}
    return tensors


def assert_equal(one, two):
    one, two = final(one), final(two)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize(
    ("processes", "keys"),
    [
        (1, ["optimizer=scaled_adam", "schedule=eden", "accumulate=2", "save_batches=2"]),
        (1, ["precision=bf16", "save_minutes=0.0005"]),
        (2, ["save_batches=1"]),
    ],
)
def test_killed_at_random_moments_it_ends_with_the_same_parameters(tmp_path, processes, keys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, processes, *keys)
    parts.mkdir()
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    kills = within = 0
    while kills < KILLS and not (parts / "averaged.pt").exists():
        process = subprocess.Popen(
            command(parts, processes, *keys, "pace=0.15"),
            start_new_session=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stderr:  # it is under way
            if "parameters" in line or "resuming" in line or not line:
                within += "batches into the next" in line
                break
        time.sleep(rng.uniform(0.0, 0.8))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        kills += 1
    said = run(parts, processes, *keys)
    within += "batches into the next" in said
    assert kills == KILLS and within, (seed, said)
    assert_equal(whole, parts)


def test_two_processes_do_as_one_with_the_batches_joined(tmp_path):
    exact = ["dropout=0", "noise=0", "double=1", "ema_decay=0.9", "rate_scaling=none"]
    run(tmp_path / "two", 2, *exact)
    run(tmp_path / "one", 1, "joined=2", *exact)
    run(tmp_path / "accumulated", 1, "accumulate=2", *exact)
    run(tmp_path / "half", 2, "accumulate=2", *exact)
    run(tmp_path / "four", 1, "joined=4", *exact)
    for one, two in (("one", "two"), ("one", "accumulated"), ("four", "half")):
        first, second = (load_checkpoint(tmp_path / x / "epoch-3.pt")["model"] for x in (one, two))
        for name in first:
            assert torch.allclose(first[name], second[name], rtol=1e-9, atol=1e-11), (two, name)
    first, second = (load_checkpoint(tmp_path / x / "epoch-3.pt")["model"] for x in ("one", "four"))
    assert not torch.allclose(first["0.weight"], second["0.weight"], rtol=1e-4, atol=1e-5)


def test_a_lost_process_is_replaced(tmp_path, caplog):
    run(tmp_path / "whole", 2, "save_batches=1")
    lost = tmp_path / "lost"
    lost.mkdir()
    launch([sys.executable, TRAINER, str(lost), "save_batches=1", "die=19"], 2, 1)
    assert "process 1 (signal 9) of this training was lost" in caplog.text
    assert_equal(tmp_path / "whole", lost)


def test_a_process_lost_too_often_stops_with_a_message(tmp_path):
    with pytest.raises(NeveError, match=r"process 1 \(signal 9\).*as 0 times before"):
        launch([sys.executable, TRAINER, str(tmp_path), "die=3"], 2, 0)


def test_another_number_of_processes_goes_on(tmp_path):
    with pytest.raises(NeveError):
        launch([sys.executable, TRAINER, str(tmp_path), "save_batches=2", "die=9"], 2, 0)
    said = run(tmp_path, 1)
    assert "it was on 2 processes and is on 1 now" in said


def test_the_rate_follows_the_number_of_processes(tmp_path):
    said = run(tmp_path / "two", 2, "epochs=1")
    assert (
        "2 processes x 6 x 1 accumulated), 2 times the reference of 6: learning rate 0.0283" in said
    )
