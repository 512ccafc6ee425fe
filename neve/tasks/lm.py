"""Training of neural language models: binds text, lang and model to the training loop."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from neve.errors import ConfigError
from neve.files import atomic_open
from neve.lang import Lang
from neve.lm.units import Units
from neve.models.lm import SETTINGS, build_lm, padded
from neve.tasks.lm_config import NeuralLmConfig
from neve.tasks.lm_text import Sentences, read_sentences
from neve.tensors import load_checkpoint, pick_device
from neve.text import TextConfig
from neve.training import BatchLoss, Task, this_group
from neve.training import train as run_training
from neve.training.initial import check_initial

log = logging.getLogger(__name__)

FORMAT = 1


class LmTask(Task):
    """See `neve.training.Task`. A batch is a list of rows of `self.sentences`."""

    unit = "tokens"
    item = "sentence"

    def __init__(
        self,
        config: NeuralLmConfig,
        lang: str | os.PathLike,
        transcripts: Sequence[str | os.PathLike] = (),
        dev: Sequence[str | os.PathLike] = (),
        text: TextConfig | None = None,
    ):
        """Read all text.

        Args:
            config: the `neural_lm` section.
            lang: the lang directory whose tokens or words are predicted.
            transcripts, dev: Kaldi text files to train and to validate on.
            text: normal form of the files that `config` names.
        """
        for name in ("batch_tokens", "max_length"):
            if getattr(config, name) < 2:
                raise ConfigError(f"neural_lm.{name}={getattr(config, name)} must be at least 2")
        check_initial(config.training)
        torch.manual_seed(config.training.seed)
        self.config = config
        self.device = pick_device(config.training.device)
        self.units = Units(Lang.load(lang), config.unit)
        self.units.lang.check_text(text)
        longest = min(config.max_length, config.batch_tokens)
        transcripts = transcripts if config.transcripts else ()
        self.sentences = read_sentences(self.units, transcripts, config.text, text, longest)
        self.dev: Sentences | None = None
        if dev or config.dev_text:
            self.dev = read_sentences(self.units, dev, config.dev_text, text, longest)
        self.model = build_lm(config.model, self.units.size, self.units.boundary)
        self.epoch_size = float(self.sentences.tokens)
        self.batch_size = float(config.batch_tokens)
        if this_group().leader:
            log.info(
                "%d %s in %d sentences to train on, %d different",
                self.sentences.tokens,
                config.unit,
                len(self.sentences),
                self.units.size,
            )

    def train_batches(self, epoch: int, skip: int = 0) -> Iterator[np.ndarray]:
        generator = np.random.default_rng((self.config.training.seed, epoch))
        batches = self.sentences.batches(self.config.batch_tokens, generator)
        group = this_group()
        batches = shared(shared(batches, group.size)[skip:], group.size)
        return iter(batches[group.rank :: group.size])

    def tensors(self, sentences: Sentences, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, U) what stands before each predicted token, and (N, U) these, padded with -1."""
        inputs, targets = padded(
            [sentences.predicted(row) for row in rows.tolist()], sentences.first[rows]
        )
        return inputs.to(self.device), targets.to(self.device)

    def loss(self, batch: np.ndarray) -> BatchLoss:
        losses = self.model.losses(*self.tensors(self.sentences, batch))
        items = losses.sum(1)
        count = int(self.sentences.lengths[batch].sum())
        return BatchLoss(
            total=items.sum() / count,
            items=items.detach(),
            ids=[f"sentence {row + 1}" for row in batch.tolist()],
            size=float(count),
            weight=float(count),
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and perplexity per predicted token; the end of a sentence is one of them."""
        if self.dev is None:
            return {}
        total = 0.0
        for rows in self.dev.batches(self.config.batch_tokens):
            total += float(self.model.losses(*self.tensors(self.dev, rows)).double().sum())
        loss = total / self.dev.tokens
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def summary(self, size: float, seconds: float) -> dict[str, float]:
        return {"tokens_per_second": round(size / seconds)}

    def describe(self, batch: np.ndarray) -> str:
        lengths = self.sentences.lengths[batch]
        return f"{len(batch)} sentences of up to {int(lengths.max())} tokens"

    def memory_knobs(self) -> list[str]:
        return [
            f"neural_lm.batch_tokens (now {self.config.batch_tokens}): activations fall in "
            "proportion",
            f"neural_lm.max_length (now {self.config.max_length}): what attention takes grows with "
            "the square of the length",
        ]

    def largest_batch(self, size: float) -> np.ndarray:
        longest = int(self.sentences.lengths.max())
        order = np.argsort(-self.sentences.lengths, kind="stable")
        return np.resize(order[: max(1, int(size) // longest)], max(1, int(size) // longest))


def shared(batches: list[np.ndarray], processes: int) -> list[np.ndarray]:
    """As many batches for each process: the first ones come again where some are lacking."""
    return batches + (batches * processes)[: -len(batches) % processes]


def train_lm(
    config: NeuralLmConfig,
    out: str | os.PathLike,
    lang: str | os.PathLike,
    transcripts: Sequence[str | os.PathLike] = (),
    dev: Sequence[str | os.PathLike] = (),
    text: TextConfig | None = None,
    full_config=None,
) -> Path:
    """Train the model that `config` describes in the directory `out`; the model directory in it.

    Arguments as for `LmTask`; `full_config` is saved beside each checkpoint.
    """
    task = LmTask(config, lang, transcripts, dev, text)
    averaged = run_training(task, config.training, Path(out), full_config or config)
    target = Path(out) / "model"
    if this_group().leader:
        write_model(target, averaged, config, task.units)
    return target


def write_model(out: Path, weights: Path, config: NeuralLmConfig, units: Units) -> None:
    """The model directory that `neve.models.lm.load_lm` reads: model.pt, lm.yaml, lang/."""
    out.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(weights)["model"]
    with atomic_open(out / "model.pt", "wb") as stream:
        torch.save({"model": state}, stream)
    lang = out / "lang"
    lang.mkdir(exist_ok=True)
    for name in ("tokens.txt", "words.txt", "lexicon.txt", "bpe.model", "lang.yaml"):
        source = units.lang.directory / name
        if source.exists():
            shutil.copyfile(source, lang / name)
    settings = {
        "format": FORMAT,
        "unit": units.unit,
        "vocab_size": units.size,
        "boundary": units.boundary,
        "model": dataclasses.asdict(config.model),
    }
    with atomic_open(out / SETTINGS) as stream:  # the last, so that a directory with it is whole
        yaml.safe_dump(settings, stream, sort_keys=False)
