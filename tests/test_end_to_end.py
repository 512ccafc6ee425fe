"""A tiny corpus through all stages of local/asr.sh: to a word error rate, and killed on the way.

The corpus is made here: letters are chords, words are letters, an utterance is a few words in
noise. Its recipe has what any recipe has: conf/, local/download.sh and a call of local/asr.sh.
"""

import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
RATE = 8000
CHORDS = dict(zip("ABCDEF", itertools.product((500, 800, 1200), (1900, 2700)), strict=True))
WORDS = ["ABE", "BAD", "CAFE", "DEAF", "FACE", "BEAD", "FEED", "CAB"]
SIZES = {"train": 120, "dev": 10, "test": 25}

CONFIG = """
base: {root}/conf/default.yaml
tag: tiny
title: A tiny corpus
data:
  source: table
  dir: download/corpus.csv
  speed_perturb: []
  max_duration: 30
  cache: true
features: {{sampling_rate: 8000, num_bins: 23, cmvn: global}}
augment: {{spec_augment: false}}
lang: {{kind: char}}
lm: {{order: 2}}
model: {{encoder: tdnn, dim: 48, layers: 4, subsampling: 3, dropout: 0.0}}
training: {{epochs: 14, learning_rate: 0.005, ema_decay: 0.95, log_every: 1}}
"""


def spoken(words, rng):
    """Samples of words: each letter 0.09 s of its chord, a gap after each word, all in noise."""
    parts = [np.zeros(int(0.1 * RATE))]
    for word in words:
        for letter in word:
            time = np.arange(int(rng.uniform(0.08, 0.1) * RATE)) / RATE
            chord = sum(np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in CHORDS[letter])
            parts += [0.2 * chord * np.hanning(len(time)) ** 0.3, np.zeros(int(0.02 * RATE))]
        parts.append(np.zeros(int(0.08 * RATE)))
    samples = np.concatenate(parts)
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 0.01, len(samples))
    return (samples + noise).astype(np.float32)


@pytest.fixture
def recipe(tmp_path):
    """The directory of the tiny recipe, with its corpus where --dl-dir will find it."""
    import soundfile

    there = tmp_path / "egs/tiny/ASR"
    corpora = tmp_path / "corpora"
    (there / "conf").mkdir(parents=True)
    (there / "local").mkdir()
    corpora.mkdir()
    (there / "conf/tiny.yaml").write_text(CONFIG.format(root=ROOT))
    download = there / "local/download.sh"
    download.write_text('#!/bin/sh\n[ "$1" = --dl-dir ]\nln -sfn "$2" download\n')
    download.chmod(0o755)
    rng = random.Random(7)
    with open(corpora / "corpus.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "audio", "text", "speaker", "split"])
        for split, size in SIZES.items():
            for i in range(size):
                words = [rng.choice(WORDS) for _ in range(rng.randint(2, 4))]
                name = f"{split}-{i:03d}"
                soundfile.write(corpora / f"{name}.wav", spoken(words, rng), RATE)
                table.writerow([name, f"{name}.wav", " ".join(words), f"s{i % 5}", split])
    return there


def start(recipe, *words):
    """Start local/asr.sh in the recipe, in a process group of its own."""
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,  # the environment that these tests run in
        "NEVE_EXTRAS": "dev",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    command = [ROOT / "local/asr.sh", "--config", "conf/tiny.yaml", "--nj", "1", "--ngpu", "0",
               "--dl-dir", recipe.parents[2] / "corpora", *words]  # fmt: skip
    return subprocess.Popen(
        list(map(str, command)), cwd=recipe, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(recipe, *words):
    """Run it to its end; its output."""
    process = start(recipe, *words)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def run_until(recipe, sign):
    """Run it until a line holds `sign`; then kill -9 all of it, and return what it said."""
    process = start(recipe)
    said = ""
    for line in process.stdout:
        said += line
        if sign in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert sign in said, said
    assert process.returncode == -signal.SIGKILL
    return said


def test_from_audio_to_wer_through_two_kills(recipe):
    # Killed in stage 2, before its output is in place.
    run_until(recipe, "stage features: data/fbank: not made yet")
    assert (recipe / "data/manifests/.stage.json").exists()
    assert not (recipe / "data/fbank").exists()

    # Killed in stage 6, some epochs into the training.
    output = run_until(recipe, "epoch 4/14 done")
    assert "stage prepare: data/manifests is up to date, skipped" in output
    exp = recipe / "exp/tiny-seed0"
    assert not (exp / ".stage.json").exists() and (exp / "epoch-3.pt").exists()

    # Goes on from there to the end.
    output = run(recipe)
    for stage in ("prepare", "features", "lang", "lm", "graph"):
        assert f"stage {stage}: " in output and output.count(f"neve {stage} ") == 1
    assert output.count("is up to date, skipped") == 5
    assert "stage train: exp/tiny-seed0: goes on with what was started" in output
    assert "epoch 2/14" not in output and "epoch 14/14 done" in output
    epochs = [
        row["epoch"]
        for row in map(json.loads, (exp / "curves.jsonl").read_text().splitlines())
        if row["split"] == "train"
    ]
    assert sorted(set(epochs)) == list(range(1, 15))

    # The word error rate on the test set, which the model has learnt to nearly nothing.
    summary = json.loads((exp / "report_hlg/wer-summary-test.json").read_text())
    errors, words = summary["words"]["errors"], summary["words"]["reference"]
    assert words > 50 and errors / words <= 0.05, (recipe / "RESULTS.md").read_text()
    assert "| test | 0 |" in (recipe / "RESULTS.md").read_text()
    assert (exp / "report_hlg/report.html").exists()
    for place in (recipe / "data/manifests", recipe / "data/fbank", recipe / "data/lang_char",
                  exp, exp / "decode_hlg", exp / "report_hlg", exp / "model"):  # fmt: skip
        assert (place / ".stage.json").exists() and (place / "config.yaml").exists()
    log = (recipe / "exp/log/tiny-seed0.log").read_text()
    assert "# command: neve train" in log and "# versions:" in log and "epoch 14/14 done" in log

    # All of it again: there is nothing to do, and each stage says so.
    output = run(recipe, "--stage", "1")
    assert output.count("is up to date, skipped") == 9
    # A changed beam decodes and scores again, but does not retrain.
    output = run(recipe, "--stage", "6", "--stop-stage", "7", "--decoding.search-beam", "15")
    assert "stage train: exp/tiny-seed0 is up to date" in output
    assert "decoding.search_beam was 20.0, is 15.0" in output

    # The packed model stands alone.
    (exp / "model").rename(recipe.parent / "model")
    (recipe / "data").rename(recipe.parent / "data_away")
    audio = recipe.parents[2] / "corpora/test-000.wav"
    answer = subprocess.run(
        [sys.executable, "-m", "neve", "transcribe", audio, "--json", "--model",
         recipe.parent / "model"],
        capture_output=True, text=True, cwd=recipe.parent,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    transcript = json.loads(answer.stdout)
    with open(audio.parent / "corpus.csv") as stream:
        reference = {row["id"]: row["text"] for row in csv.DictReader(stream)}["test-000"]
    assert transcript["text"] == reference
    times = [(word["start"], word["end"]) for word in transcript["words"]]
    assert times == sorted(times) and times[-1][1] <= transcript["duration"] + 0.1
