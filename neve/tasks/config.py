"""What training minimises: the keys of the `loss` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LossConfig:
    intermediate_layers: list[int] = option(
        [], "encoder layers (from 1) whose output also predicts the tokens while training"
    )
    intermediate_weight: float = option(0.3, "share of the intermediate layers' loss in the whole")
    auxiliary: str = option(
        "none",
        "a second set of targets with a head of its own, to guide training on little data",
        choices=("none", "letters"),
    )
    auxiliary_weight: float = option(0.3, "share of the auxiliary loss in the whole")
    pronunciations: str = option(
        "best",
        "targets of words with several pronunciations: the one that the model finds likeliest each "
        "time it sees the utterance, or the lexicon's first",
        choices=("best", "first"),
    )
    too_long: str = option(
        "drop",
        "what happens to an utterance with more tokens than encoder frames: it is dropped from "
        "training, or the training does not start",
        choices=("drop", "error"),
    )
