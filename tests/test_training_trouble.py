"""Deliberate trouble: a training goes on, or stops with what to do; its checkpoints stay good.

Everything goes through the verbs, in processes of their own.
"""

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import numpy as np
import pytest
import soundfile
import torch
from tiny_corpus import RATE, TinyCorpus, hum

from neve.cli.main import main
from neve.training import load_checkpoint

CONFIG = """
data: {source: table, dir: corpus/train.csv, test: [], speed_perturb: [], max_duration: 4,
  max_dropped: 0.2}
features: {num_bins: 23}
lang: {kind: char, write_pt: false}
model: {encoder: tdnn, dim: 16, layers: 2, subsampling: 3}
training: {epochs: 3, device: cpu, threads: 1, save_batches: 1, precision: fp32}
"""
SHORT = ["prepare", "features", "lang"]


def verbs(words, beat=None):
    """Run verbs in a directory, `neve VERB KEYS` each; the exit status of the first that fails."""
    directory, names, *keys = words
    os.chdir(directory)
    return next(filter(None, (main([name, *keys]) for name in names.split(","))), 0)


def limited(words, beat=None):
    """The same in 3 GB of address space."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    return verbs(words)


class Recipe:
    """A directory with a tiny corpus; `run` runs verbs in it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.exp = directory / "exp/ctc-seed0"

    def start(self, names, *keys, processes=1, function=verbs):
        words = [str(self.directory), names, *keys]
        return forked.Forked(function, words, self.directory, processes)

    def run(self, names, *keys, code=0, **options):
        """What the verbs say; the (largest) exit status has to be `code`."""
        process = self.start(names, *keys, **options)
        codes = process.join()
        assert max(codes) == code, (codes, process.said())
        return process.said()

    def final(self):
        return load_checkpoint(self.exp / "averaged.pt")["model"]


def new_recipe(directory: Path, **utterances) -> Recipe:
    """A corpus of 24 short utterances, and more: name=(samples, text, file's subtype)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "conf").mkdir()
    (directory / "conf/default.yaml").write_text(CONFIG)
    corpus = TinyCorpus(directory / "corpus", count=24)
    rows = corpus.rows()
    for name, (samples, text, subtype) in utterances.items():
        path = directory / f"corpus/audio/{name}.wav"
        soundfile.write(path, samples, RATE, subtype=subtype)
        rows.append([f"audio/{name}.wav", text, "spk0"])
    dev = ["split", "dev", "dev"]  # the first two
    corpus.table([row + [word] for row, word in zip(rows, dev + ["train"] * len(rows))])
    return Recipe(directory)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A recipe that has been trained; and its data, to copy."""
    recipe = new_recipe(tmp_path_factory.mktemp("trouble") / "whole")
    recipe.run(",".join([*SHORT, "train"]))
    return recipe


@pytest.fixture
def recipe(undisturbed, tmp_path):
    """One with data, not trained yet."""
    shutil.copytree(
        undisturbed.directory, tmp_path / "recipe", ignore=shutil.ignore_patterns("exp")
    )
    return Recipe(tmp_path / "recipe")


def assert_ends_as(recipe, undisturbed, *keys):
    """The same command goes on, to the same parameters."""
    assert "resuming after epoch" in recipe.run("train", *keys)
    one, two = recipe.final(), undisturbed.final()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_audio_that_is_not_a_number_is_left_out_or_named(tmp_path):
    broken = hum(["YES", "NO"])
    broken[3000] = np.nan
    recipe = new_recipe(tmp_path / "checked", broken=(broken, "YES NO", "FLOAT"))
    said = recipe.run(",".join([*SHORT, "train"]))
    assert "broken" in said and "dropped" in said
    assert "broken" in (recipe.directory / "data/manifests/problems.txt").read_text()
    assert all(torch.isfinite(value).all() for value in recipe.final().values())

    unchecked = new_recipe(tmp_path / "unchecked", broken=(broken, "YES NO", "FLOAT"))
    keys = ["--data.check", "header"]
    said = unchecked.run(",".join(SHORT), *keys, code=1)
    assert "utterance broken: " in said and "not finite" in said and "data.check full" in said
    assert "Traceback" not in said


def test_features_that_are_not_finite_stop_the_training_by_name(recipe, undisturbed):
    recipe.run("features", "--features.storage", "float32", "--force")
    (first, *_) = sorted(recipe.directory.glob("data/fbank/feats_train_0000/*/*.npy"))
    good = first.read_bytes()
    values = np.load(first)
    values[:] = np.inf
    np.save(first, values)
    said = recipe.run("train", "--features.storage", "float32", code=1)
    assert f"utterance {first.stem}: its features are not finite" in said
    assert "Traceback" not in said
    first.write_bytes(good)
    assert "epoch 3/3 done" in recipe.run("train", "--features.storage", "float32")


def test_an_utterance_with_fewer_frames_than_tokens_is_left_out_by_name(tmp_path):
    crowded = (hum(["NO"]), "MAYBE YES NO NO YES", "PCM_16")
    recipe = new_recipe(tmp_path / "recipe", crowded=crowded)
    recipe.run(",".join(SHORT))
    said = recipe.run("train", "--loss.too_long", "error", code=1)
    assert "1 of " in said and "crowded (" in said and "Lower model.subsampling" in said
    said = recipe.run("train")
    assert "crowded (" in said and "dropped" in said and "epoch 3/3 done" in said


FLY = ["--data.on_the_fly", "true"]  # what is left out is not computed


@pytest.fixture(scope="module")
def with_a_long_one(tmp_path_factory):
    """A recipe with an utterance of 40 minutes."""
    words = ["YES", "NO", "MAYBE"] * 4
    piece = np.concatenate([hum(words), np.zeros(RATE, np.float32)])
    long = np.resize(piece, 40 * 60 * RATE)
    recipe = new_recipe(
        tmp_path_factory.mktemp("long") / "recipe", lecture=(long, "YES NO", "PCM_16")
    )
    recipe.run(",".join(SHORT), *FLY)
    return recipe


def test_forty_minutes_among_seconds_are_left_out_and_named(with_a_long_one):
    said = with_a_long_one.run("train", *FLY)
    assert "are not 0.1 to 30 s long (data.min_utterance, max_utterance)" in said
    assert "left out of training: lecture" in said and "epoch 3/3 done" in said


def test_a_batch_too_large_for_the_memory_names_itself_and_what_helps(with_a_long_one):
    conformer = "--model.encoder conformer --model.dim 32 --model.layers 1 --model.subsampling 4"
    keys = [*f"{conformer} --data.max_utterance 3000 --tag whole".split(), *FLY]
    said = with_a_long_one.run("train", *keys, code=1, function=limited)
    assert "out of memory on cpu at step" in said
    assert "1 utterances of up to 2400.0 s" in said
    assert "data.max_utterance (now 3000 s): leaves out longer utterances" in said
    assert "Traceback" not in said
    keys[keys.index("3000")] = "30"
    assert "epoch 3/3 done" in with_a_long_one.run("train", *keys, function=limited)


def test_loading_processes_that_are_killed_are_replaced(recipe, undisturbed):
    keys = ["--data.num_workers", "2", "--data.prefetch", "1"]
    training = recipe.start("train", *keys)
    (process,) = training.processes
    message = "a process that loads batches was killed"
    while process.is_alive() and message not in training.said():
        for child in children(process.pid)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.05)
    (code,) = training.join()
    said = training.said()
    assert message in said and "Traceback" not in said
    if code:  # they were lost too often
        assert "lower data.num_workers or data.prefetch" in said
        recipe.run("train", *keys)
    one, two = recipe.final(), undisturbed.final()
    assert all(torch.equal(one[name], two[name]) for name in one)


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


CANNOT = 77  # exit status where there can be no small disk


def on_a_small_disk(words, beat=None):
    """Train with all experiments on a disk of so many kilobytes, which only this process sees."""
    directory, size = words
    os.chdir(directory)
    user, group = os.getuid(), os.getgid()
    new = 0x00020000 | (0x10000000 if user else 0)  # CLONE_NEWNS, CLONE_NEWUSER
    if ctypes.CDLL(None).unshare(new):
        return CANNOT
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    Path("disk").mkdir()
    command = f"mount --make-rprivate / && mount -t tmpfs -o size={size}k none disk"
    if subprocess.run(command, shell=True, check=False).returncode:
        return CANNOT
    code = main(["train", "--paths.experiments", "disk"])
    print("left:", *sorted(os.listdir("disk/ctc-seed0")), flush=True)
    shutil.copytree("disk", "exp")
    return code


def test_a_full_disk_keeps_the_last_checkpoint(recipe, undisturbed):
    sizes = [path.stat().st_size for path in undisturbed.exp.glob("epoch-*.pt")]
    enough = int(1.6 * max(sizes) + 200_000) // 1024  # for one checkpoint and half of the next
    training = forked.Forked(
        on_a_small_disk, [str(recipe.directory), enough], recipe.directory
    )
    (code,) = training.join()
    if code == CANNOT:
        pytest.skip("this machine does not let tests mount a small disk")
    said, _, left = training.said().partition("left: ")
    assert code == 1 and "Traceback" not in said, said
    assert "not written, the disk is full. Earlier checkpoints are intact" in said
    assert ".pt" in left and ".tmp" not in left
    assert_ends_as(recipe, undisturbed)


@pytest.mark.parametrize("killed", [[0, 1], [1]])
def test_a_training_on_two_processes_that_is_killed_ends_as_if_it_had_not_been(
    recipe, undisturbed, tmp_path_factory, killed
):
    whole = Recipe(tmp_path_factory.mktemp("two") / "recipe")
    shutil.copytree(recipe.directory, whole.directory)
    whole.run("train", processes=2)
    training = recipe.start("train", processes=2)
    deadline = time.monotonic() + forked.PATIENCE
    while not (recipe.exp / "resume.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    training.kill(killed)
    codes = training.join()
    assert codes[1] == -9 and 0 not in codes, training.said()
    if killed == [1]:
        assert "another process of this training has ended" in training.said()
    assert "resuming after epoch" in recipe.run("train", processes=2)
    one, two = recipe.final(), whole.final()
    assert all(torch.equal(one[name], two[name]) for name in one)


TRANSDUCER = """--model.kind transducer --model.encoder zipformer --model.predictor_dim 24
  --model.joiner_dim 24 --model.zipformer.encoder_dims [16,24]
  --model.zipformer.num_encoder_layers [1,1] --model.zipformer.downsampling_factors [1,2]
  --model.zipformer.feedforward_dims [32] --model.zipformer.num_heads [2]
  --model.zipformer.kernels [7] --model.zipformer.subsampling_channels [4,8,8]
  --training.optimizer scaled_adam --training.schedule eden --training.learning_rate 0.01""".split()


def test_a_transducer_is_trained_alike_by_both_kinds_of_processes(recipe):
    losses = []
    for parallel in ("ddp", "fsdp"):
        keys = [*TRANSDUCER, "--training.parallel", parallel, "--tag", parallel]
        recipe.run("train", *keys, processes=2)
        lines = (recipe.directory / f"exp/{parallel}-seed0/curves.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert len(losses[0]) == 6 and losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("keys", [[], TRANSDUCER])
def test_the_largest_batch_is_found_for_each_task(recipe, keys):
    said = recipe.run("train", "--find-max-duration", *keys)
    for part in ("parameters", "gradients", "optimizer", "moving average", "activations", "peak"):
        assert f"  {part} " in said
    assert "the largest batch that fits on cpu has" in said
    assert "data.max_duration (now 4 s)" in said
    assert not (recipe.directory / "exp").exists()


def test_torchrun_starts_a_training_again_when_a_worker_is_lost(recipe, tmp_path_factory):
    keys = "--training.epochs 20 --training.parallel fsdp --training.save_batches 2".split()
    whole = Recipe(tmp_path_factory.mktemp("torchrun") / "recipe")
    shutil.copytree(recipe.directory, whole.directory)
    whole.run("train", *keys, processes=2)
    torchrun = "torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 2"
    process = subprocess.Popen(
        [sys.executable, "-m", *torchrun.split(), "-m", "neve", "train", "--force", *keys],
        cwd=recipe.directory, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = ""
    for line in process.stderr:
        said += line
        if "parameters, 2 processes" in line:
            break
    while not (recipe.exp / "epoch-2.pt").exists():
        assert process.poll() is None, said
        time.sleep(0.01)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    said += process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, said
    assert "resuming after epoch" in said
    one, two = recipe.final(), whole.final()
    assert all(torch.equal(one[name], two[name]) for name in one)
