"""How the utterances sound: general speech as a microphone has it, calls through a telephone."""

import dataclasses
import random

import bank
import general
from synth.acoustics import Acoustics, generator
from synth.speak import Speaker
from telephone import CODECS, TELEPHONE_RATE, through_telephone
from voices import voices


class Studio(Acoustics):
    """Records general speech as it is, and calls through a telephone."""

    def record(self, utterance):
        """Samples (N,) int16 at 8 kHz of an utterance, and the facts of its recording."""
        groups = tuple(
            tuple(bank.SPOKEN.get(word, word) for word in group) for group in utterance.groups
        )
        samples, facts = super().record(dataclasses.replace(utterance, groups=groups))
        codec = "none"
        if utterance.split.startswith("bank"):
            codec = str(generator(f"{utterance.id} codec").choice(list(CODECS)))
            samples = through_telephone(samples, codec)
        return samples, {**facts, "codec": codec}


def studio():
    """What records utterances in one process; some voices of general_train may babble."""
    rng, crowd = random.Random("banking:babble"), []
    for voice in voices("general_train")[::4]:
        crowd.append((voice, [general.sentence(rng).split()]))
    return Studio(Speaker(), TELEPHONE_RATE, crowd)
