"""A transducer whose scores depend on what was said before only in part.

With little training data a transducer refuses a symbol that it has just given out, for it has
learnt from long sounds to do so, and words that are said twice are found once. A model that was
trained with `model.history_dropout` can also tell what it hears without knowing what was said. Here
its two opinions are interpolated, as probabilities with and without a condition are in the guidance
of diffusion models (Ho and Salimans, 2022, arXiv:2207.12598; here with a weight below one):

    scale * log p(symbol | audio, history) + (1 - scale) * log p(symbol | audio)
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import ConfigError
from neve.models.predictor import StatelessPredictor


class HistoryScaled:
    """A model for the searches of this folder, with a weight of the history.

    Its predictor is that of the model, so that outputs which are known for histories stay valid.

    Args:
        model: a `TransducerModel` with a stateless predictor, trained with `model.history_dropout`.
        scale: weight of what the history says; 1 is the model itself.

    Raises:
        ConfigError: the model does not know what a hidden history is.
    """

    def __init__(self, model, scale: float):
        predictor = model.predictor
        if not isinstance(predictor, StatelessPredictor) or not predictor.history_dropout:
            raise ConfigError(
                f"decoding.history_scales: {scale:g} needs a model with a stateless predictor that "
                "was trained with model.history_dropout above 0; without, only 1 is possible"
            )
        self.predictor = predictor
        self.joiner = HistoryScaledJoiner(model, scale)


class HistoryScaledJoiner:
    """The joiner of `HistoryScaled`, with the three parts of `neve.models.joiner.Joiner`."""

    def __init__(self, model, scale: float):
        self.joiner, self.scale = model.joiner, scale
        self.project_predictor, self.output = model.joiner.project_predictor, model.joiner.output
        with torch.inference_mode():
            self.unknown = self.project_predictor(model.predictor.hidden())

    def project(self, encoder_out: Tensor) -> Tensor:
        """(..., D) to (..., J + V): the projection, and what is said without history."""
        part = self.joiner.project(encoder_out)
        logits = self.joiner.join(part, self.unknown)
        return torch.cat([part, torch.log_softmax(logits.float(), dim=-1)], dim=-1)

    def join(self, encoder_part: Tensor, predictor_part: Tensor) -> Tensor:
        """(..., V) weighted log-probabilities, not normalised."""
        width = self.unknown.shape[-1]
        logits = self.joiner.join(encoder_part[..., :width], predictor_part)
        known = torch.log_softmax(logits.float(), dim=-1)
        return self.scale * known + (1.0 - self.scale) * encoder_part[..., width:]
