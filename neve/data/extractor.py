"""neve's features as a Lhotse feature extractor, so that Lhotse knows their type by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from lhotse.features.base import FeatureExtractor, register_extractor

from neve.frontend import Fbank, FeatureConfig

TYPE = "neve-fbank"


@dataclass
class FbankExtractorConfig(FeatureConfig):
    """`FeatureConfig` as Lhotse wants its configurations."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> FbankExtractorConfig:
        return FbankExtractorConfig(**data)


@register_extractor
class FbankExtractor(FeatureExtractor):
    """Log-mel filterbank features of `neve.frontend`, unnormalised, in Lhotse's pipelines."""

    name = TYPE
    config_type = FbankExtractorConfig

    def __init__(self, config: FbankExtractorConfig | None = None):
        super().__init__(config)
        self._fbank = Fbank(self.config)

    @property
    def frame_shift(self) -> float:
        return self.config.frame_shift

    def feature_dim(self, sampling_rate: int) -> int:
        return self.config.num_bins

    def extract(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """(T, num_bins) features of (T,) or (1, T) samples in [-1, 1]."""
        samples = np.asarray(samples)
        return self._fbank(samples.reshape(-1), sampling_rate)

    @staticmethod
    def mix(features_a: np.ndarray, features_b: np.ndarray, energy_scaling_factor_b: float):
        """Features of the sum of two uncorrelated signals, the second one's energy scaled."""
        with np.errstate(divide="ignore"):
            shift = np.log(energy_scaling_factor_b)
        return np.logaddexp(features_a, features_b + shift)

    @staticmethod
    def compute_energy(features: np.ndarray) -> float:
        """Total energy of log-mel features."""
        return float(np.sum(np.exp(features)))
