"""Noise at the ratio asked for, rooms that decay as asked for, the band of a telephone."""

import numpy as np
import pytest
import soundfile

from neve.data import AugmentConfig, add_noise, reverberate, room_response, telephone
from neve.data.augment import Augmenter, generator_of, list_noises, power
from neve.errors import NeveError

RATE = 16000


def white(length: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 12.5, 30.0])
@pytest.mark.parametrize("length", [1000, 16000, 50000])
def test_noise_has_the_power_that_was_asked_for(snr, length):
    speech = tone(440)
    mixed = add_noise(speech, white(length, seed=1), snr, np.random.default_rng(0))
    assert mixed.dtype == np.float32 and mixed.shape == speech.shape
    added = mixed.astype(np.float64) - speech
    assert 10 * np.log10(power(speech) / power(added)) == pytest.approx(snr, abs=0.01)


def test_noise_starts_at_a_random_place_and_silence_stays():
    speech = tone(440)
    one, two = (add_noise(speech, white(9999), 10, np.random.default_rng(seed)) for seed in (1, 2))
    assert not np.allclose(one, two)
    silence = np.zeros(100, dtype=np.float32)
    assert np.array_equal(add_noise(silence, white(100), 10, np.random.default_rng(0)), silence)


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.0])
def test_a_room_decays_by_60_db_in_the_time_asked_for(rt60):
    """Schroeder's backward integration: slope of the energy that is left, fitted -5 to -25 dB."""
    slopes = []
    for seed in range(20):
        response = room_response(rt60, RATE, np.random.default_rng(seed))
        left = np.cumsum(response[:0:-1] ** 2)[::-1]
        level = 10 * np.log10(left / left[0])
        fitted = np.flatnonzero((level < -5) & (level > -25))
        slopes.append(np.polyfit(fitted / RATE, level[fitted], 1)[0])
    assert -60 / np.mean(slopes) == pytest.approx(rt60, rel=0.05)


@pytest.mark.parametrize("ratio", [-3.0, 0.0, 10.0])
def test_direct_sound_to_reverberation(ratio):
    response = room_response(0.4, RATE, np.random.default_rng(3), ratio)
    assert response[0] == 1
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(ratio)


def test_reverberation_keeps_length_power_and_time():
    click = np.zeros(8000, dtype=np.float32)
    click[1000] = 0.5
    result = reverberate(click, room_response(0.3, RATE, np.random.default_rng(0), 3.0))
    assert result.dtype == np.float32 and len(result) == 8000
    assert power(result) == pytest.approx(power(click), rel=1e-5)
    assert np.abs(result).argmax() == 1000 and np.abs(result[:1000]).max() < 1e-6


def test_telephone_passes_its_band_alone():
    gains = {}
    for frequency in (100, 200, 500, 1000, 3000, 3800, 6000):
        inner = slice(4000, -4000)
        result = telephone(0.5 * tone(frequency), RATE)
        assert len(result) == RATE and result.dtype == np.float32
        gains[frequency] = 10 * np.log10(
            max(power(result[inner]), 1e-12) / power(0.5 * tone(frequency)[inner])
        )
    assert all(abs(gains[frequency]) < 1 for frequency in (500, 1000, 3000))
    assert all(gains[frequency] < -15 for frequency in (100, 200, 3800, 6000))


def test_telephone_quantises_as_mu_law_does():
    """Signal to quantisation noise of mu-law PCM is about 38 dB and hardly depends on level."""
    ratios = []
    for gain in (0.5, 0.1, 0.03):
        coded = telephone(gain * tone(1004, 2), RATE).astype(np.float64)[8000:-8000]
        place = np.arange(len(coded)) / RATE * 2 * np.pi * 1004
        basis = np.stack([np.sin(place), np.cos(place)], axis=1)
        fit = basis @ np.linalg.lstsq(basis, coded, rcond=None)[0]
        ratios.append(10 * np.log10(power(fit) / power(coded - fit)))
    assert all(33 < ratio < 45 for ratio in ratios), ratios


def test_telephone_of_silence_is_silence():
    assert not telephone(np.zeros(1601, dtype=np.float32), RATE).any()


@pytest.fixture
def noises(tmp_path):
    folder = tmp_path / "noise" / "deep"
    folder.mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"n{number}.wav", white(8000, seed=number), 8000)
    return tmp_path / "noise"


def test_an_utterance_gets_the_same_whatever_comes_before(noises):
    config = AugmentConfig(
        noise=str(noises), noise_prob=0.5, reverb_prob=0.5, telephone_prob=0.5, seed=3
    )
    names = [f"utt{number}" for number in range(40)]
    forwards, backwards = Augmenter(config), Augmenter(config)
    first = {name: forwards(tone(440), RATE, name) for name in names}
    second = {name: backwards(tone(440), RATE, name) for name in reversed(names)}
    for name in names:
        assert np.array_equal(first[name][0], second[name][0]) and first[name][1] == second[name][1]
    said = [what for _, what in first.values()]
    for part in ("noise n", "reverberation", "telephone band"):
        assert 8 <= sum(part in what for what in said) <= 32
    assert any(what == "" for what in said)
    other = Augmenter(AugmentConfig(**{**vars(config), "seed": 4}))
    assert [other(tone(440), RATE, name)[1] for name in names] != said


def test_ratios_of_the_configuration(noises):
    config = AugmentConfig(noise=str(noises), noise_prob=1.0, noise_snr=[7.0, 9.0])
    speech = tone(440)
    mixed, said = Augmenter(config)(speech, RATE, "u")
    ratio = 10 * np.log10(power(speech) / power(mixed.astype(np.float64) - speech))
    assert 7 <= ratio <= 9 and f"{ratio:.1f} dB" in said


def test_nothing_is_active_by_default():
    assert not Augmenter(AugmentConfig()).active
    samples = tone(440)
    changed, said = Augmenter(AugmentConfig())(samples, RATE, "u")
    assert changed is samples and said == ""


def test_lists_of_noises(noises, tmp_path):
    assert [path[-6:] for path in list_noises(noises)] == ["n0.wav", "n1.wav", "n2.wav"]
    listed = tmp_path / "noises.txt"
    listed.write_text("noise/deep/n1.wav\n\nnoise/deep/n0.wav\n")
    assert [path[-6:] for path in list_noises(listed)] == ["n0.wav", "n1.wav"]
    listed.write_text("noise/deep/n1.wav\nnoise/none.wav\n")
    with pytest.raises(NeveError, match="noises.txt:2: there is no such audio file"):
        list_noises(listed)
    with pytest.raises(NeveError, match="no such folder"):
        list_noises(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeveError, match="has no audio files"):
        list_noises(tmp_path / "empty")


@pytest.mark.parametrize(
    "keys,message",
    [
        ({"noise_prob": 0.5}, "augment.noise names no noise"),
        ({"reverb_prob": 1.5}, "augment.reverb_prob is 1.5; it must be 0 to 1"),
        ({"noise_snr": [20.0, 5.0]}, "augment.noise_snr.*lowest, highest"),
        ({"reverb_rt60": [0.0, 0.5]}, "augment.reverb_rt60.*above 0"),
    ],
)
def test_configurations_that_make_no_sense(keys, message):
    with pytest.raises(NeveError, match=message):
        Augmenter(AugmentConfig(**keys))


def test_a_silent_noise_is_named(tmp_path):
    soundfile.write(tmp_path / "hush.wav", np.zeros(100), RATE)
    augmenter = Augmenter(AugmentConfig(noise=str(tmp_path), noise_prob=1.0))
    with pytest.raises(NeveError, match="hush.wav: this noise is silent"):
        augmenter(tone(440), RATE, "u")


def test_generators_depend_on_seed_and_name():
    draws = {(seed, name): generator_of(seed, name).random() for seed in (0, 1) for name in "ab"}
    assert len(set(draws.values())) == 4
    assert generator_of(0, "a").random() == draws[0, "a"]
