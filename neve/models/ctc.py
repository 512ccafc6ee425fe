"""A CTC model: an encoder, a main head, and heads that only help training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neve.errors import ConfigError
from neve.models.attention_decoder import AttentionDecoder
from neve.models.config import ModelConfig
from neve.models.conformer import Conformer
from neve.models.tdnn import Tdnn, TdnnLstm
from neve.models.zipformer import Zipformer

ENCODERS = {"conformer": Conformer, "zipformer": Zipformer, "tdnn": Tdnn, "tdnn_lstm": TdnnLstm}


def build_encoder(config: ModelConfig, features: int) -> nn.Module:
    """The encoder that `config.encoder` names, for feature vectors of `features` bins."""
    if config.encoder not in ENCODERS:
        raise ConfigError(
            f"model.encoder={config.encoder} is unknown; there are {', '.join(ENCODERS)}"
        )
    for name in ("dim", "layers", "heads", "subsampling"):
        if getattr(config, name) < 1:
            raise ConfigError(f"model.{name}={getattr(config, name)} must be at least 1")
    return ENCODERS[config.encoder](config, features)


def set_chunk(encoder: nn.Module, chunk_size: int, left_context: int) -> None:
    """Chunks in which a causal encoder looks at an utterance when it is not training.

    Args:
        encoder: any; one that is not causal sees the whole utterance.
        chunk_size: frames of a chunk, 0 for the whole utterance. Frames are those after the
            convolutional subsampling, 50 a second.
        left_context: frames before a chunk that it attends to, 0 for all.

    Raises:
        ConfigError: the encoder is not causal but chunks are asked for, or their size does not fit.
    """
    if getattr(encoder, "causal", False):
        encoder.set_chunk(chunk_size, left_context)
    elif chunk_size:
        raise ConfigError(
            "decoding.chunk_size needs an encoder that was trained with chunks "
            "(model.encoder zipformer with model.zipformer.causal)"
        )


class CtcModel(nn.Module):
    """Features to log-probabilities of tokens (Graves et al., 2006), token 0 being blank.

    Args:
        config: the model's shape.
        features: number of feature bins F.
        tokens: number of tokens C, blank included.
        auxiliary_tokens: size of a second token set (letters beside phones) with a head of its own
            on the last layer, used in training only; 0 for none.
        intermediate_layers: layers, counted from 1, whose output is also given to the main head in
            training (Lee & Watanabe, 2021, arXiv:2102.03216).
        attention_decoder: whether there is an attention decoder over the same tokens, to guide
            training and to score hypotheses.
    """

    def __init__(
        self,
        config: ModelConfig,
        features: int,
        tokens: int,
        auxiliary_tokens: int = 0,
        intermediate_layers: tuple[int, ...] = (),
        attention_decoder: bool = False,
    ):
        super().__init__()
        if intermediate_layers and config.encoder == "zipformer":
            raise ConfigError(
                "loss.intermediate_layers: a Zipformer has none, its stacks work at several rates"
            )
        for layer in intermediate_layers:
            if not 1 <= layer < config.layers:
                raise ConfigError(
                    f"loss.intermediate_layers: {layer} is not a layer below the last "
                    f"(model.layers={config.layers})"
                )
        self.encoder = build_encoder(config, features)
        self.head = nn.Linear(self.encoder.dim, tokens)
        self.intermediate_layers = tuple(intermediate_layers)
        self.auxiliary_head = (
            nn.Linear(self.encoder.dim, auxiliary_tokens) if auxiliary_tokens else None
        )
        self.attention_decoder = None
        if attention_decoder:
            self.attention_decoder = AttentionDecoder(config, self.encoder.dim, tokens)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Frames of output for (N,) feature frames."""
        return self.encoder.lengths(lengths)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, F) features, (N,) lengths to (N, T', C) log-probabilities, (N,) lengths."""
        outputs, lengths = self.encoder(features, lengths)
        return self.log_probs(self.head, outputs[-1]), lengths

    def training_heads(
        self, features: Tensor, lengths: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor | None, Tensor, Tensor]:
        """As `forward`, with the outputs that only training uses.

        Returns:
            (N, T', C) log-probabilities of the main head; the same of each intermediate layer;
            (N, T', A) log-probabilities of the auxiliary head or None; (N,) lengths; (N, T', D)
            the encoder's outputs.
        """
        outputs, lengths = self.encoder(features, lengths)
        main = self.log_probs(self.head, outputs[-1])
        between = [self.log_probs(self.head, outputs[i - 1]) for i in self.intermediate_layers]
        auxiliary = None
        if self.auxiliary_head is not None:
            auxiliary = self.log_probs(self.auxiliary_head, outputs[-1])
        return main, between, auxiliary, lengths, outputs[-1]

    def set_chunk(self, chunk_size: int, left_context: int) -> None:
        """Let a causal encoder see chunks of `chunk_size` frames (0: all) and so many before them.

        See `set_chunk`.
        """
        set_chunk(self.encoder, chunk_size, left_context)

    @staticmethod
    def log_probs(head: nn.Linear, x: Tensor) -> Tensor:
        return torch.log_softmax(head(x).float(), dim=-1)
