"""Trainings in processes of their own: killed at random moments, and on several processes.

NEVE_KILLS says how many times each training is killed (10).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import forked
import pytest
import torch
import trainer

from neve.errors import NeveError
from neve.training import launch, load_checkpoint

TRAINER = trainer.__file__
KILLS = int(os.environ.get("NEVE_KILLS", "10"))
LAUNCH = """
import logging, sys
from neve.training import launch
logging.basicConfig(level=logging.INFO)
launch([sys.executable, *sys.argv[2:]], int(sys.argv[1]), 0)
"""


def run(directory, processes, *keys):
    return forked.run(trainer.run, [str(directory), *keys], directory, processes)


def content(directory):
    """The last epoch's weights, moving average, optimizer, loss scale and counters, by name."""
    saved = load_checkpoint(sorted(directory.glob("epoch-*.pt"))[-1])
    del saved["seconds"]
    return dict(leaves("", saved))


def leaves(name, value):
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def assert_equal(one, two):
    one, two = content(one), content(two)
    assert one.keys() == two.keys()
    for name, value in one.items():
        same = torch.equal(value, two[name]) if torch.is_tensor(value) else value == two[name]
        assert same, (name, value, two[name])


ADAM = ["optimizer=scaled_adam", "schedule=eden", "accumulate=2", "save_batches=2"]


@pytest.mark.parametrize(
    ("processes", "killed", "keys"),
    [
        (1, 1, ADAM),
        (1, 1, ["precision=fp16", "save_batches=1"]),
        (1, 1, ["precision=bf16", "save_minutes=0.00001"]),
        (2, 2, ["save_batches=1"]),
        (2, 1, ["save_batches=1"]),
        (2, 1, ["precision=fp16", *ADAM]),
    ],
)
def test_killed_at_random_moments_it_ends_with_the_same_parameters(
    tmp_path, processes, killed, keys
):
    """All processes are killed at once, or one of them, and the other ends by itself."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, processes, *keys)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    near = 0 if killed == processes else processes  # who waits for one that is not there yet?
    far = trainer.BATCHES * 3 // (KILLS + 1)  # so that it is not over before the last kill
    said = ""
    for _ in range(KILLS):
        training = forked.Forked(trainer.run, [str(parts), *keys], parts, processes)
        assert training.wait_for_beats(rng.randint(near, far)), (seed, training.said())
        time.sleep(rng.uniform(0.0, 0.005))
        training.kill(rng.sample(range(processes), killed))
        codes = training.join()
        said += training.said()
        assert codes.count(-9) == killed and 0 not in codes, (seed, codes, training.said())
    said += run(parts, processes, *keys)
    assert "batches into the next" in said, seed
    assert_equal(whole, parts)


def test_a_launched_training_that_is_killed_goes_on(tmp_path):
    """As a user's terminal or a cluster does it: the whole group of processes at once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, 2, "save_batches=1")
    parts.mkdir()
    command = [sys.executable, "-c", LAUNCH, "2", TRAINER, str(parts), "save_batches=1"]
    process = subprocess.Popen(
        [*command, "pace=0.1"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    next(line for line in process.stderr if "parameters" in line)  # it is under way
    while not (parts / "resume.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert "batches into the next" in run(parts, 2, "save_batches=1")
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
    assert not torch.allclose(first["first.weight"], second["first.weight"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "scaled_adam"])
def test_parameters_that_are_spread_are_trained_as_those_that_are_not(tmp_path, optimizer):
    keys = [f"optimizer={optimizer}", "double=1", "accumulate=2", "save_batches=4"]
    for parallel in ("ddp", "fsdp"):
        run(tmp_path / parallel, 2, *keys, f"parallel={parallel}")
    curves = [
        [json.loads(line)["loss"] for line in (tmp_path / x / "curves.jsonl").open()]
        for x in ("ddp", "fsdp")
    ]
    assert len(curves[0]) == 6 and curves[0] == pytest.approx(curves[1], rel=1e-6)
    whole, spread = (content(tmp_path / x) for x in ("ddp", "fsdp"))
    assert whole.keys() == spread.keys()  # checkpoints are whole, whoever reads them
    for name, value in whole.items():
        if torch.is_tensor(value) and value.is_floating_point():
            assert value.shape == spread[name].shape, name
            assert torch.allclose(value, spread[name], rtol=1e-6, atol=1e-9), name


@pytest.mark.parametrize(("before", "after"), [("fsdp", "ddp"), ("ddp", "fsdp")])
def test_either_kind_of_training_goes_on_with_the_others_checkpoint(tmp_path, before, after):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    keys = ["optimizer=scaled_adam", "double=1", "save_batches=1"]
    run(whole, 2, *keys)
    training = forked.Forked(
        trainer.run, [str(parts), *keys, f"parallel={before}"], parts, processes=2
    )
    assert training.wait_for_beats(16)
    training.kill()
    training.join()
    said = run(parts, 2, *keys, f"parallel={after}")
    assert "batches into the next" in said
    one, two = content(whole), content(parts)
    for name, value in one.items():
        if torch.is_tensor(value) and value.is_floating_point():
            assert torch.allclose(value, two[name], rtol=1e-6, atol=1e-9), name


def test_a_spread_model_goes_on_in_one_process(tmp_path):
    training = forked.Forked(
        trainer.run, [str(tmp_path), "save_batches=1", "parallel=fsdp"], tmp_path, processes=2
    )
    assert training.wait_for_beats(10)
    training.kill([1])
    assert training.join() == [1, -9], training.said()
    assert "it was on 2 processes and is on 1 now" in run(tmp_path, 1, "parallel=fsdp")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_loss_that_is_not_finite_on_one_process_is_a_matter_of_all(tmp_path, parallel):
    keys = ["poison=5", "epochs=1", f"parallel={parallel}"]
    said = run(tmp_path / "skipped", 2, *keys, "on_nonfinite=skip")
    assert said.count("step 5: process 1: the loss is not finite") == 1
    assert "item whose own loss is not: i1. " in said and "Skipped (1 so far)" in said
    saved = load_checkpoint(tmp_path / "skipped/epoch-1.pt")
    assert saved["step"] == trainer.BATCHES // 2 - 1
    assert all(torch.isfinite(value).all() for value in saved["model"].values())
    words = [str(tmp_path), *keys, "save_batches=1"]
    stopped = forked.Forked(trainer.run, words, tmp_path, processes=2)
    assert stopped.join() == [1, 1]
    assert "process 1: the loss is not finite" in stopped.said()
    assert "Look at these first; else lower training.learning_rate" in stopped.said()
    assert load_checkpoint(tmp_path / "resume.pt")["step"] == 4
    run(tmp_path, 2, "epochs=1", f"parallel={parallel}")  # what is good goes on


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
