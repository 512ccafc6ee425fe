"""Resampling, normalisation and the file that keeps both."""

import numpy as np
import pytest
import soundfile

from neve.errors import NeveError
from neve.frontend import FeatureConfig, Frontend, Statistics, fbank, read_audio, resample


def tone(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(
        np.float32
    )


def noise(length: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


@pytest.mark.parametrize("source,target", [(8000, 16000), (16000, 8000), (44100, 16000)])
def test_resampling_keeps_a_tone(source, target):
    ours, ideal = resample(tone(1000, source), source, target), tone(1000, target)
    assert ours.dtype == np.float32 and len(ours) == len(ideal)
    inner = slice(target // 10, -target // 10)
    assert np.abs(ours[inner] - ideal[inner]).max() < 5e-3


def test_resampling_removes_what_the_lower_rate_cannot_carry():
    inner = slice(800, -800)  # the tone starts and ends abruptly, which is not at 6000 Hz
    assert np.abs(resample(tone(6000, 16000), 16000, 8000)[inner]).max() < 5e-3


def test_global_normalisation_makes_the_training_set_standard():
    utterances = [fbank(noise(length, length), 16000) for length in (16000, 24000, 3000)]
    statistics = Statistics(80)
    for features in utterances[:2]:
        statistics.add(features)
    statistics.merge(Statistics(80).add(utterances[2]))
    frontend = Frontend(FeatureConfig(cmvn="global"), *statistics.mean_and_deviation())
    together = np.concatenate([frontend.normalise(features) for features in utterances])
    assert together.mean(axis=0) == pytest.approx(np.zeros(80), abs=1e-4)
    assert together.std(axis=0) == pytest.approx(np.ones(80), abs=1e-4)
    whole, stream = frontend(noise(8000), 16000), frontend.stream()
    parts = [stream.accept_waveform(noise(8000)[:5000]), stream.accept_waveform(noise(8000)[5000:])]
    assert np.array_equal(np.concatenate([*parts, stream.finish()]), whole)


def test_utterance_normalisation_makes_each_utterance_standard_and_cannot_stream():
    frontend = Frontend(FeatureConfig(cmvn="utterance"))
    features = frontend(noise(16000), 16000)
    assert features.mean(axis=0) == pytest.approx(np.zeros(80), abs=1e-4)
    assert features.std(axis=0) == pytest.approx(np.ones(80), abs=1e-4)
    assert np.array_equal(frontend.padding, np.zeros(80))
    assert frontend(np.zeros(0, dtype=np.float32), 16000).shape == (0, 80)
    with pytest.raises(NeveError, match="global or none"):
        frontend.stream()


def test_silence_does_not_divide_by_zero():
    features = Frontend(FeatureConfig(cmvn="utterance"))(np.zeros(1600, dtype=np.float32), 16000)
    assert np.isfinite(features).all()


def test_save_and_load(tmp_path):
    mean, deviation = Statistics(40).add(noise(4000).reshape(100, 40)).mean_and_deviation()
    config = FeatureConfig(sampling_rate=8000, num_bins=40, cmvn="global")
    saved = Frontend(config, mean, deviation)
    saved.save(tmp_path)
    loaded = Frontend.load(tmp_path)
    assert loaded.config == config
    assert np.array_equal(loaded(noise(8000), 16000), saved(noise(8000), 16000))
    assert np.array_equal(loaded.padding, saved.padding)


def test_global_without_statistics_is_an_error():
    with pytest.raises(NeveError, match="frontend.json"):
        Frontend(FeatureConfig(cmvn="global"))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 99, "features": {}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "frontend.json").write_text(content)
    with pytest.raises(NeveError, match="frontend.json.*compute features again"):
        Frontend.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NeveError, match="frontend.json: there is no such file"):
        Frontend.load(tmp_path)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "sph"])
def test_read_audio_formats(tmp_path, extension):
    path = tmp_path / f"tone.{extension}"
    soundfile.write(path, tone(440, 16000), 16000, format="NIST" if extension == "sph" else None)
    samples, rate = read_audio(path)
    assert rate == 16000 and len(samples) == 16000 and samples.dtype == np.float32
    assert np.abs(samples[4000:-4000] - tone(440, 16000)[4000:-4000]).max() < 0.05
    samples, rate = read_audio(path, sampling_rate=8000)
    assert rate == 8000 and len(samples) == 8000


def test_channels_are_averaged_or_chosen(tmp_path):
    path = tmp_path / "stereo.wav"
    stereo = np.stack([tone(440, 8000), noise(8000)], axis=1)
    soundfile.write(path, stereo, 8000, subtype="FLOAT")
    assert read_audio(path)[0] == pytest.approx(stereo.mean(axis=1), abs=1e-6)
    assert np.array_equal(read_audio(path, channel=1)[0], stereo[:, 1])
    with pytest.raises(NeveError, match="2 channel.*no channel 2"):
        read_audio(path, channel=2)


def test_audio_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(NeveError, match="gone.wav: there is no such audio file"):
        read_audio(tmp_path / "gone.wav")
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(NeveError, match="text.wav: cannot be read as audio"):
        read_audio(tmp_path / "text.wav")
