"""One layer of Zipformer, and what it is made of beside attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.balance import Balancer, LimitParameter, Whiten, whitening_limit
from neve.models.depthwise import depthwise
from neve.models.dropout import SharedDropout
from neve.models.scheduled import Schedule, Scheduled
from neve.models.swoosh import BiasNorm, swoosh_l, swoosh_r
from neve.models.zipformer_attention import (
    AttentionWeights,
    NonlinAttention,
    SelfAttention,
    even_weights,
)
from neve.models.zipformer_subsampling import scale_initial

MODULE_SKIP = Schedule((0, 0.2), (4000, 0.05), (16000, 0.0))  # attention and convolution
FEED_FORWARD_SKIP = Schedule((0, 0.1), (4000, 0.01), (50000, 0.0))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float | Schedule):
        super().__init__()
        self.in_proj = nn.Linear(dim, hidden)
        self.hidden_balancer = Balancer(0.3, 1.0, 0.75, 5.0)
        self.dropout = SharedDropout(dropout)
        self.out_proj = scale_initial(nn.Linear(hidden, dim), 0.1)
        self.out_whiten = Whiten(whitening_limit(7.5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(swoosh_l(self.hidden_balancer(self.in_proj(x))))
        return self.out_whiten(self.out_proj(x))


class ChunkCausalConv(nn.Module):
    """Depthwise convolution that looks back without end of chunk, and ahead within a chunk.

    The sum of a causal convolution and one that sees each chunk alone; the latter's output is
    scaled by position, for there is less to see at a chunk's edges.
    """

    def __init__(self, dim: int, kernel: int):
        super().__init__()
        self.kernel = kernel
        self.causal_conv = nn.Conv1d(dim, dim, (kernel + 1) // 2, groups=dim)
        self.chunkwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.chunkwise_conv_scale = nn.Parameter(torch.zeros(2, dim, kernel))

    def forward(self, x: Tensor, chunk: int, cache: Tensor | None = None) -> Tensor:
        """x (N, T, D); chunk 0: x is one chunk; cache (N, kernel // 2, D): frames before x."""
        n, t, dim = x.shape
        if cache is None:
            before = F.pad(x, (0, 0, self.kernel // 2, 0))
        else:
            before = torch.cat([cache, x], dim=1)
        y = depthwise(before, self.causal_conv.weight, self.causal_conv.bias, 0)
        chunk = chunk or t
        x = F.pad(x, (0, 0, 0, -t % chunk)).unflatten(1, (-1, chunk)).flatten(0, 1)
        weight, bias = self.chunkwise_conv.weight, self.chunkwise_conv.bias
        x = depthwise(x, weight, bias, self.kernel // 2) * self.scale(chunk).to(x.dtype)
        return y + x.unflatten(0, (n, -1)).flatten(1, 2)[:, :t]

    def scale(self, chunk: int) -> Tensor:
        """(chunk, D) factors of a chunk's frames, learnt for the first and the last `kernel`."""
        first, last = self.chunkwise_conv_scale.transpose(1, 2)
        if chunk < self.kernel:
            return 1.0 + first[:chunk] + last[-chunk:]
        rest = chunk - self.kernel
        return 1.0 + F.pad(first, (0, 0, 0, rest)) + F.pad(last, (0, 0, rest, 0))


class Convolution(nn.Module):
    """Gated linear unit, depthwise convolution, activation."""

    def __init__(self, dim: int, kernel: int, causal: bool):
        super().__init__()
        if kernel % 2 == 0:
            raise ConfigError(f"model.zipformer.kernels: {kernel} must be odd")
        self.in_proj = nn.Linear(dim, 2 * dim)
        self.balancer1 = Balancer(
            Schedule((0, 0.05), (8000, 0.025)), 1.0, 1.5, Schedule((0, 5.0), (8000, 10.0))
        )
        if causal:
            self.depthwise_conv = ChunkCausalConv(dim, kernel)
        else:
            self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.balancer2 = Balancer(
            Schedule((0, 0.1), (8000, 0.05)), 1.0, Schedule((0, 0.2), (20000, 0.5)), 10.0
        )
        self.whiten = Whiten(whitening_limit(7.5))
        self.out_proj = scale_initial(nn.Linear(dim, dim), 0.05)

    def forward(self, x: Tensor, chunk: int, padding: Tensor | None) -> Tensor:
        """x (N, T, D); chunk as in `ChunkCausalConv`; padding (N, T, 1), true past the end."""
        x = self.gated(x)
        if padding is not None:
            x = x.masked_fill(padding, 0.0)
        conv = self.depthwise_conv
        if isinstance(conv, ChunkCausalConv):
            x = conv(x, chunk)
        else:
            x = depthwise(x, conv.weight, conv.bias, conv.padding[0])
        return self.out_proj(swoosh_r(self.whiten(self.balancer2(x))))

    def streaming_forward(self, x: Tensor, chunk: int, cache: Tensor) -> tuple[Tensor, Tensor]:
        """cache (N, D, kernel // 2): the frames before x; returns the next one too."""
        x, cache = self.gated(x), cache.transpose(1, 2)
        y = self.out_proj(swoosh_r(self.depthwise_conv(x, chunk, cache)))
        return y, torch.cat([cache, x], dim=1)[:, x.shape[1] :].transpose(1, 2)

    def gated(self, x: Tensor) -> Tensor:
        both = self.in_proj(x)
        x, gate = both.chunk(2, dim=-1)
        balanced = self.balancer1(gate)
        return F.glu(both, dim=-1) if balanced is gate else x * torch.sigmoid(balanced)


class Bypass(Scheduled):
    """Learnt interpolation, per channel, between a module's input and its output.

    In training the scale is kept in its limits, and utterances keep the input with probability
    `skip`.
    """

    def __init__(self, dim: int, skip: float | Schedule = 0.0):
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self.limit = LimitParameter(Schedule((0, 0.9), (20000, 0.2)), 1.0)
        self.skip = skip

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Both (N, T, D)."""
        scale = self.limit(self.bypass_scale)
        skip = self.now(self.skip) if self.training else 0.0
        if skip:
            scale = scale * (torch.rand(len(before), 1, 1, device=before.device) >= skip)
        return torch.lerp(before, after.to(before.dtype), scale.to(before.dtype))


class ZipformerLayer(Scheduled):
    """Attention weights once, then modules that add to their input, with bypasses.

    Args:
        dim: width D.
        position_dim: width of the relative positions' embedding.
        heads, query_dim, place_dim, value_dim: attention heads, and widths of one.
        hidden: hidden width of the second feed-forward module; the first has three quarters, the
            third five quarters of it.
        kernel: width of the convolutions.
        dropout: rate in the feed-forward modules.
        causal: whether convolutions look ahead within chunks only.
        skip: probability that an utterance passes the layer by, while training.
    """

    def __init__(
        self,
        *,
        dim: int,
        position_dim: int,
        heads: int,
        query_dim: int,
        place_dim: int,
        value_dim: int,
        hidden: int,
        kernel: int,
        dropout: float | Schedule,
        causal: bool,
        skip: float | Schedule,
    ):
        super().__init__()
        # Without a use, but published checkpoints have it.
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5), requires_grad=False)
        self.bypass = Bypass(dim, skip)
        self.bypass_mid = Bypass(dim)
        self.self_attn_weights = AttentionWeights(dim, position_dim, heads, query_dim, place_dim)
        self.self_attn1 = SelfAttention(dim, heads, value_dim)
        self.self_attn2 = SelfAttention(dim, heads, value_dim)
        self.feed_forward1 = FeedForward(dim, hidden * 3 // 4, dropout)
        self.feed_forward2 = FeedForward(dim, hidden, dropout)
        self.feed_forward3 = FeedForward(dim, hidden * 5 // 4, dropout)
        self.nonlin_attention = NonlinAttention(dim, 3 * dim // 4)
        self.conv_module1 = Convolution(dim, kernel, causal)
        self.conv_module2 = Convolution(dim, kernel, causal)
        self.norm = BiasNorm(dim)
        self.balancer1 = Balancer(0.45, 0.55, 0.2, 4.0)
        self.balancer2 = Balancer(0.45, 0.55, 0.1, 4.0)
        small = Schedule((0, 0.004), (4000, 0.02))
        self.balancer_na = Balancer(0.3, 0.7, small, prob=0.05)
        small = Schedule((0, 0.0), (4000, 0.1))
        self.balancer_ff2 = Balancer(0.3, 0.7, small, 2.0, prob=0.05)
        small = Schedule((0, 0.0), (4000, 0.2))
        self.balancer_ff3 = Balancer(0.3, 0.7, small, 4.0, prob=0.05)
        self.whiten = Whiten(whitening_limit(4.0, ratio=3.0))
        self.even_attention = Schedule((0, 0.25), (4000, 0.025))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        chunk: int,
        mask: Tensor | None,
        padding: Tensor | None,
    ) -> Tensor:
        """x (N, T, D); the rest as `AttentionWeights` and `Convolution` have it."""
        before, some = x, self.some
        weights = self.self_attn_weights(x, positions, mask)
        x = x + self.feed_forward1(x)
        first = weights[:1]
        if self.training and self.chance(self.even_attention):
            first = even_weights(first.detach())
        attended = self.keep(x, MODULE_SKIP)
        x = x + some(self.balancer_na(self.nonlin_attention(x, first)), attended)
        x = x + some(self.self_attn1(x, weights), attended)
        x = x + some(self.conv_module1(x, chunk, padding), self.keep(x, MODULE_SKIP))
        x = x + some(self.balancer_ff2(self.feed_forward2(x)), self.keep(x, FEED_FORWARD_SKIP))
        x = self.bypass_mid(before, x)
        x = x + some(self.self_attn2(x, weights), attended)
        x = x + some(self.conv_module2(x, chunk, padding), self.keep(x, MODULE_SKIP))
        x = x + some(self.balancer_ff3(self.feed_forward3(x)), self.keep(x, FEED_FORWARD_SKIP))
        x = self.norm(self.balancer1(x))
        return self.whiten(self.balancer2(self.bypass(before, x)))

    def keep(self, x: Tensor, skip: Schedule) -> Tensor | None:
        """(N, 1, 1), 1 for utterances that a module is used for and 0 for others; None: all."""
        rate = self.now(skip) if self.training else 0.0
        if rate == 0.0:
            return None
        return (torch.rand(len(x), 1, 1, device=x.device) >= rate).float()

    @staticmethod
    def some(x: Tensor, keep: Tensor | None) -> Tensor:
        return x if keep is None else x * keep.to(x.dtype)

    def get_init_states(self, batch: int, left: int) -> list[Tensor]:
        """Keys (left, N, H * E), gated (1, N, left, 3 D / 4), two of values (left, N, H * E'), two
        of convolutions (N, D, kernel // 2): zeros, for N = batch.
        """
        attention, values = self.self_attn_weights, self.self_attn1.in_proj.out_features
        conv = (batch, self.norm.bias.numel(), self.conv_module1.depthwise_conv.kernel // 2)
        shapes = (
            (left, batch, attention.heads * attention.query_dim),
            (1, batch, left, self.nonlin_attention.out_proj.in_features),
            (left, batch, values),
            (left, batch, values),
            conv,
            conv,
        )
        return [self.norm.bias.new_zeros(shape) for shape in shapes]

    def streaming_forward(
        self, x: Tensor, positions: Tensor, chunk: int, mask: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `forward` for the next frames x (N, T, D), T <= chunk; mask (N, 1, left + T)."""
        key, gated, values1, values2, conv1, conv2 = states
        before = x
        weights, key = self.self_attn_weights.streaming_forward(x, positions, key, mask)
        x = x + self.feed_forward1(x)
        y, gated = self.nonlin_attention.streaming_forward(x, weights[:1], gated)
        x = x + y
        y, values1 = self.self_attn1.streaming_forward(x, weights, values1)
        x = x + y
        y, conv1 = self.conv_module1.streaming_forward(x, chunk, conv1)
        x = x + y
        x = self.bypass_mid(before, x + self.feed_forward2(x))
        y, values2 = self.self_attn2.streaming_forward(x, weights, values2)
        x = x + y
        y, conv2 = self.conv_module2.streaming_forward(x, chunk, conv2)
        x = x + y
        x = self.bypass(before, self.norm(x + self.feed_forward3(x)))
        return x, [key, gated, values1, values2, conv1, conv2]
