"""Convolutional subsampling in front of an encoder: features to a sequence 2 or 4 times shorter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neve.errors import ConfigError


class ConvSubsampling(nn.Module):
    """Strided 3x3 convolutions over time and frequency, then a projection.

    Every convolution has stride 2 over frequency; over time `factor` decides: 4 is stride 2 twice,
    2 is stride 2 once. Time is padded by one frame on both sides: n frames become ceil(n / factor).

    Args:
        features: number of feature bins F.
        dim: output width D.
        channels: number of convolution channels.
        factor: 2 or 4.
    """

    def __init__(self, features: int, dim: int, channels: int, factor: int):
        super().__init__()
        if factor not in (2, 4):
            raise ConfigError(f"model.subsampling={factor}: the Conformer takes 2 or 4")
        self.factor = factor
        second = (2 if factor == 4 else 1, 2)
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=second, padding=1)
        bins = (features + 3) // 4
        self.project = nn.Linear(channels * bins, dim)
        self.norm = nn.LayerNorm(dim)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Frames after subsampling, for (N,) frames before."""
        return torch.div(lengths + self.factor - 1, self.factor, rounding_mode="floor")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, F) features, (N,) lengths to (N, ceil(T / factor), D).

        What lies past an utterance's length is zero to each convolution, as it is past the end of
        a batch: the output does not depend on how far a batch is padded.
        """
        x = mask_padding(x, lengths)
        x = torch.relu(self.conv1(x.unsqueeze(1))).transpose(1, 2).flatten(2)
        x = mask_padding(x, (lengths + 1) // 2).unflatten(2, (self.conv1.out_channels, -1))
        x = torch.relu(self.conv2(x.transpose(1, 2)))
        return self.norm(self.project(x.transpose(1, 2).flatten(2)))


def mask_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """(N, T, D) with zeros in the frames past each of (N,) lengths."""
    if int(lengths.min()) >= x.shape[1]:
        return x
    past = torch.arange(x.shape[1], device=x.device)[None, :] >= lengths[:, None]
    return x.masked_fill(past[:, :, None], 0.0)
