"""CTC training: binds features, lang and a CTC model to the training loop."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from kaldialign import edit_distance
from torch import Tensor
from torch.nn import functional as F

from neve.data import Loader
from neve.errors import ConfigError, NeveError
from neve.lang import Lang, UnknownWordError
from neve.models import CtcModel
from neve.tensors import pick_device
from neve.training import BatchLoss, Task, this_group
from neve.training import train as run_training

log = logging.getLogger(__name__)


def build_model(config, lang: Lang) -> CtcModel:
    """The model that the configuration and the lang directory describe, with fresh weights."""
    letters = letter_table(lang) if config.loss.auxiliary == "letters" else {}
    return CtcModel(
        config.model,
        features=config.features.num_bins,
        tokens=lang.num_tokens,
        auxiliary_tokens=len(letters) + 1 if letters else 0,
        intermediate_layers=tuple(config.loss.intermediate_layers),
    )


def letter_table(lang: Lang) -> dict[str, int]:
    """Letters of the words that can be spoken, numbered from 1 (0 is blank)."""
    letters = sorted(set("".join(lang.vocabulary)))
    return {letter: i for i, letter in enumerate(letters, start=1)}


def greedy_tokens(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best token of each frame with repeats and blanks removed, for each of (N, T, C)."""
    best = log_probs.argmax(dim=-1).cpu()
    rows = []
    for row, length in zip(best, lengths.tolist()):
        collapsed = torch.unique_consecutive(row[:length])
        rows.append(collapsed[collapsed != 0].tolist())
    return rows


def frames_needed(tokens: list[int]) -> int:
    """Fewest frames that can carry the tokens: one each, and a blank between equal neighbours."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:]))


class CtcTask(Task):
    """See `neve.training.Task`. A batch is the loader's dictionary."""

    unit = "s of audio"
    item = "utterance"

    def __init__(self, config, fbank: Path, lang: Path):
        """Read lang and data.

        Args:
            config: the root configuration; sections data, augment, features, model, loss, training.
            fbank: directory with cuts_<split>.jsonl.gz.
            lang: lang directory.
        """
        torch.manual_seed(config.training.seed)
        self.config, self.data = config.loss, config.data
        check_weights(config.loss)
        self.device = pick_device(config.training.device)
        self.lang = Lang.load(lang)
        self.letters = letter_table(self.lang)
        self.model = build_model(config, self.lang)
        self.targets: dict[str, list[int]] = {}

        def loader(splits: list[str], training: bool):
            files = [Path(fbank) / f"cuts_{split}.jsonl.gz" for split in splits]
            return Loader(
                files,
                config.data,
                config.augment,
                training=training,
                seed=config.training.seed,
                rank=group.rank if training else 0,
                world_size=group.size if training else 1,
            )

        group = this_group()
        self.train_loader = loader(config.data.train, True)
        self.dev_loader = loader(config.data.dev, False) if config.data.dev else None
        self.batch_size = config.data.max_duration
        contents = list(self.train_loader.contents())
        unspelled = self.unspelled((name, text) for name, text, _ in contents)
        spelled = [item for item in contents if item[0] not in unspelled]
        self.dropped = unspelled | self.too_long(spelled)
        self.train_loader.leave_out(self.dropped)
        self.epoch_size = self.train_loader.seconds

    def unspelled(self, items: Iterable[tuple[str, str]]) -> set[str]:
        """Ids of the utterances with a word that has no pronunciation; see lang.oov.

        The lang stage has named them; in training there are some only if lang.oov is drop.
        """
        found = set()
        for name, text in items:
            try:
                self.tokens(text)
            except UnknownWordError:
                found.add(name)
        return found

    def too_long(self, items: Iterable[tuple[str, str, int]]) -> set[str]:
        """Ids of the training utterances with more tokens than frames; see loss.too_long."""
        found, count = {}, 0
        for name, text, frames in items:
            count += 1
            need = frames_needed(self.tokens(text))
            have = int(self.model.lengths(torch.tensor([frames]))[0])
            if need > have:
                found[name] = f"{name} ({need} tokens, {have} frames)"
        if found:
            message = (
                f"{len(found)} of {count} training utterances have more tokens than frames of the "
                "encoder: "
                + ", ".join([*list(found.values())[:10], *(["..."] if len(found) > 10 else [])])
            )
            if self.config.too_long == "error" or len(found) == count:
                raise NeveError(
                    message + ". Lower model.subsampling, use larger units (lang.kind), or set "
                    "loss.too_long to drop"
                )
            log.warning("%s; dropped", message)
        return set(found)

    def pronounced(self, log_probs: Tensor, lengths: Tensor, texts: list[str]) -> list[list[int]]:
        """Targets of the utterances of (N, T, C) log-probabilities; see loss.pronunciations.

        Each word with several pronunciations gets the one with the lowest CTC loss while the other
        words have their first: neighbours hardly influence each other's choice, and only as many
        losses are needed as there are pronunciations. Choices that fit the frames one by one but
        not together are not made: such an utterance keeps the first pronunciations.
        """
        targets = [self.tokens(text) for text in texts]
        if self.config.pronunciations == "first":
            return targets
        rows, sequences, choices = [], [], {}
        for row, text in enumerate(texts):
            variants = self.variants(text)
            if variants:
                choices[row] = variants
                sequences += [targets[row], *(tokens for _, _, tokens in variants)]
                rows += [row] * (1 + len(variants))
        if not rows:
            return targets
        index = torch.tensor(rows, device=log_probs.device)
        losses = ctc_losses(log_probs.detach()[index], lengths[index], sequences).tolist()
        place, frames = 0, lengths.tolist()
        for row, variants in choices.items():
            best = [(losses[place], 0)] * len(texts[row].split())
            for loss, (word, number, _) in zip(losses[place + 1 :], variants):
                best[word] = min(best[word], (loss, number))
            place += 1 + len(variants)
            chosen = [
                token
                for word, (_, number) in zip(texts[row].split(), best)
                for token in self.lang.pronunciations(word)[number]
            ]
            if frames_needed(chosen) <= frames[row]:
                targets[row] = chosen
        return targets

    def variants(self, text: str) -> list[tuple[int, int, list[int]]]:
        """(word's place, pronunciation's number, tokens) for each pronunciation but the first."""
        spelled = [self.lang.pronunciations(word) for word in text.split()]
        found = []
        for place, spellings in enumerate(spelled):
            for number, spelling in enumerate(spellings[1:], start=1):
                words = [each[0] for each in spelled]
                words[place] = spelling
                found.append((place, number, [token for word in words for token in word]))
        return found

    def tokens(self, text: str) -> list[int]:
        if text not in self.targets:
            self.targets[text] = self.lang.encode(text)
        return self.targets[text]

    def train_batches(self, epoch: int, skip: int = 0) -> Iterator[dict]:
        self.train_loader.load_state_dict({"epoch": epoch, "batches": skip})
        return iter(self.train_loader)

    def loss(self, batch: dict) -> BatchLoss:
        main, between, auxiliary, lengths = self.model.training_heads(
            batch["features"].to(self.device), batch["feature_lens"].to(self.device)
        )
        targets = self.pronounced(main, lengths, batch["texts"])
        items = ctc_losses(main, lengths, targets)
        count = max(1, sum(map(len, targets)))
        stats = {"ctc": float(items.detach().sum()) / count}
        weight, total = 1.0, 0.0
        if between:
            extra = torch.stack([ctc_losses(x, lengths, targets) for x in between]).mean(0)
            total = total + self.config.intermediate_weight * extra.sum() / count
            weight -= self.config.intermediate_weight
        if auxiliary is not None:
            spelled = [
                [self.letters[letter] for letter in text if letter in self.letters]
                for text in batch["texts"]
            ]
            extra = ctc_losses(auxiliary, lengths, spelled, zero_infinity=True)
            total = total + self.config.auxiliary_weight * extra.sum() / max(
                1, sum(map(len, spelled))
            )
            weight -= self.config.auxiliary_weight
        return BatchLoss(
            total=total + weight * items.sum() / count,
            items=items.detach(),
            ids=batch["ids"],
            size=float(sum(batch["durations"])),
            stats=stats,
            weight=count,
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """CTC loss and token error rate of greedy decoding, both per reference token."""
        if self.dev_loader is None:
            return {}
        loss = errors = count = 0.0
        for batch in self.dev_loader:
            batch = without(batch, self.unspelled(zip(batch["ids"], batch["texts"])))
            if not batch["ids"]:
                continue
            log_probs, lengths = self.model(
                batch["features"].to(self.device), batch["feature_lens"].to(self.device)
            )
            targets = self.pronounced(log_probs, lengths, batch["texts"])
            loss += float(ctc_losses(log_probs, lengths, targets, zero_infinity=True).sum())
            for hypothesis, reference in zip(greedy_tokens(log_probs, lengths), targets):
                errors += edit_distance(reference, hypothesis)["total"]
                count += len(reference)
        return {"loss": loss / max(count, 1.0), "token_errors": errors / max(count, 1.0)}

    def summary(self, size: float, seconds: float) -> dict[str, float]:
        """Hours of audio in an hour of training."""
        return {"hours_per_hour": round(size / seconds, 1)}

    def describe(self, batch: dict) -> str:
        lengths, longest = batch["feature_lens"], max(batch["durations"])
        tokens = sum(len(self.tokens(text)) for text in batch["texts"])
        return (
            f"{len(batch['ids'])} utterances of up to {longest:.1f} s and {int(lengths.max())} "
            f"frames, {len(lengths) * int(lengths.max())} frames with padding, {tokens} tokens"
        )

    def memory_knobs(self) -> list[str]:
        return [
            f"data.max_duration (now {self.data.max_duration:g} s): activations fall in proportion",
            f"data.max_utterance (now {self.data.max_utterance:g} s): leaves out longer utterances;"
            " what attention takes grows with the square of the length",
        ]

    def largest_batch(self, size: float) -> dict:
        return self.train_loader.largest(size)

    def parts_to_compile(self) -> list[torch.nn.Module]:
        return [self.model.encoder]


def check_weights(config) -> None:
    """ConfigError if the additional losses leave nothing to the main one."""
    weight = 1.0
    weight -= config.intermediate_weight if config.intermediate_layers else 0.0
    weight -= config.auxiliary_weight if config.auxiliary != "none" else 0.0
    if weight <= 0.0:
        raise ConfigError(
            "loss.intermediate_weight and loss.auxiliary_weight leave nothing to the main loss"
        )


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, targets: list[list[int]], zero_infinity: bool = False
) -> Tensor:
    """(N,) CTC losses of (N, T, C) log-probabilities; blank is 0 (Graves et al., 2006)."""
    flat = torch.tensor([token for row in targets for token in row], dtype=torch.long)
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        flat.to(log_probs.device),
        lengths,
        torch.tensor([len(row) for row in targets], device=log_probs.device),
        reduction="none",
        zero_infinity=zero_infinity,
    )


def without(batch: dict, dropped: set[str]) -> dict:
    """The batch without the utterances whose id is in `dropped`."""
    keep = [i for i, name in enumerate(batch["ids"]) if name not in dropped]
    if len(keep) == len(batch["ids"]):
        return batch
    return {
        key: value[keep] if isinstance(value, Tensor) else [value[i] for i in keep]
        for key, value in batch.items()
        if isinstance(value, Tensor | list)
    }


def train(config, *, fbank: Path, lang: Path, out: Path) -> Path:
    """Train the configured CTC model on the features of `fbank`; returns averaged.pt in `out`."""
    task = CtcTask(config, fbank, lang)
    return run_training(task, config.training, out, config)
