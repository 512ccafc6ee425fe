"""How an utterance of a synthetic corpus gets its sound: the room, the noise, the level.

Four in five utterances are recorded in noise (coloured, or the babble of other speakers), half of
them in a room that echoes; the rest are quiet.  All of it is made here, from a generator seeded
by the utterance's name.
"""

import hashlib

import numpy as np
import scipy.signal

from neve.data import add_noise, reverberate, room_response

from .speak import RATE

NOISY, ECHOING = 0.8, 0.5  # probabilities
SNR = 8.0, 30.0  # dB
QUIET_SNR = 40.0  # dB, of the noise floor of the others
RT60 = 0.15, 0.5  # s until an echo has lost 60 dB
DIRECT_RATIO = 3.0, 15.0  # dB, of the direct sound over the echo
LEVEL = -32.0, -18.0  # dB relative to full scale, of the whole recording
BABBLE_VOICES = 5


class Acoustics:
    """Records utterances; one for a process, since the babble's speakers are kept.

    Args:
        speaker: a `Speaker`.
        rate: sampling rate of the corpus, Hz.
        crowd: (voice, groups of words) of the speakers that babble, BABBLE_VOICES or more.
    """

    def __init__(self, speaker, rate, crowd):
        self.speaker, self.rate = speaker, rate
        self.crowd = [self._clean(voice, groups, generator(f"babble:{voice.name}"))
                      for voice, groups in crowd]

    def record(self, utterance):
        """Samples (N,) int16 of an utterance, and the facts of its recording for breakdowns."""
        rng = generator(utterance.id)
        samples = self._clean(utterance.voice, utterance.groups, rng)
        before, after = (rng.uniform(0.1, 0.4, 2) * self.rate).astype(int)
        samples = np.pad(samples, (before, after))
        echoing, noisy = rng.random() < ECHOING, rng.random() < NOISY
        if echoing:
            room = room_response(rng.uniform(*RT60), self.rate, rng, rng.uniform(*DIRECT_RATIO))
            samples = reverberate(samples, room)
        babble = noisy and rng.random() < 0.3
        snr = rng.uniform(*SNR) if noisy else QUIET_SNR
        noise = self._babble(len(samples), rng) if babble else coloured(len(samples), rng)
        samples = add_noise(samples, noise, snr, rng)
        samples *= 10 ** (rng.uniform(*LEVEL) / 20) / np.sqrt(np.mean(samples**2))
        samples *= min(1.0, 0.99 / np.abs(samples).max())
        facts = {
            "noise": ("babble" if babble else "coloured") if noisy else "quiet",
            "snr": f"{10 * int(snr // 10)} dB and more",
            "room": "echo" if echoing else "dry",
        }
        return np.round(samples * 32767).astype(np.int16), facts

    def _clean(self, voice, groups, rng):
        """Samples (N,) at the corpus's rate of what eSpeak says, with a little variation."""
        raw = self.speaker.say(
            voice.espeak,
            ", ".join(" ".join(group).lower() for group in groups),
            speed=voice.speed * rng.uniform(0.93, 1.07),
            pitch=voice.pitch + rng.integers(-4, 5),
            pitch_range=voice.pitch_range + rng.integers(-8, 9),
            seed=int(rng.integers(2**31)),
        )
        samples = np.frombuffer(raw, np.int16).astype(np.float64) / 32768
        factor = np.gcd(self.rate, RATE)
        return scipy.signal.resample_poly(samples, self.rate // factor, RATE // factor)

    def _babble(self, length, rng):
        """Samples (length,) of several speakers at once."""
        total = np.zeros(length)
        for one in rng.choice(len(self.crowd), BABBLE_VOICES, replace=False):
            samples = self.crowd[one]
            start = rng.integers(len(samples))
            total += np.resize(np.roll(samples, -start), length) / samples.std()
        return total


def generator(name):
    """A random generator that depends on a name alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def coloured(length, rng):
    """Noise (length,) with a spectrum that falls by 0 to 9 dB an octave, and swells slowly."""
    spectrum = rng.standard_normal(length // 2 + 1) + 1j * rng.standard_normal(length // 2 + 1)
    frequency = np.arange(length // 2 + 1) / length
    spectrum *= np.maximum(frequency, 0.003) ** (-rng.uniform(0, 1.5))
    noise = np.fft.irfft(spectrum, length)
    knots = 10 ** (rng.uniform(-3, 3, 5) / 20)
    return noise * np.interp(np.linspace(0, 4, length), np.arange(5), knots)
