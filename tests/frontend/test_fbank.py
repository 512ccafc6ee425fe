"""The features: their agreement with Lhotse's own, their streams, their edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.frontend import LOG_FLOOR, Fbank, FeatureConfig, fbank


def speech_like(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """A gliding harmonic sound with pauses of digital silence, in [-1, 1]."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = sum(np.sin(k * phase) / k for k in range(1, 20)) / 8
    sound += 0.01 * generator.standard_normal(len(time))
    return (sound * (np.sin(2 * np.pi * 1.3 * time) > -0.3)).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_agrees_with_lhotse(rate, gain):
    """On this sound; tests/data/test_real_corpus.py has real speech, where a few are farther."""
    lhotse = pytest.importorskip("lhotse")
    samples = gain * speech_like(3.217, rate)
    theirs = lhotse.Fbank(
        lhotse.FbankConfig(
            sampling_rate=rate, num_filters=80, dither=0.0, high_freq=-400, snip_edges=False
        )
    ).extract(samples, rate)
    ours = fbank(samples, rate)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 2e-4


@pytest.mark.parametrize("length", [0, 1, 79, 80, 100, 239, 240, 400, 16000, 16079, 16080])
def test_number_of_frames_is_duration_over_shift(length):
    frames = fbank(speech_like(2)[:length], 16000)
    assert frames.shape == ((length + 80) // 160, 80)


def test_silence_is_the_floor():
    assert fbank(np.zeros(1600, dtype=np.float32), 16000) == pytest.approx(LOG_FLOOR)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 10))
def test_stream_gives_the_frames_of_the_whole_file(pieces, seed):
    samples = speech_like(sum(pieces) / 16000 + 0.01, seed=seed)[: sum(pieces)]
    extractor = Fbank()
    stream = extractor.stream()
    frames, start = [], 0
    for piece in pieces:
        frames.append(stream.accept_waveform(samples[start : start + piece], 16000))
        start += piece
    frames.append(stream.finish())
    assert np.array_equal(np.concatenate(frames), extractor(samples))


def test_a_frame_comes_as_soon_as_its_window_is_complete():
    stream = Fbank().stream()
    samples = speech_like(1)
    # Frame k is centred on sample 160 k + 80 and its window reaches 200 samples beyond.
    assert len(stream.accept_waveform(samples[:279])) == 0
    assert len(stream.accept_waveform(samples[279:280])) == 1
    assert len(stream.accept_waveform(samples[280:439])) == 0
    assert len(stream.accept_waveform(samples[439:440])) == 1


def test_an_hour_is_taken_in_blocks(monkeypatch):
    samples = speech_like(2.5)
    whole = fbank(samples, 16000)
    monkeypatch.setattr("neve.frontend.filterbank.BLOCK_SECONDS", 1)
    assert np.array_equal(fbank(samples, 16000), whole)


def test_another_rate_is_an_error_that_names_both():
    with pytest.raises(NeveError, match="8000 Hz.*16000 Hz.*features.sampling_rate"):
        Fbank()(np.zeros(100), 8000)


def test_an_empty_band_is_an_error():
    with pytest.raises(NeveError, match="features.low_freq"):
        Fbank(FeatureConfig(low_freq=7700.0))


def test_a_finished_stream_takes_no_more():
    stream = Fbank().stream()
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.accept_waveform(np.zeros(10))
