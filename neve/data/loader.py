"""Batches of an epoch: which utterances go together, and their features, padded.

An epoch is planned as a whole before it starts: utterances of similar length go into a batch, so
that little is padding and no batch but the last is left half full, and the number of batches is
known. Everything follows from (seed, epoch), whatever loads the batches.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from neve.data.config import AugmentConfig, DataConfig
from neve.data.cuts import Cuts
from neve.data.specaugment import SpecAugment
from neve.data.workers import in_processes, in_thread
from neve.errors import NeveError

log = logging.getLogger(__name__)


class Loader:
    """Iterating gives one epoch of batches, each a dictionary:

    features      (N, T, F) float32 tensor, normalised, padded with the silent frame
    feature_lens  (N,) int64 tensor, frames
    ids, texts, speakers  lists of str
    durations     list of float, seconds
    cuts          list of Lhotse cuts
    views         (N, views - 1, T, F), with `views` alone: the features with other masks

    `set_epoch(e)` chooses the epoch; `len()` is its number of batches for this process.

    The utterances are those of `cuts_files` (cuts_<split>.jsonl.gz of the features stage). With
    `training`, an epoch is in random order, has one version (speed, copy) of each utterance or all
    of them as `data.speed_per_epoch` says, leaves out what is shorter or longer than `data` allows,
    and is changed by SpecAugment. Without, it has every utterance once, the longest first.

    Each of `world_size` processes gets its own batches; in training all get equally many.
    `num_workers` defaults to `data.num_workers`. `views` is the number of times that SpecAugment
    draws masks for each utterance of a training batch, after one and the same time warp.
    """

    def __init__(
        self,
        cuts_files: Iterable[str | os.PathLike],
        config: DataConfig,
        augment: AugmentConfig,
        *,
        training: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int | None = None,
        views: int = 1,
    ):
        self.config = config
        self.training = training
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.num_workers = config.num_workers if num_workers is None else num_workers
        self.epoch = 0
        self._skip = 0
        self._done = 0
        self._plan: list[np.ndarray] | None = None  # of all processes
        self._cache: dict[int, np.ndarray] | None = {} if config.cache else None
        self._augment = SpecAugment(augment) if training and augment.spec_augment else None
        self.views = views if training else 1
        self._cuts = Cuts(cuts_files, augment)
        self.frontend = self._cuts.frontend
        self.left_out = np.zeros(0, dtype=np.int64)
        if not len(self._cuts):
            raise NeveError(f"{self._cuts.names}: there are no utterances to load")
        if training:
            self._leave_out_by_length()

    def _leave_out_by_length(self) -> None:
        durations = self._cuts.durations
        keep = (durations >= self.config.min_utterance) & (durations <= self.config.max_utterance)
        self.left_out = np.flatnonzero(~keep)
        if not keep.any():
            raise NeveError(
                f"{self._cuts.names}: no utterance is {self.config.min_utterance} to "
                f"{self.config.max_utterance} s long; change data.min_utterance or"
                " data.max_utterance"
            )
        if len(self.left_out) and self.rank == 0:
            names = [json.loads(self._cuts.lines[i])["id"] for i in self.left_out[:10]]
            log.warning(
                "%d of %d utterances are not %g to %g s long (data.min_utterance, max_utterance)"
                " and left out of training: %s%s",
                len(self.left_out),
                len(durations),
                self.config.min_utterance,
                self.config.max_utterance,
                ", ".join(names),
                ", ..." if len(self.left_out) > 10 else "",
            )

    @property
    def seconds(self) -> float:
        """Duration of the audio in an epoch (of all processes)."""
        return float(sum(self._cuts.durations[batch].sum() for batch in self._all_batches()))

    def leave_out(self, ids: Collection[str]) -> None:
        """Never load the utterances that are called so."""
        names = (json.loads(line)["id"] for line in self._cuts.lines)
        more = [index for index, name in enumerate(names) if name in ids]
        self.left_out = np.union1d(self.left_out, more).astype(np.int64)
        self._plan = None

    def contents(self) -> Iterator[tuple[str, str, int]]:
        """(id, text, frames) of every utterance that an epoch may hold, without its features."""
        left_out = set(self.left_out.tolist())
        for index, line in enumerate(self._cuts.lines):
            if index not in left_out:
                cut = json.loads(line)
                yield cut["id"], cut["supervisions"][0]["text"], self._cuts.frames(cut)

    def transcripts(self) -> list[str]:
        """The text of each utterance that an epoch may hold, of all its versions once."""
        kept = np.setdiff1d(np.arange(len(self._cuts.durations)), self.left_out)
        _, first = np.unique(self._cuts.utterances[kept], return_index=True)
        lines = (self._cuts.lines[index] for index in kept[first])
        return [json.loads(line)["supervisions"][0]["text"] for line in lines]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives, from its start."""
        if epoch != self.epoch:
            self._plan = None
        self.epoch = epoch
        self._skip = self._done = 0

    def state_dict(self) -> dict:
        """Where the epoch under way is, for `load_state_dict`: batches are those of all processes,
        as many of each as of this one."""
        return {"epoch": self.epoch, "batches": self._done}

    def load_state_dict(self, state: dict) -> None:
        """Let the next iteration go on where `state_dict` was taken, in the same order.

        There may be another number of processes now: what is left is shared between them.
        """
        self.set_epoch(state["epoch"])
        self._skip = state["batches"]

    def __len__(self) -> int:
        return len(self._numbers(0))

    def __iter__(self) -> Iterator[dict]:
        numbers = self._numbers(self._skip)
        self._done, self._skip = self._skip, 0
        ahead = max(self.config.prefetch, 1)
        if self.num_workers > 0 and self._cache is None:
            batches = in_processes(self.load, numbers, ahead, self.num_workers)
        else:
            batches = in_thread(self.load, numbers, ahead)
        for batch in batches:
            self._done += self.world_size
            yield batch

    def largest(self, max_duration: float) -> dict:
        """The batch of at most `max_duration` seconds that takes most memory: of the longest
        utterances, again and again if there are too few. One utterance always fits."""
        durations = self._cuts.durations.copy()
        durations[self.left_out] = -1.0
        order = np.argsort(-durations, kind="stable")[: len(durations) - len(self.left_out)]
        count = max(1, int(max_duration / durations[order[0]]))
        if self.config.max_cuts:
            count = min(count, self.config.max_cuts)
        return self._collated(np.resize(order, count), np.random.default_rng(self.seed))

    # -- the plan ------------------------------------------------------------------------------

    def _numbers(self, skip: int) -> list[int]:
        """The batches of this process in this epoch, when `skip` of all processes' are done."""
        count = len(self._all_batches())
        numbers = list(range(skip, count))
        if self.training:  # equally many for each process: the first ones come again
            missing = -len(numbers) % self.world_size
            numbers += list(itertools.islice(itertools.cycle(range(count)), missing))
        return numbers[self.rank :: self.world_size]

    def _all_batches(self) -> list[np.ndarray]:
        if self._plan is None:
            self._plan = self._make_plan()
        return self._plan

    def _make_plan(self) -> list[np.ndarray]:
        durations = self._cuts.durations
        if not self.training:
            order = np.argsort(-durations, kind="stable")
            return pack(order, durations, self.config.max_duration, self.config.max_cuts)
        generator = np.random.default_rng((self.seed, self.epoch))
        chosen = np.setdiff1d(np.arange(len(durations)), self.left_out)
        if self.config.speed_per_epoch == "one":
            chosen = one_of_each(self._cuts.utterances[chosen], chosen, generator)
        jitter = self.config.duration_jitter
        factors = generator.uniform(1 - jitter, 1 + jitter, len(chosen))
        order = chosen[np.argsort(-durations[chosen] * factors, kind="stable")]
        batches = pack(order, durations, self.config.max_duration, self.config.max_cuts)
        return [batches[i] for i in generator.permutation(len(batches))]

    # -- loading -------------------------------------------------------------------------------

    def load(self, number: int) -> dict:
        """Batch `number` of the plan of this epoch."""
        generator = np.random.default_rng((self.seed, self.epoch, number))
        return self._collated(self._all_batches()[number], generator)

    def _collated(self, indices: np.ndarray, generator: np.random.Generator) -> dict:
        """The batch of these cuts."""
        import torch

        cuts = [self._cuts[i] for i in indices]
        matrices = [self._features(i, cut) for i, cut in zip(indices, cuts, strict=True)]
        views = [[matrix] * self.views for matrix in matrices]
        if self._augment is not None:
            views = [self._augment.views(matrix, generator, self.views) for matrix in matrices]
        lengths = [len(matrix) for matrix in matrices]
        shape = (self.views, len(cuts), max(lengths), self.frontend.dim)
        features = np.empty(shape, dtype=np.float32)
        for row, matrices in enumerate(views):
            for view, matrix in enumerate(matrices):
                features[view, row, : len(matrix)] = matrix
                features[view, row, len(matrix) :] = self._cuts.padding
        features = torch.from_numpy(features)
        more = {"views": features[1:].transpose(0, 1)} if self.views > 1 else {}
        return {
            "features": features[0],
            "feature_lens": torch.tensor(lengths, dtype=torch.int64),
            "ids": [cut.id for cut in cuts],
            "texts": [cut.supervisions[0].text for cut in cuts],
            "speakers": [cut.supervisions[0].speaker for cut in cuts],
            "durations": [cut.duration for cut in cuts],
            "cuts": cuts,
            **more,
        }

    def _features(self, index: int, cut) -> np.ndarray:
        """(T, F) normalised features of a cut."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        changes = self._cuts.changes(cut)
        draw = f"{cut.id} in epoch {self.epoch}" if changes and self.training else cut.id
        matrix = self._cuts.features(cut, draw)
        if self._cache is not None and not changes:
            self._cache[index] = matrix
        return matrix


def pack(
    order: np.ndarray, durations: np.ndarray, max_duration: float, max_cuts: int
) -> list[np.ndarray]:
    """Cut `order` into batches of at most `max_duration` seconds, padding included.

    A batch has at least one utterance, and at most `max_cuts` if that is not 0.
    """
    batches, start, longest = [], 0, 0.0
    for place, index in enumerate(order):
        longest = max(longest, durations[index])
        size = place - start + 1
        if size > 1 and (longest * size > max_duration or (max_cuts and size > max_cuts)):
            batches.append(order[start:place])
            start, longest = place, durations[index]
    if start < len(order):
        batches.append(order[start:])
    return batches


def one_of_each(
    utterances: np.ndarray, cuts: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Of the cuts of each utterance one at random; in the order of the utterances' numbers."""
    shuffled = generator.permutation(len(cuts))
    _, first = np.unique(utterances[shuffled], return_index=True)
    return cuts[shuffled[first]]
