"""The convolutions in front of Zipformer: features to half as many frames, with a ConvNeXt layer.

Inside, tensors are (N, T, F, C): frames, bins, and the channels of each bin side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.balance import Balancer, ScaleGradient, Whiten, whitening_limit
from neve.models.depthwise import depthwise_images
from neve.models.dropout import SharedDropout
from neve.models.scheduled import Schedule, Scheduled
from neve.models.swoosh import BiasNorm, swoosh_l, swoosh_r

LOSS = 7  # feature frames that the convolutions take: T become (T - 7) // 2
CONTEXT = 3  # frames that ConvNeXt sees on either side


def scale_initial(layer: nn.Module, scale: float) -> nn.Module:
    """`layer` with its initial weights times `scale` and biases drawn from +-0.1 * scale."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.uniform_(-0.1 * scale, 0.1 * scale)
    return layer


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution over time and bins, for (N, T, F, C)."""
    x = x.permute(0, 3, 1, 2)
    if torch.compiler.is_compiling():  # which fails on channels last with sizes that change
        x = x.contiguous()
    return layer(x).permute(0, 2, 3, 1).contiguous()


def _pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight.flatten(1), layer.bias)


class ConvNeXt(Scheduled):
    """Depthwise convolution and two pointwise ones around an activation, added to the input.

    After Liu et al., 2022, arXiv:2201.03545. In training an utterance is passed by with a
    probability that falls from 0.2.
    """

    def __init__(self, channels: int, ratio: int = 3):
        super().__init__()
        width = 2 * CONTEXT + 1
        self.depthwise_conv = nn.Conv2d(
            channels, channels, width, padding=CONTEXT, groups=channels
        )
        self.pointwise_conv1 = nn.Conv2d(channels, ratio * channels, 1)
        self.hidden_balancer = Balancer(0.3, 1.0, 0.75, 5.0)
        self.pointwise_conv2 = scale_initial(nn.Conv2d(ratio * channels, channels, 1), 0.01)
        self.out_balancer = Balancer(0.4, 0.6, 1.0, 6.0)
        self.out_whiten = Whiten(5.0)
        self.skip = Schedule((0, 0.2), (20000, 0.015))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F, C) to the same shape."""
        conv = self.depthwise_conv
        change = self.change(depthwise_images(x, conv.weight, conv.bias, conv.padding))
        if self.training:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.now(self.skip)
            change = change * keep.to(change.dtype)
        return self.out_whiten(self.out_balancer(x + change))

    def change(self, x: Tensor) -> Tensor:
        x = self.hidden_balancer(_pointwise(self.pointwise_conv1, x))
        return _pointwise(self.pointwise_conv2, swoosh_l(x))

    def streaming_forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, T + 3, F, C) with the 3 frames after it, cache (N, C, 3, F) with those before.

        Returns (N, T, F, C) and the next cache.
        """
        frames = x.shape[1] - CONTEXT
        around = torch.cat([cache, x.permute(0, 3, 1, 2)], dim=2)
        conv = self.depthwise_conv
        y = depthwise_images(around.permute(0, 2, 3, 1), conv.weight, conv.bias, (0, CONTEXT))
        y = x[:, :frames] + self.change(y)
        return y, around[:, :, frames : frames + CONTEXT]


class ZipformerSubsampling(nn.Module):
    """Three convolutions, ConvNeXt, a projection and BiasNorm.

    Args:
        features: number of feature bins F, at least 7.
        dim: output width D.
        channels: channels of the three convolutions.
        dropout: rate of the dropout at the end.
    """

    def __init__(
        self, features: int, dim: int, channels: list[int], dropout: float | Schedule
    ):
        super().__init__()
        if len(channels) != 3:
            raise ConfigError("model.zipformer.subsampling_channels takes three numbers")
        first, second, third = channels
        self.conv1 = nn.Conv2d(1, first, 3, padding=(0, 1))
        self.balancer1 = Balancer(max_abs=1.0)
        self.conv2 = nn.Conv2d(first, second, 3, stride=2)
        self.balancer2 = Balancer(max_abs=4.0)
        self.conv3 = nn.Conv2d(second, third, 3, stride=(1, 2))
        self.balancer3 = Balancer(max_abs=4.0)
        self.convnext = ConvNeXt(third)
        self.bins = ((features - 1) // 2 - 1) // 2
        self.channels = third
        self.out = nn.Linear(third * self.bins, dim)
        self.out_whiten = Whiten(whitening_limit(4.0), grad_scale=0.02)
        self.out_norm = BiasNorm(dim)
        self.dropout = SharedDropout(dropout)

    @staticmethod
    def lengths(lengths: Tensor) -> Tensor:
        """Frames after subsampling, at least one, for (N,) feature frames."""
        return torch.div(lengths - LOSS, 2, rounding_mode="floor").clamp(min=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F) features to (N, (T - 7) // 2, D); shorter than 9 frames counts as 9."""
        return self.project(self.convnext(self.convolutions(x)))

    def convolutions(self, x: Tensor) -> Tensor:
        if x.shape[1] < LOSS + 2:
            x = F.pad(x, (0, 0, 0, LOSS + 2 - x.shape[1]))
        x = _convolve(self.conv1, x.unsqueeze(3))
        if self.training:
            x = ScaleGradient.apply(x, 0.2)
        x = _convolve(self.conv2, swoosh_r(self.balancer1(x)))
        x = _convolve(self.conv3, swoosh_r(self.balancer2(x)))
        return swoosh_r(self.balancer3(x))

    def project(self, x: Tensor) -> Tensor:
        # The weight's columns are numbered channel by channel, x's bin by bin.
        weight = self.out.weight.unflatten(1, (self.channels, self.bins)).transpose(1, 2)
        x = F.linear(x.flatten(2), weight.flatten(1), self.out.bias)
        return self.dropout(self.out_norm(self.out_whiten(x)))

    def get_init_state(self, batch: int) -> Tensor:
        """(batch, C, 3, F'): what ConvNeXt sees before the first frame."""
        return self.out.weight.new_zeros(batch, self.channels, CONTEXT, self.bins)

    def streaming_forward(
        self, x: Tensor, state: Tensor, final: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(N, T, F) features to (N, (T - 7) // 2 - 3, D), and the next state.

        The next call's features begin that many times 2 frames later. With `final` nothing
        follows x, and the last 3 frames are given too.
        """
        x = self.convolutions(x)
        if final:
            x = F.pad(x, (0, 0, 0, 0, 0, CONTEXT))
        x, state = self.convnext.streaming_forward(x, state)
        return self.project(x), state
