"""SpecAugment: masks within their bounds, a warp that keeps both ends, all from the generator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.data import AugmentConfig, SpecAugment
from neve.data.specaugment import warp_time


def features(frames: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, 80)).astype(np.float32) - 8


def masked(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which frames, which filters are the mean throughout."""
    filled = after == before.mean()
    return filled.all(axis=1), filled.all(axis=0)


def runs(flags: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(edges[1::2] - edges[::2])


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 600), st.integers(0, 1000), st.sampled_from([0.05, 0.15, 0.5]))
def test_masks_keep_their_bounds(frames, seed, share):
    config = AugmentConfig(time_warp=0, time_mask_share=share, spec_prob=1.0)
    before = features(frames, seed)
    after = SpecAugment(config)(before, np.random.default_rng(seed))
    times, filters = masked(before, after)
    assert after.shape == before.shape and after.dtype == np.float32
    assert times.sum() <= share * frames
    assert filters.sum() <= config.freq_masks * config.freq_mask_width
    assert len(runs(filters)) <= config.freq_masks
    assert len(runs(times)) <= config.time_masks
    assert max(runs(filters), default=0) <= config.freq_masks * config.freq_mask_width
    elsewhere = ~(times[:, None] | filters[None, :])
    assert np.array_equal(after[elsewhere], before[elsewhere])


def test_masks_are_as_frequent_as_configured():
    config = AugmentConfig(time_warp=0, spec_prob=1.0)
    augment, before = SpecAugment(config), features(1000)
    covered = np.array(
        [
            [flags.mean() for flags in masked(before, augment(before, np.random.default_rng(seed)))]
            for seed in range(300)
        ]
    ).mean(axis=0)
    # Widths are uniform, so that half of the bound is covered, less where masks overlap.
    assert 0.06 < covered[0] < 0.076
    assert 0.26 < covered[1] < 0.34


def test_counts_alone_bound_the_masks_where_the_share_is_one():
    config = AugmentConfig(time_warp=0, freq_masks=0, time_masks=2, time_mask_share=1.0)
    widths = SpecAugment(config)._time_masks(1000, np.random.default_rng(0))
    assert len(widths) == 2 and max(widths) <= 100


def test_probability_and_absence():
    before = features()
    for keys in ({"spec_prob": 0.0}, {"freq_masks": 0, "time_masks": 0, "time_warp": 0}):
        after = SpecAugment(AugmentConfig(**keys))(before, np.random.default_rng(0))
        assert np.array_equal(before, after) and after is not before
    half = SpecAugment(AugmentConfig(spec_prob=0.5))
    same = sum(
        np.array_equal(half(before, np.random.default_rng(seed)), before) for seed in range(200)
    )
    assert 70 < same < 130


def test_the_generator_decides():
    augment, before = SpecAugment(AugmentConfig(spec_prob=1.0)), features()
    one, again, other = (augment(before, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 100), st.integers(0, 1000))
def test_warp_moves_time_monotonously_and_keeps_the_ends(frames, farthest, seed):
    ramp = np.repeat(np.arange(frames, dtype=np.float32)[:, None], 4, axis=1)
    warped = warp_time(ramp, farthest, np.random.default_rng(seed))
    assert warped.shape == ramp.shape
    assert np.allclose(warped[[0, -1]], ramp[[0, -1]], atol=1e-3)
    assert (np.diff(warped[:, 0]) >= -1e-3).all()
    assert np.abs(warped - ramp).max() <= farthest + 1e-3
    if farthest == 0 or frames < 2 * farthest + 2:
        assert np.array_equal(warped, ramp)


def test_warp_really_warps():
    ramp = np.repeat(np.arange(400, dtype=np.float32)[:, None], 2, axis=1)
    moved = [
        np.abs(warp_time(ramp, 80, np.random.default_rng(seed)) - ramp).max() for seed in range(50)
    ]
    assert np.mean(moved) == pytest.approx(40, rel=0.25)
