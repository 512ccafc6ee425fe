"""Attention of Zipformer: weights that several modules of a layer share, and two of these modules.

Weights are (H, N, T, K): how much each of H heads, at each of T frames, takes of K frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neve.models.balance import Balancer, Whiten, length, whitening_limit
from neve.models.scheduled import Schedule, Scheduled
from neve.models.zipformer_subsampling import scale_initial

MASKED = -1000.0  # score of what must not be attended to


def relative_positions(length: int, left: int, dim: int, device: torch.device) -> Tensor:
    """Embeddings of the distances key - query, -(length + left - 1)..length - 1, one a row.

    (2 * length + left - 1, dim), float32: cosines and sines of multiples of an angle that is the
    arctangent of the distance, compressed logarithmically; the last column is 1. Near distances
    are told apart finely, far ones roughly, and none is out of range.
    """
    x = torch.arange(1 - length - left, length, device=device, dtype=torch.float32)
    width = dim**0.5
    x = width * x.sign() * ((x.abs() + width).log() - math.log(width))
    angles = (x * (2.0 * math.pi / dim)).atan()
    angles = angles[:, None] * torch.arange(1, dim // 2 + 1, device=device)
    table = torch.stack([angles.cos(), angles.sin()], dim=2).flatten(1)
    table[:, -1] = 1.0
    return table


def by_distance(scores: Tensor, keys: int) -> Tensor:
    """Pick score [i, T - 1 - i + j] for query i and key j: a view (..., T, keys).

    scores: (..., T, T - 1 + keys), contiguous, for each query the distances in ascending order.
    """
    length, width = scores.shape[-2:]
    if length == 1:
        return scores
    flat = scores.flatten(-2)[..., length - 1 : length - 1 + length * (width - 1)]
    return flat.unflatten(-1, (length, width - 1))[..., :keys]


def _scores(query: Tensor, key: Tensor, place: Tensor, positions: Tensor) -> Tensor:
    """query (H, N, T, E), key (H, N, E, K), place (H, N, T, P), positions (H, P, T - 1 + K)."""
    by_place = (place.flatten(1, 2) @ positions).unflatten(1, place.shape[1:3])
    shifted = by_distance(by_place, key.shape[3]).flatten(0, 1)
    scores = torch.baddbmm(shifted, query.flatten(0, 1), key.flatten(0, 1))
    return scores.unflatten(0, query.shape[:2])


class _Weights(torch.autograd.Function):
    """Softmax of masked scores; of all that is T times K it keeps the weights alone."""

    @staticmethod
    def forward(ctx, query, key, place, positions, mask, limit):
        scores = _scores(query, key, place, positions)
        ctx.sign = None
        if limit is not None:
            over = scores.abs() > limit
            if bool(over.any()):
                ctx.sign = scores.sign() * over
        if mask is not None:
            scores.masked_fill_(mask, MASKED)
        weights = scores.softmax(dim=-1).to(query.dtype)
        ctx.save_for_backward(query, key, place, positions, mask, weights)
        return weights

    @staticmethod
    def backward(ctx, grad):
        query, key, place, positions, mask, weights = ctx.saved_tensors
        grad = torch.ops.aten._softmax_backward_data(grad, weights, -1, weights.dtype)
        if ctx.sign is not None:
            size = length(grad) * (0.1 * grad.numel() ** -0.5)
            grad.add_(ctx.sign * size.to(grad.dtype))
        if mask is not None and mask.shape[-2] > 1:  # there may be rows that are masked wholly
            grad.masked_fill_(mask, 0.0)
        grad_query = grad @ key.transpose(2, 3)
        grad_key = query.transpose(2, 3) @ grad
        spread = grad.new_zeros(*place.shape[:3], positions.shape[2])
        by_distance(spread, key.shape[3]).copy_(grad)
        spread, flat = spread.flatten(1, 2), place.flatten(1, 2)
        grad_place = (spread @ positions.transpose(1, 2)).view_as(place)
        grad_positions = flat.transpose(1, 2) @ spread
        return grad_query, grad_key, grad_place, grad_positions, None, None


class AttentionWeights(Scheduled):
    """Attention weights from keys, queries and relative positions.

    Args:
        dim: input width D.
        position_dim: width of `relative_positions`.
        heads: number of heads H.
        query_dim: width of a head's queries and keys.
        place_dim: width of what a head asks of positions.
    """

    def __init__(self, dim: int, position_dim: int, heads: int, query_dim: int, place_dim: int):
        super().__init__()
        self.heads, self.query_dim, self.place_dim = heads, query_dim, place_dim
        width = heads * (2 * query_dim + place_dim)
        self.in_proj = scale_initial(nn.Linear(dim, width), query_dim**-0.25)
        self.linear_pos = scale_initial(nn.Linear(position_dim, heads * place_dim, False), 0.05)
        self.balance_keys = Balancer(0.4, 0.6, 0.0, 100.0, prob=0.025)
        self.whiten_keys = Whiten(whitening_limit(3.0), groups=heads, grad_scale=0.025)
        self.skip_positions = Schedule((0, 0.5), (4000, 0.0))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """x (N, T, D), positions of `relative_positions`; mask true where not to attend.

        mask: (T, T), (N, 1, T) or (N, T, T).
        """
        query, key, place = self.project(x)
        key = self.whiten_keys(self.balance_keys(key))
        if self.training and self.chance(self.skip_positions):
            place = place * 0.0
        return self.weights(query, key, place, positions, mask)

    def streaming_forward(
        self, x: Tensor, positions: Tensor, cached_key: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `forward` with keys of L earlier frames (L, N, H * E), mask (N, 1, L + T).

        Returns the weights (H, N, T, L + T) and the next cache.
        """
        query, key, place = self.project(x)
        key = torch.cat([cached_key.transpose(0, 1), key], dim=1)
        weights = self.weights(query, key, place, positions, mask)
        return weights, key[:, key.shape[1] - cached_key.shape[0] :].transpose(0, 1)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys (N, T, H * E) and what is asked of positions (N, T, H * P)."""
        width = self.heads * self.query_dim
        return self.in_proj(x).split([width, width, self.heads * self.place_dim], dim=2)

    def weights(
        self, query: Tensor, key: Tensor, place: Tensor, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        positions = self.linear_pos(positions.to(self.linear_pos.weight.dtype))
        positions = positions.unflatten(1, (self.heads, self.place_dim))
        inputs = (
            query.unflatten(2, (self.heads, -1)).permute(2, 0, 1, 3),
            key.unflatten(2, (self.heads, -1)).permute(2, 0, 3, 1),
            place.unflatten(2, (self.heads, -1)).permute(2, 0, 1, 3),
            positions.permute(1, 2, 0),
        )
        if torch.is_grad_enabled() and query.requires_grad:
            limit = 25.0 if self.training and self.chance(0.1) else None
            return _Weights.apply(*inputs, mask, limit)
        scores = _scores(*inputs)
        if mask is not None:
            scores = scores.masked_fill(mask, MASKED)
        return scores.softmax(dim=-1).to(query.dtype)


class SelfAttention(nn.Module):
    """Values summed by given weights, between two projections."""

    def __init__(self, dim: int, heads: int, value_dim: int):
        super().__init__()
        self.in_proj = nn.Linear(dim, heads * value_dim)
        self.out_proj = scale_initial(nn.Linear(heads * value_dim, dim), 0.05)
        self.whiten = Whiten(whitening_limit(7.5, ratio=3.0))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x (N, T, D), weights (H, N, T, T)."""
        return self.attend(self.in_proj(x), weights)

    def streaming_forward(
        self, x: Tensor, weights: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """weights (H, N, T, L + T), cache of values (L, N, H * E); returns the next cache too."""
        values = torch.cat([cache.transpose(0, 1), self.in_proj(x)], dim=1)
        cache = values[:, values.shape[1] - cache.shape[0] :].transpose(0, 1)
        return self.attend(values, weights), cache

    def attend(self, values: Tensor, weights: Tensor) -> Tensor:
        values = values.unflatten(2, (len(weights), -1)).permute(2, 0, 1, 3)
        x = (weights @ values).permute(1, 2, 0, 3).flatten(2)
        return self.whiten(self.out_proj(x))


class NonlinAttention(nn.Module):
    """Like `SelfAttention`, with one head, and gates before and after the sum.

    Three projections s, x, y make W(tanh(s) * x) * y, W the sum over time; the paper's section
    3.2.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.in_proj = nn.Linear(dim, 3 * hidden)
        self.balancer = Balancer(
            Schedule((0, 0.25), (20000, 0.05)), Schedule((0, 0.75), (20000, 0.95)), 0.5, 5.0
        )
        self.whiten1 = Whiten(whitening_limit(5.0))
        self.out_proj = scale_initial(nn.Linear(hidden, dim), 0.05)
        self.whiten2 = Whiten(whitening_limit(5.0, ratio=3.0))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x (N, T, D), weights (1, N, T, T)."""
        x, gate = self.gated(x)
        return self.attend(x, weights, gate)

    def streaming_forward(
        self, x: Tensor, weights: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """weights (1, N, T, L + T), cache (1, N, L, hidden); returns the next cache too."""
        x, gate = self.gated(x)
        x = torch.cat([cache[0], x], dim=1)
        return self.attend(x, weights, gate), x[None, :, x.shape[1] - cache.shape[2] :]

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, x, gate = self.in_proj(x).chunk(3, dim=-1)
        return self.whiten1(x) * torch.tanh(self.balancer(s)), gate

    def attend(self, x: Tensor, weights: Tensor, gate: Tensor) -> Tensor:
        return self.whiten2(self.out_proj((weights[0] @ x) * gate))


def even_weights(weights: Tensor) -> Tensor:
    """Equal weights wherever there are any."""
    some = (weights > 0.0).to(weights.dtype)
    return some / some.sum(dim=-1, keepdim=True)
