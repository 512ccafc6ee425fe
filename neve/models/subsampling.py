"""Convolutional subsampling in front of an encoder: features to a sequence 2 or 4 times shorter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neve.errors import ConfigError


class ConvSubsampling(nn.Module):
    """Strided 3x3 convolutions over time and frequency, then a projection.

    Every convolution has stride 2 over frequency; `factor` says over time: 4 is stride 2 twice, 2 is
    stride 2 once. Time is padded by one frame on both sides, so n frames become ceil(n / factor).

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

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F) features to (N, ceil(T / factor), D)."""
        x = torch.relu(self.conv1(x.unsqueeze(1)))
        x = torch.relu(self.conv2(x))
        x = x.permute(0, 2, 1, 3).flatten(2)
        return self.norm(self.project(x))
