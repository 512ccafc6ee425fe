"""A neural language model and its training: the keys of the `neural_lm` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option
from neve.models.lm_config import LmModelConfig
from neve.training.config import TrainingConfig


@dataclass
class NeuralLmConfig:
    unit: str = option(
        "tokens",
        "what is predicted: the tokens of the lang directory (phones, BPE pieces, characters), as "
        "its words are spelled, or its words",
        choices=("tokens", "words"),
    )
    text: list[str] = option(
        [],
        "files of text, one sentence a line (also .gz), added to the training transcripts",
    )
    transcripts: bool = option(True, "train on the training transcripts")
    dev_text: list[str] = option([], "files of text to validate on, added to the dev transcripts")
    batch_tokens: int = option(4000, "tokens of a batch at most, padding included")
    max_length: int = option(
        512, "tokens of a sentence that are one piece in training; a longer one is cut"
    )
    model: LmModelConfig = option(LmModelConfig, "the model")
    training: TrainingConfig = option(TrainingConfig, "its training")
