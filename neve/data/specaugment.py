"""SpecAugment: time warping, frequency masks and time masks on the features of a batch.

Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
Interspeech 2019; the bound of the masked share follows Park et al., "SpecAugment on large scale
datasets", ICASSP 2020. Masked values become the utterance's mean, as Lhotse and icefall do.
"""

from __future__ import annotations

import numpy as np

from neve.data.config import AugmentConfig


class SpecAugment:
    """`SpecAugment(config)(features, generator)`: one utterance, changed as the generator says."""

    def __init__(self, config: AugmentConfig):
        self.config = config

    def __call__(self, features: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return an augmented copy of (T, F) float32 features; an utterance may stay as it is."""
        return self.views(features, generator, 1)[0]

    def views(
        self, features: np.ndarray, generator: np.random.Generator, count: int
    ) -> list[np.ndarray]:
        """So many copies with masks of their own after one time warp, so that frames agree."""
        config = self.config
        features = np.array(features, dtype=np.float32)
        if len(features) < 2 or generator.random() >= config.spec_prob:
            return [features] * count
        features = warp_time(features, config.time_warp, generator)
        return [self._masked(features.copy(), generator) for _ in range(count)]

    def _masked(self, features: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Put masks on (T, F) features."""
        config = self.config
        fill = features.mean()
        frames, filters = features.shape
        for _ in range(config.freq_masks):
            width = int(generator.integers(0, min(config.freq_mask_width, filters) + 1))
            start = int(generator.integers(0, filters - width + 1))
            features[:, start : start + width] = fill
        for width in self._time_masks(frames, generator):
            start = int(generator.integers(0, frames - width + 1))
            features[start : start + width] = fill
        return features

    def _time_masks(self, frames: int, generator: np.random.Generator) -> list[int]:
        """Widths of the time masks: together at most `time_mask_share` of the frames.

        As many masks are drawn as it takes to reach that share with masks of full width, at most
        `time_masks`, so that short utterances have few and narrow ones.
        """
        config = self.config
        total = config.time_mask_share * frames
        if not config.time_masks or not config.time_mask_width or total < 1:
            return []
        masks = min(config.time_masks, int(np.ceil(total / config.time_mask_width)))
        widest = min(config.time_mask_width, int(total / masks))
        return [int(generator.integers(0, widest + 1)) for _ in range(masks)]


def warp_time(features: np.ndarray, farthest: int, generator: np.random.Generator) -> np.ndarray:
    """Move a random point of (T, F) features by up to `farthest` frames, stretching both sides.

    The point and where it goes are at least `farthest` frames from both ends (Park et al. 2019);
    features too short for that stay as they are. Frames in between are interpolated linearly.
    """
    frames = len(features)
    if farthest <= 0 or frames < 2 * farthest + 2:
        return features
    center = int(generator.integers(farthest, frames - farthest))
    moved = int(generator.integers(center - farthest + 1, center + farthest))
    if moved == center:
        return features
    moved = min(max(moved, 1), frames - 2)
    places = np.interp(np.arange(frames), [0, moved, frames - 1], [0, center, frames - 1])
    below = np.minimum(places.astype(np.int64), frames - 2)
    share = (places - below).astype(np.float32)[:, None]
    return features[below] * (1 - share) + features[below + 1] * share
