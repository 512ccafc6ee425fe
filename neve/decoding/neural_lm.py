"""The neural language model of `decoding.neural_lm`, with the units that it predicts."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from neve.errors import ConfigError, NeveError
from neve.lang import Lang
from neve.lm.units import Units
from neve.models.lm import SETTINGS, load_lm


class NeuralLm:
    """A model directory of `neve train-lm`.

    Attributes:
        model: a `neve.models.lm.LanguageModel`, for evaluation.
        units: what its ids are.

    Args:
        directory: the model directory.
        device: where it computes.

    Raises:
        NeveError: a file of it is missing or wrong; the file is named.
    """

    def __init__(self, directory: str | Path, device: torch.device | str = "cpu"):
        self.directory = Path(directory)
        self.model = load_lm(self.directory).to(device)
        settings = yaml.safe_load((self.directory / SETTINGS).read_text(encoding="utf-8"))
        self.units = Units(Lang.load(self.directory / "lang"), settings.get("unit"))
        if self.units.size != self.model.vocab_size:
            raise NeveError(
                f"{self.directory}: its lang directory has {self.units.size} units, the model "
                f"{self.model.vocab_size}; copy or make it again"
            )

    def has_tokens_of(self, lang: Lang) -> bool:
        """Whether its units are the tokens of `lang`, with their ids."""
        own = self.units.lang
        return self.units.unit != "words" and [
            own.tokens[token] for token in range(own.num_tokens)
        ] == [lang.tokens[token] for token in range(lang.num_tokens)]

    def require_tokens_of(self, lang: Lang) -> None:
        """ConfigError if its units are not the tokens of `lang`."""
        if not self.has_tokens_of(lang):
            raise ConfigError(
                f"decoding.neural_lm {self.directory} is not over the tokens of {lang.directory}; "
                "train one with neural_lm.unit tokens and that lang"
            )
