"""The Zipformer encoder (Yao et al., 2023, arXiv:2310.11230).

Stacks of layers that work at several rates, between 50 frames a second and an eighth of that. As a
streaming model it attends to chunks of frames and to some before; frames are counted at 50 a
second (every second feature frame) throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.models.config import ModelConfig, ZipformerConfig
from neve.models.scheduled import Schedule, Scheduled
from neve.models.zipformer_attention import relative_positions
from neve.models.zipformer_layer import Bypass, ZipformerLayer
from neve.models.zipformer_subsampling import CONTEXT, LOSS, ZipformerSubsampling

POSITION_DROPOUT = 0.15
CHANNEL_MASK = 0.125  # share of utterances whose last channels are dropped, one half or both
WARMUP = 4000  # batches that the schedules of the published model count as warm-up
STATES = 6  # per layer


class Downsample(nn.Module):
    """Weighted mean of each `factor` frames, with learnt weights; the last frame is repeated."""

    def __init__(self, factor: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) to (N, ceil(T / factor), D)."""
        factor = len(self.bias)
        missing = -x.shape[1] % factor
        if missing:
            x = torch.cat([x, x[:, -1:].expand(-1, missing, -1)], dim=1)
        weights = self.bias.softmax(dim=0).to(x.dtype)
        return torch.einsum("ntfd,f->ntd", x.unflatten(1, (-1, factor)), weights)


class Stack(Scheduled):
    """Layers at one rate: their input is averaged to it and their output repeated.

    Args:
        layers: the layers.
        factor: frames that become one.
        dim: width D.
        position_dim: width of the relative positions.
    """

    def __init__(self, layers: list[ZipformerLayer], factor: int, dim: int, position_dim: int):
        super().__init__()
        self.factor, self.position_dim = factor, position_dim
        self.layers = nn.ModuleList(layers)
        self.downsample = Downsample(factor) if factor > 1 else None
        self.out_combiner = Bypass(dim) if factor > 1 else None

    def forward(
        self,
        x: Tensor,
        chunk: int,
        left_chunks: int,
        padding: Tensor | None,
        channels: Tensor | None,
    ) -> Tensor:
        """x (N, T, D); padding (N, T), true past the end; channels (N, 1, D), 0 where dropped."""
        before, chunk = x, chunk // self.factor
        if self.downsample is not None:
            x = self.downsample(x)
            padding = None if padding is None else padding[:, :: self.factor]
        positions = relative_positions(x.shape[1], 0, self.position_dim, x.device)
        if self.training:
            positions = F.dropout(positions, POSITION_DROPOUT)
        mask = chunk_mask(x.shape[1], chunk, left_chunks, x.device) if chunk else None
        if padding is not None:
            mask = padding[:, None, :] if mask is None else padding[:, None, :] | mask
            padding = padding[:, :, None]
        if channels is not None:
            channels = channels.to(x.dtype)
            x = x * channels
        for layer in self.layers:
            x = layer(x, positions, chunk, mask, padding)
            if channels is not None:
                x = x * channels
        return self.combine(before, x)

    def combine(self, before: Tensor, x: Tensor) -> Tensor:
        if self.out_combiner is None:
            return x
        x = x.repeat_interleave(self.factor, dim=1)[:, : before.shape[1]]
        return self.out_combiner(before, x)

    def streaming_forward(
        self, x: Tensor, chunk: int, past: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `forward` for one chunk; past (N, left), true where there was no frame yet."""
        before = x
        if self.downsample is not None:
            x = self.downsample(x)
        past = past[:, :: self.factor]
        positions = relative_positions(x.shape[1], past.shape[1], self.position_dim, x.device)
        mask = F.pad(past, (0, x.shape[1]))[:, None, :]
        following = []
        for i, layer in enumerate(self.layers):
            own = states[i * STATES : (i + 1) * STATES]
            x, own = layer.streaming_forward(x, positions, chunk // self.factor, mask, own)
            following += own
        return self.combine(before, x), following


def chunk_mask(frames: int, chunk: int, left: int, device: torch.device) -> Tensor:
    """(frames, frames), true where a query's row may not attend to a key's column.

    A frame sees its own chunk and `left` chunks before it, all before it if `left` is negative.
    """
    number = torch.div(torch.arange(frames, device=device), chunk, rounding_mode="floor")
    ahead = number[None, :] - number[:, None]
    mask = ahead > 0
    return mask if left < 0 else mask | (ahead < -left)


class Zipformer(Scheduled):
    """Features to one vector of the widest stack's width for every 4 of them."""

    def __init__(self, config: ModelConfig, features: int):
        super().__init__()
        own = config.zipformer
        stacks = _stacks(own)
        self.dims, self.unmasked = stacks["encoder_dims"], stacks["unmasked_dims"]
        self.dim = max(self.dims)
        dropout = Schedule((0, min(config.dropout + 0.2, 0.9)), (20000, config.dropout))
        dropout = dropout if config.dropout else 0.0
        self.subsampling = ZipformerSubsampling(
            features, self.dims[0], own.subsampling_channels, dropout
        )
        step = WARMUP / (len(self.dims) + 1)
        self.stacks = nn.ModuleList()
        for i, dim in enumerate(self.dims):
            layers, factor = stacks["num_encoder_layers"][i], stacks["downsampling_factors"][i]
            self.stacks.append(
                Stack(
                    [
                        ZipformerLayer(
                            dim=dim,
                            position_dim=own.pos_dim,
                            heads=stacks["num_heads"][i],
                            query_dim=own.query_head_dim,
                            place_dim=own.pos_head_dim,
                            value_dim=own.value_head_dim,
                            hidden=stacks["feedforward_dims"][i],
                            kernel=stacks["kernels"][i],
                            dropout=dropout,
                            causal=own.causal,
                            skip=_skip((i + 1 + j / layers) * step, step / layers, factor),
                        )
                        for j in range(layers)
                    ],
                    factor,
                    dim,
                    own.pos_dim,
                )
            )
        self.downsample_output = Downsample(2)
        self.causal = own.causal
        self.chunks, self.lefts = list(own.chunk_sizes), list(own.left_context_frames)
        if self.causal:
            for name, values in (("chunk_sizes", self.chunks), ("left_context_frames", self.lefts)):
                if not values or any(value < 1 and value != -1 for value in values):
                    raise ConfigError(
                        f"model.zipformer.{name}={values} must be positive numbers of frames or -1"
                    )
            for chunk in self.chunks:
                self.check_chunk(chunk)
            self.set_chunk(self.chunks[-1], self.lefts[-1])
        for module in self.modules():
            if isinstance(module, Scheduled):
                module.stretch = own.warmup_batches / WARMUP

    def check_chunk(self, chunk: int) -> None:
        """ConfigError unless chunks of so many frames are whole at every stack's rate."""
        for factor in (2, *(stack.factor for stack in self.stacks)):
            if chunk > 0 and chunk % factor:
                raise ConfigError(
                    f"chunks of {chunk} frames: the size must be a multiple of 2 and of every "
                    "number in model.zipformer.downsampling_factors"
                )

    def set_chunk(self, chunk: int, left: int) -> None:
        """Chunk and left context in frames of a streaming model's evaluation; 0 or -1: all."""
        self.check_chunk(chunk)
        self.evaluated = max(chunk, 0), left if left > 0 else -1

    def lengths(self, lengths: Tensor) -> Tensor:
        """Encoder frames, at least one, for (N,) feature frames."""
        return torch.div(self.subsampling.lengths(lengths) + 1, 2, rounding_mode="floor")

    def chunk(self) -> tuple[int, int]:
        """Chunk size (0: the whole utterance) and chunks before it to attend to (-1: all).

        Drawn from those that the configuration lists while training; else as `set_chunk` had it.
        """
        if not self.causal:
            return 0, -1
        chunk, left = self.evaluated
        if self.training:
            chunk, left = (
                each[int(torch.randint(len(each), ()))] for each in (self.chunks, self.lefts)
            )
        if chunk < 1:
            return 0, -1
        return chunk, -1 if left == -1 else max(left // chunk, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a batch.

        Args:
            x: (N, T, F) features, N * T > 0; those past an utterance's length hardly matter (the
                convolutions in front see the first of them).
            lengths: (N,) feature frames of each utterance.

        Returns:
            A list of the output alone, (N, T', D), and (N,) encoder frames.
        """
        x, lengths = self.subsampling(x), self.subsampling.lengths(lengths)
        padding = None
        if int(lengths.min()) < x.shape[1]:
            padding = torch.arange(x.shape[1], device=x.device)[None, :] >= lengths[:, None]
        chunk, left_chunks = self.chunk()
        outputs = []
        for stack, dim, channels in zip(self.stacks, self.dims, self.channel_masks(x)):
            x = _to_width(x, dim)
            x = stack(x, chunk, left_chunks, padding, channels)
            outputs.append(x)
        lengths = torch.div(lengths + 1, 2, rounding_mode="floor")
        return [self.downsample_output(self.full_width(outputs))], lengths

    def channel_masks(self, x: Tensor) -> list[Tensor | None]:
        """For each stack (N, 1, D), 0 for channels that an utterance goes without, or None.

        All but the first `unmasked_dims` are dropped in some of a training's utterances, a half of
        them in some more: the narrow part of the encoder learns to work alone.
        """
        if not self.training or all(u >= d for u, d in zip(self.unmasked, self.dims)):
            return [None] * len(self.dims)
        keep = torch.rand(2, len(x), 1, 1, device=x.device) >= CHANNEL_MASK
        first, second = keep[0], keep[0] & keep[1]
        masks = []
        for dim, unmasked in zip(self.dims, self.unmasked):
            channel = torch.arange(dim, device=x.device)
            half = unmasked + (dim - unmasked) // 2
            masks.append((channel < unmasked) | (channel < half) & first | second)
        return masks

    def full_width(self, outputs: list[Tensor]) -> Tensor:
        """The last stack's output, and channels it lacks from the last stack that has them."""
        pieces, width = [outputs[-1]], self.dims[-1]
        for output in outputs[-2::-1]:
            if output.shape[-1] > width:
                pieces.append(output[..., width:].to(pieces[0].dtype))
                width = output.shape[-1]
        return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]

    def streaming_features(self, chunk: int) -> int:
        """Feature frames of a chunk's input; the next input starts 2 * chunk frames later."""
        return 2 * (chunk + CONTEXT) + LOSS

    def streaming_inputs(self, frames: int, chunk: int) -> list[tuple[int, int, bool]]:
        """How to feed `frames` feature frames: begin, end and whether it is final of each input.

        What is final makes no more than a chunk, so there may be an input more than it seems.
        """
        inputs = []
        for begin in range(0, max(frames, 1), 2 * chunk):
            end = begin + self.streaming_features(chunk)
            if (frames - begin - LOSS) // 2 <= chunk:
                return [*inputs, (begin, frames, True)]
            inputs.append((begin, end, False))
        return inputs

    def get_init_states(self, batch: int, left: int) -> list[Tensor]:
        """States before the first chunk, for `batch` streams.

        Args:
            batch: number of streams N.
            left: frames before a chunk that it attends to, a multiple of every stack's factor.

        Returns:
            Of every layer in order the six of `ZipformerLayer.get_init_states`; then what the
            convolutions in front keep, (N, C, 3, F'), and (N,) int64, frames so far.
        """
        states = []
        for stack in self.stacks:
            if left < stack.factor or left % stack.factor:
                raise ConfigError(
                    f"left context of {left} frames: streaming needs a positive multiple of every "
                    "number in model.zipformer.downsampling_factors"
                )
            for layer in stack.layers:
                states += layer.get_init_states(batch, left // stack.factor)
        states.append(self.subsampling.get_init_state(batch))
        count = torch.zeros(batch, dtype=torch.int64, device=states[0].device)
        return [*states, count]

    def streaming_forward(
        self, x: Tensor, states: list[Tensor], chunk: int, final: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode the next chunk of every stream.

        Args:
            x: (N, `streaming_features(chunk)`, F) features; the last input is shorter, as
                `streaming_inputs` has it.
            states: of `get_init_states` or the call before.
            chunk: frames of a chunk; 0: x is a whole utterance.
            final: nothing follows x.

        Returns:
            (N, chunk / 2, D), and the next states.

        Raises:
            ConfigError: x has frames for more than one chunk.
        """
        made = (x.shape[1] - LOSS) // 2 - (0 if final else CONTEXT)
        if chunk and made > chunk:
            raise ConfigError(
                f"{x.shape[1]} feature frames are too many for a chunk of {chunk}: see "
                "Zipformer.streaming_inputs"
            )
        x, front = self.subsampling.streaming_forward(x, states[-2], final)
        count, left = states[-1], states[0].shape[0] * self.stacks[0].factor
        past = torch.arange(left - 1, -1, -1, device=x.device)[None, :] >= count[:, None]
        following, outputs, done = [], [], 0
        for stack, dim in zip(self.stacks, self.dims):
            own = states[done : done + STATES * len(stack.layers)]
            x, own = stack.streaming_forward(_to_width(x, dim), chunk, past, own)
            following, done = following + own, done + len(own)
            outputs.append(x)
        following += [front, count + x.shape[1]]
        return self.downsample_output(self.full_width(outputs)), following


def _to_width(x: Tensor, dim: int) -> Tensor:
    """The first `dim` channels, zeros for those that x lacks."""
    return x if x.shape[-1] == dim else F.pad(x, (0, dim - x.shape[-1]))


def _skip(begin: float, length: float, factor: int) -> Schedule:
    """How often an utterance passes a layer by: less after the layer's turn to warm up."""
    return Schedule((begin, 0.2), (begin + length, 0.035 * factor**0.5))


def _stacks(config: ZipformerConfig) -> dict[str, list[int]]:
    """The settings that each stack has of its own; a single number is for all stacks."""
    count = len(config.encoder_dims)
    settings = {}
    for name in (
        "downsampling_factors",
        "num_encoder_layers",
        "encoder_dims",
        "unmasked_dims",
        "num_heads",
        "feedforward_dims",
        "kernels",
    ):
        values = list(getattr(config, name)) or list(config.encoder_dims)
        if len(values) == 1:
            values = values * count
        if len(values) != count or min(values) < 1:
            raise ConfigError(
                f"model.zipformer.{name}={values} must be positive numbers, one for all stacks or "
                f"{count} as in model.zipformer.encoder_dims"
            )
        settings[name] = values
    return settings
