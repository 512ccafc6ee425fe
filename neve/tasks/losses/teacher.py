"""The teacher of a distillation: a packed model whose frames and tokens are the student's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neve.errors import ConfigError
from neve.frontend import Frontend
from neve.lang import Lang
from neve.models import TransducerModel

PROBES = (1, 7, 50, 51, 52, 53, 54, 55, 56, 57, 1000, 2001)  # frames of features


class Teacher:
    """A model that does not learn.

    Args:
        directory: model directory that `neve pack` wrote.
        student: the model that learns.
        lang: the student's tokens.
        frontend: of the features that the student sees.
        device: where both compute.

    Raises:
        ConfigError: it is of another kind, or sees other features, has another frame rate or other
            tokens than the student.
        NeveError: there is no such model directory, or it is damaged.
    """

    def __init__(
        self, directory: Path, student, lang: Lang, frontend: Frontend, device: torch.device
    ):
        from neve.decoding.packed import load_packed

        self.directory = Path(directory)
        packed = load_packed(self.directory, [("decoding.method", "greedy")])
        self.model = packed.recognizer.model.to(device).requires_grad_(False)
        self.check_kind(student)
        self.check_features(frontend)
        self.check_tokens(lang, packed.recognizer.lang)
        self.check_frames(student)

    def refuse(self, reason: str, remedy: str) -> None:
        raise ConfigError(f"loss.teacher={self.directory}: {reason}; {remedy}")

    def check_kind(self, student) -> None:
        if isinstance(student, TransducerModel) != isinstance(self.model, TransducerModel):
            self.refuse("it is not of the student's model.kind", "take a teacher of the same kind")

    def check_features(self, frontend: Frontend) -> None:
        own = Frontend.load(self.directory)
        different = [
            field.name
            for field in dataclasses.fields(own.config)
            if getattr(own.config, field.name) != getattr(frontend.config, field.name)
        ]
        for name in ("mean", "deviation"):
            mine, theirs = getattr(own, name), getattr(frontend, name)
            if (mine is None) != (theirs is None) or (
                mine is not None and not np.array_equal(mine, theirs)
            ):
                different.append(f"the training set's {name}")
        if different:
            self.refuse(
                f"it sees other features than the student (they differ in {', '.join(different)})",
                "train both on the same features directory",
            )

    def check_tokens(self, lang: Lang, own: Lang) -> None:
        mine, theirs = (x.tokens.symbols[: x.num_tokens] for x in (own, lang))
        if mine != theirs:
            self.refuse(
                f"its {len(mine)} tokens are not the {len(theirs)} of {lang.directory}",
                "train both on the same lang directory",
            )

    def check_frames(self, student) -> None:
        probes = torch.tensor(PROBES)
        mine, theirs = self.model.lengths(probes), student.lengths(probes)
        if not torch.equal(mine, theirs):
            self.refuse(
                f"of {PROBES[-1]} frames of features it makes {int(mine[-1])}, the student "
                f"{int(theirs[-1])}",
                "give both the same encoder and model.subsampling",
            )

    @torch.no_grad()
    def log_probs(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, F) features, (N,) lengths to a CTC teacher's (N, T', C) log-probabilities."""
        self.model.eval()
        return self.model(features, lengths)[0]

    @torch.no_grad()
    def lattice(self, features: Tensor, lengths: Tensor, symbols: Tensor, ranges: Tensor) -> Tensor:
        """A transducer's logits (N, T', R, V) at the places `ranges` of the student's lattice."""
        from neve.fsa import do_rnnt_pruning

        model = self.model.eval()
        encoded, _ = model.encode(features, lengths)
        predicted = model.predictor(torch.nn.functional.pad(symbols, (1, 0)))
        parts = do_rnnt_pruning(
            model.joiner.project(encoded), model.joiner.project_predictor(predicted), ranges
        )
        return model.joiner.join(*parts)
