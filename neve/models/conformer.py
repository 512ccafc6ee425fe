"""The Conformer encoder (Gulati et al., 2020, arXiv:2005.08100), with rotary positions.

Differences from the paper, each for speed or steadiness on small corpora: rotary position embedding
(Su et al., 2021, arXiv:2104.09864) in place of Transformer-XL's relative positions, so that torch's
fused attention applies; layer normalisation in the convolution module in place of batch
normalisation, so that an utterance's output does not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.config import ModelConfig
from neve.models.dropout import SharedDropout
from neve.models.subsampling import ConvSubsampling


def rotary_tables(length: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, each (length, dim), for an even head width."""
    rates = 10000.0 ** (-torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim)
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), rates)
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + dim/2) of (..., T, dim) by their position's angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention over (N, H, T, E); mask (N, 1, 1, T), true where allowed.

    torch's fused kernel, except on the CPU, where its backward pass takes three times as long as
    plain matrix products at the lengths of utterances.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = query @ (key * key.shape[-1] ** -0.5).transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1).to(value.dtype) @ value


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        if dim % (2 * heads):
            raise ConfigError(f"model.dim={dim} must be a multiple of 2 * model.heads={2 * heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None, positions: tuple[Tensor, Tensor]) -> Tensor:
        """x (N, T, D); mask (N, 1, 1, T), true where a frame may be attended to."""
        n, t, d = x.shape
        qkv = self.in_proj(self.norm(x)).view(n, t, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query, key = (rotate(each, *positions).to(value.dtype) for each in (query, key))
        out = attend(query, key, value, mask)
        return self.out_proj(out.transpose(1, 2).reshape(n, t, d))


class FeedForward(nn.Sequential):
    def __init__(self, dim: int, hidden: int, dropout: float):
        super().__init__(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.SiLU(),
            SharedDropout(dropout),
            nn.Linear(hidden, dim),
        )


class Convolution(nn.Module):
    def __init__(self, dim: int, kernel: int):
        super().__init__()
        if kernel % 2 == 0:
            raise ConfigError(f"model.kernel={kernel} must be odd")
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.mid_norm = nn.LayerNorm(dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """x (N, T, D); padding (N, T, 1), true where a frame is padding."""
        x = F.glu(self.in_proj(self.norm(x)), dim=-1)
        if padding is not None:
            x = x.masked_fill(padding, 0.0)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.out_proj(F.silu(self.mid_norm(x)))


class ConformerBlock(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward, layer normalisation."""

    def __init__(self, dim: int, heads: int, hidden: int, kernel: int, dropout: float):
        super().__init__()
        self.feed_forward1 = FeedForward(dim, hidden, dropout)
        self.attention = SelfAttention(dim, heads)
        self.convolution = Convolution(dim, kernel)
        self.feed_forward2 = FeedForward(dim, hidden, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout = SharedDropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        padding: Tensor | None,
        positions: tuple[Tensor, Tensor],
    ) -> Tensor:
        x = x + 0.5 * self.dropout(self.feed_forward1(x))
        x = x + self.dropout(self.attention(x, mask, positions))
        x = x + self.dropout(self.convolution(x, padding))
        x = x + 0.5 * self.dropout(self.feed_forward2(x))
        return self.norm(x)


class Conformer(nn.Module):
    """Features to one vector of width `config.dim` for every `config.subsampling` frames.

    `layer_drop` skips block i of n while training with probability layer_drop * i / n (stochastic
    depth, Huang et al., 2016, arXiv:1603.09382).
    """

    def __init__(self, config: ModelConfig, features: int):
        super().__init__()
        self.dim = config.dim
        self.subsampling = ConvSubsampling(
            features, config.dim, config.subsampling_channels, config.subsampling
        )
        self.dropout = SharedDropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(
                config.dim, config.heads, config.feedforward_dim, config.kernel, config.dropout
            )
            for _ in range(config.layers)
        )
        self.head_dim = config.dim // config.heads
        self.skip = [config.layer_drop * (i + 1) / config.layers for i in range(config.layers)]

    def lengths(self, lengths: Tensor) -> Tensor:
        """Encoder frames for (N,) feature frames."""
        return self.subsampling.lengths(lengths)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a batch.

        Args:
            x: (N, T, F) features; frames past an utterance's length are ignored.
            lengths: (N,) feature frames of each utterance.

        Returns:
            The output of every block, each (N, T', D), and (N,) encoder frames.
        """
        x = self.subsampling(x, lengths)
        lengths = self.lengths(lengths)
        mask = padding = None
        if int(lengths.min()) < x.shape[1]:
            valid = torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]
            mask, padding = valid[:, None, None, :], ~valid[:, :, None]
        positions = rotary_tables(x.shape[1], self.head_dim, x.device)
        x = self.dropout(x)
        outputs = []
        for block, skip in zip(self.blocks, self.skip):
            if not (self.training and skip and torch.rand(()).item() < skip):
                x = block(x, mask, padding, positions)
            outputs.append(x)
        return outputs, lengths
