"""What the model is made of: the keys of the `model` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class ModelConfig:
    encoder: str = option("conformer", "encoder architecture", choices=("conformer", "tdnn"))
    dim: int = option(144, "width of the encoder's layers")
    layers: int = option(6, "number of encoder layers (Conformer blocks or TDNN convolutions)")
    heads: int = option(4, "attention heads of a Conformer block; must divide dim")
    feedforward_dim: int = option(576, "hidden width of a Conformer block's feed-forward modules")
    kernel: int = option(
        15, "width, in frames after subsampling, of a Conformer block's depthwise convolution (odd)"
    )
    dropout: float = option(0.1, "dropout inside the encoder's layers")
    layer_drop: float = option(
        0.0, "probability of skipping the last Conformer block while training; earlier blocks less"
    )
    subsampling: int = option(
        4, "feature frames per encoder frame; Conformer 2 or 4, TDNN 1, 3 or any other"
    )
    subsampling_channels: int = option(
        32, "channels of the Conformer's convolutional subsampling"
    )
    tdnn_kernel: int = option(3, "width of the TDNN's convolutions (odd)")
    tdnn_dilations: list[int] = option(
        [1, 1, 3, 3, 3], "dilation of the TDNN's convolutions, the last one repeated as needed"
    )
