"""Time-delay networks (Waibel et al., 1989; Peddinti et al., 2015): dilated convolutions, LSTMs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neve.errors import ConfigError
from neve.models.config import ModelConfig
from neve.models.dropout import SharedDropout
from neve.models.subsampling import mask_padding


class TdnnLayer(nn.Module):
    """Convolution over time, ReLU, layer normalisation, dropout: (N, T, D) to (N, T', D')."""

    def __init__(
        self, inputs: int, dim: int, kernel: int, dilation: int, stride: int, dropout: float
    ):
        super().__init__()
        self.conv = nn.Conv1d(
            inputs, dim, kernel, stride=stride, dilation=dilation, padding=dilation * (kernel // 2)
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.dropout(self.norm(x))


class Tdnn(nn.Module):
    """A stack of dilated convolutions; the first one strides by `config.subsampling`."""

    def __init__(self, config: ModelConfig, features: int):
        super().__init__()
        if config.tdnn_kernel % 2 == 0:
            raise ConfigError(f"model.tdnn_kernel={config.tdnn_kernel} must be odd")
        if not config.tdnn_dilations:
            raise ConfigError("model.tdnn_dilations must name at least one dilation")
        self.dim = config.dim
        self.factor = config.subsampling
        dilations = config.tdnn_dilations
        self.layers = nn.ModuleList(
            TdnnLayer(
                features if i == 0 else config.dim,
                config.dim,
                config.tdnn_kernel,
                dilations[min(i, len(dilations) - 1)],
                self.factor if i == 0 else 1,
                config.dropout,
            )
            for i in range(config.layers)
        )

    def lengths(self, lengths: Tensor) -> Tensor:
        """Encoder frames for (N,) feature frames."""
        return torch.div(lengths + self.factor - 1, self.factor, rounding_mode="floor")

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """(N, T, F) features and (N,) lengths to every layer's (N, T', D) output and lengths."""
        outputs = []
        for layer in self.layers:
            x = layer(mask_padding(x, lengths))
            if not outputs:
                lengths = self.lengths(lengths)
            outputs.append(x)
        return outputs, lengths


class LstmLayer(nn.Module):
    """An LSTM over time, added to its input and normalised: (N, T, D) to the same shape."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.lstm(x)[0]))


class TdnnLstm(Tdnn):
    """`config.lstm_layers` LSTMs on top of a `Tdnn` (Peddinti et al., 2018, "Low latency acoustic
    modeling using temporal convolution and LSTMs", IEEE Signal Processing Letters).

    They look back alone: what the model sees of the future is what the convolutions see.
    """

    def __init__(self, config: ModelConfig, features: int):
        super().__init__(config, features)
        if config.lstm_layers < 1:
            raise ConfigError(f"model.lstm_layers={config.lstm_layers} must be at least 1")
        self.recurrent = nn.ModuleList(
            LstmLayer(config.dim, config.dropout) for _ in range(config.lstm_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """As `Tdnn.forward`; the LSTMs' outputs follow those of the convolutions."""
        outputs, lengths = super().forward(x, lengths)
        for layer in self.recurrent:
            outputs.append(layer(outputs[-1]))
        return outputs, lengths
