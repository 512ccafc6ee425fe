"""A transducer model: encoder, predictor and joiner, and a CTC head beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neve.models.attention_decoder import AttentionDecoder
from neve.models.config import ModelConfig
from neve.models.ctc import build_encoder, set_chunk
from neve.models.joiner import build_joiner
from neve.models.predictor import build_predictor


class TransducerModel(nn.Module):
    """The RNN transducer (Graves, 2012, arXiv:1211.3711), blank being 0.

    Args:
        config: the model's shape.
        features: number of feature bins F.
        tokens: number of symbols V of the transducer, blank included.
        ctc_tokens: size C of the CTC head's token set, which may be another one (phones beside
            word pieces); 0: no such head.
        training: make the projections of the simple joiner too, with which the pruned loss finds
            what to look at (Kuang et al., 2022, arXiv:2206.13236).
        attention_decoder: whether there is an attention decoder over the transducer's tokens, to
            guide training and to score hypotheses.
    """

    def __init__(
        self,
        config: ModelConfig,
        features: int,
        tokens: int,
        ctc_tokens: int = 0,
        training: bool = False,
        attention_decoder: bool = False,
    ):
        super().__init__()
        self.encoder = build_encoder(config, features)
        dim = self.encoder.dim
        self.predictor = build_predictor(config, tokens)
        self.joiner = build_joiner(config, dim, self.predictor.dim, tokens)
        self.ctc_head = None
        if ctc_tokens:
            self.ctc_head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(dim, ctc_tokens))
        self.simple_am_proj = self.simple_lm_proj = None
        if training:
            self.simple_am_proj = quarter(nn.Linear(dim, tokens))
            self.simple_lm_proj = quarter(nn.Linear(self.predictor.dim, tokens))
        self.attention_decoder = None
        if attention_decoder:
            self.attention_decoder = AttentionDecoder(config, dim, tokens)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Frames of the encoder for (N,) feature frames."""
        return self.encoder.lengths(lengths)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, F) features, (N,) lengths to the encoder's (N, T', D), (N,) lengths."""
        outputs, lengths = self.encoder(features, lengths)
        return outputs[-1], lengths

    forward = encode

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor | None:
        """(N, T', D) to the CTC head's (N, T', C) log-probabilities; None without such a head."""
        if self.ctc_head is None:
            return None
        return torch.log_softmax(self.ctc_head(encoder_out).float(), dim=-1)

    def set_chunk(self, chunk_size: int, left_context: int) -> None:
        """Let a causal encoder see chunks of `chunk_size` frames (0: all) and so many before them.

        See `neve.models.ctc.set_chunk`.
        """
        set_chunk(self.encoder, chunk_size, left_context)


def quarter(layer: nn.Linear) -> nn.Linear:
    """The layer with a quarter of its initial weights, so that the simple joiner starts flat."""
    with torch.no_grad():
        layer.weight.mul_(0.25)
        layer.bias.mul_(0.25)
    return layer
