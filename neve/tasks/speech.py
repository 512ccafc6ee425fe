"""What all tasks on transcribed speech share: lang, loaders, utterances that are left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from neve.data import Loader
from neve.errors import NeveError
from neve.lang import Lang, UnknownWordError
from neve.models.scheduled import set_batches
from neve.tasks.ctc_targets import CtcTargets
from neve.tasks.losses import Forward, FurtherLosses, check_losses
from neve.tasks.losses.checks import consistency_augment
from neve.tensors import pick_device
from neve.training import BatchLoss, Progress, Task, this_group

log = logging.getLogger(__name__)


class SpeechTask(Task):
    """See `neve.training.Task`. A batch is the loader's dictionary.

    A task on speech brings `make_model`, `frames_needed`, `loss` and `validate`.
    """

    unit = "s of audio"
    item = "utterance"

    def __init__(self, config, fbank: Path, lang: Path):
        """Read lang and data.

        Args:
            config: the root configuration; sections data, augment, features, model, loss, training.
            fbank: directory with cuts_<split>.jsonl.gz.
            lang: lang directory.
        """
        check_losses(config)
        torch.manual_seed(config.training.seed)
        self.config, self.data = config.loss, config.data
        self.device = pick_device(config.training.device)
        self.lang = Lang.load(lang)
        self.targets = CtcTargets(self.lang, self.config.pronunciations)
        self.model = self.make_model(config)
        self.views = 2 if config.loss.cr_weight else 1
        augment = config.augment
        if self.views > 1:
            augment = consistency_augment(augment, config.loss.cr_time_masks)

        def loader(splits: list[str], training: bool):
            files = [Path(fbank) / f"cuts_{split}.jsonl.gz" for split in splits]
            return Loader(
                files,
                config.data,
                augment,
                training=training,
                seed=config.training.seed,
                rank=group.rank if training else 0,
                world_size=group.size if training else 1,
                views=self.views,
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
        self.further = FurtherLosses(self)

    def make_model(self, config) -> torch.nn.Module:
        """The model that the root configuration and `self.lang` describe, with fresh weights."""
        raise NotImplementedError

    def begin_update(self, progress: Progress) -> None:
        set_batches(self.model, progress.batches)

    def frames_needed(self, text: str) -> int:
        """Fewest frames of the encoder that can carry this text."""
        raise NotImplementedError

    def unspelled(self, items: Iterable[tuple[str, str]]) -> set[str]:
        """Ids of the utterances with a word that has no pronunciation; see lang.oov.

        The lang stage has named them; in training there are some only if lang.oov is drop.
        """
        found = set()
        for name, text in items:
            try:
                self.spell(text)
            except UnknownWordError:
                found.add(name)
        return found

    def spell(self, text: str) -> None:
        """UnknownWordError for a text that some lang of the task cannot spell.

        It is one of the data's, and its tokens are remembered.
        """
        self.targets.learn(text)

    def too_long(self, items: Iterable[tuple[str, str, int]]) -> set[str]:
        """Ids of the training utterances with more tokens than frames; see loss.too_long."""
        found, count = {}, 0
        for name, text, frames in items:
            count += 1
            need = self.frames_needed(text)
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

    def inputs(self, batch: dict) -> tuple[Tensor, Tensor, list[str]]:
        """Features (M, T, F), lengths (M,) and texts of a training batch on the device.

        Where there are several views of N utterances, M is as many times N: the first views of all
        utterances come first.
        """
        features = batch["features"]
        if self.views > 1:
            features = torch.cat([features, *batch["views"].unbind(1)])
        lengths = batch["feature_lens"].repeat(self.views)
        return features.to(self.device), lengths.to(self.device), batch["texts"] * self.views

    def completed(
        self,
        batch: dict,
        total: Tensor,
        items: Tensor,
        count: int,
        stats: dict[str, float],
        forward: Forward,
    ) -> BatchLoss:
        """The batch's loss, with the further losses that the configuration asks for.

        Args:
            total: the main losses, weighed.
            items: (M,) the main loss of each row.
            count: the tokens of all M rows.
            stats: figures of the main losses.
            forward: what the further losses look at.
        """
        utterances = len(batch["ids"])
        items = items.detach().reshape(-1, utterances).mean(0)
        for term in self.further(forward):
            total = total + term.weight * term.items.sum() / term.count
            values = term.items.detach()
            items = items + values.reshape(-1, utterances).mean(0)
            stats[term.name] = float(values.sum()) / term.count
        return BatchLoss(
            total=total,
            items=items,
            ids=batch["ids"],
            size=float(sum(batch["durations"])),
            stats=stats,
            weight=count / self.views,
        )

    def tokens(self, text: str) -> list[int]:
        return self.targets.tokens(text)

    def train_batches(self, epoch: int, skip: int = 0) -> Iterator[dict]:
        self.train_loader.load_state_dict({"epoch": epoch, "batches": skip})
        return iter(self.train_loader)

    def dev_batches(self) -> Iterator[dict]:
        """The batches of the dev sets, without what the lang directory cannot spell."""
        for batch in self.dev_loader or ():
            batch = without(batch, self.unspelled(zip(batch["ids"], batch["texts"])))
            if batch["ids"]:
                yield batch

    def summary(self, size: float, seconds: float) -> dict[str, float]:
        """Hours of audio in an hour of training."""
        return {"hours_per_hour": round(size / seconds, 1)}

    def describe(self, batch: dict) -> str:
        lengths, longest = batch["feature_lens"], max(batch["durations"])
        tokens = sum(len(self.tokens(text)) for text in batch["texts"])
        return (
            f"{len(batch['ids'])} utterances {'in two views ' * (self.views > 1)}of up to "
            f"{longest:.1f} s and {int(lengths.max())} "
            f"frames, {len(lengths) * int(lengths.max())} frames with padding, {tokens} tokens"
        )

    def memory_knobs(self) -> list[str]:
        views = ["loss.cr_weight: it makes two views of each utterance"] * (self.views > 1)
        return [
            f"data.max_duration (now {self.data.max_duration:g} s): activations fall in proportion",
            f"data.max_utterance (now {self.data.max_utterance:g} s): leaves out longer utterances;"
            " what attention takes grows with the square of the length",
            *views,
        ]

    def largest_batch(self, size: float) -> dict:
        return self.train_loader.largest(size)

    def parts_to_compile(self) -> list[torch.nn.Module]:
        return [self.model.encoder]


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
