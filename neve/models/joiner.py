"""The joiner of a transducer: encoder frame and predictor output to scores of the next symbol."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.models.config import ModelConfig


class Joiner(nn.Module):
    """Both projected to one width, added, tanh, and projected to the symbols.

    `project`, `project_predictor` and `join` are its parts, for searches and pruned losses, which
    project once and join many times.

    Args:
        encoder_dim, predictor_dim: widths of what is joined.
        dim: inner width J.
        tokens: number of symbols V, blank (0) included.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, tokens: int):
        super().__init__()
        self.encoder_proj = nn.Linear(encoder_dim, dim)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        self.output = nn.Linear(dim, tokens)

    def project(self, encoder_out: Tensor) -> Tensor:
        """(..., D) to (..., J)."""
        return self.encoder_proj(encoder_out)

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """(..., P) to (..., J)."""
        return self.predictor_proj(predictor_out)

    def join(self, encoder_part: Tensor, predictor_part: Tensor) -> Tensor:
        """Logits (..., V) of projected inputs (..., J), which are broadcast."""
        return self.output(torch.tanh(encoder_part + predictor_part))


class EncoderBlankJoiner(Joiner):
    """A joiner in which the encoder alone says whether a frame gives out a symbol.

    As in the hybrid autoregressive transducer (Variani et al., 2020, arXiv:2003.07705) blank has a
    probability of its own and the symbols share the rest; there it depends on both, here on the
    encoder. So the encoder has one frame for each symbol. Where blank hears the predictor too,
    several frames may speak for a symbol, and the predictor refuses it after the first: with little
    training data it then refuses words that are said twice.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, tokens: int):
        super().__init__(encoder_dim, predictor_dim, dim, tokens)
        self.blank = nn.Linear(dim, 1)

    def join(self, encoder_part: Tensor, predictor_part: Tensor) -> Tensor:
        """Log-probabilities (..., V) of projected inputs (..., J), which are broadcast."""
        symbols = super().join(encoder_part, predictor_part)[..., 1:].float()
        blank = self.blank(torch.tanh(encoder_part)).float()
        blank = blank.expand(*symbols.shape[:-1], 1)
        symbols = F.logsigmoid(-blank) + torch.log_softmax(symbols, dim=-1)
        return torch.cat([F.logsigmoid(blank), symbols], dim=-1)


def build_joiner(config: ModelConfig, encoder_dim: int, predictor_dim: int, tokens: int) -> Joiner:
    """The joiner that `config.blank` asks for."""
    kind = EncoderBlankJoiner if config.blank == "encoder" else Joiner
    return kind(encoder_dim, predictor_dim, config.joiner_dim, tokens)
