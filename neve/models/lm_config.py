"""What a neural language model is made of: the keys of the `neural_lm.model` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LmModelConfig:
    kind: str = option(
        "transformer",
        "transformer: causal self-attention with rotary positions; lstm: recurrent layers",
        choices=("transformer", "lstm"),
    )
    dim: int = option(512, "width of embeddings and layers")
    layers: int = option(6, "number of layers")
    heads: int = option(8, "transformer: attention heads; dim must be a multiple of twice this")
    feedforward_dim: int = option(2048, "transformer: hidden width of the feed-forward modules")
    context: int = option(
        256, "transformer: tokens that are looked at, the one under way included; the rest is past"
    )
    dropout: float = option(0.1, "dropout of embeddings and layers while training")
    tied: bool = option(True, "whether input and output embeddings are the same weights")
