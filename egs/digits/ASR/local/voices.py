"""The speakers of the digits corpus: eSpeak NG's English accents with its human-like variants.

No variant of the voice is in more than one split, so that dev and test are spoken by voices that
training has never heard, in accents that it has.  Variants that are meant to be robots or whispers
(robosoft, klatt and those built on it, whisper, ...), or that clip or mumble, are left out, and
variants that differ little from each other are all in train.
"""

import random
from dataclasses import dataclass

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan",
           "en-gb-x-gbcwmd", "en-us-nyc")
FEMALE = {
    "train": "f1 f2 f5 Alicia Annie aunty belinda linda shelby",
    "dev": "f4",
    "test": "f3 Andrea grandma",
}
MALE = {
    "train": "m1 m3 m5 m7 m8 Alex Andy Diogo Gene Hugo Lee Mario Michael Mike boris grandpa ian "
             "john marcelo max pablo quincy rob robert travis",
    "dev": "m4 victor Nguyen",
    "test": "m2 m6 Denis norbert pedro",
}
ACCENTS_PER_VARIANT = 2


@dataclass(frozen=True)
class Voice:
    """One speaker: what eSpeak is told, speed in words a minute, the rest from 0 to 99."""

    name: str
    accent: str
    variant: str
    gender: str
    speed: int
    pitch: int
    pitch_range: int

    @property
    def espeak(self):
        """The voice's name for eSpeak NG."""
        return f"{self.accent}+{self.variant}"


def voices(split):
    """The speakers of a split, always the same ones in the same order."""
    variants = [(v, "female") for v in FEMALE[split].split()]
    variants += [(v, "male") for v in MALE[split].split()]
    speakers = []
    for number, (variant, gender) in enumerate(variants):
        for turn in range(ACCENTS_PER_VARIANT):
            accent = ACCENTS[(number + 3 * turn) % len(ACCENTS)]
            name = f"{accent}-{variant}"
            rng = random.Random(f"voice:{name}")
            speakers.append(Voice(name, accent, variant, gender, speed=rng.randint(135, 200),
                                  pitch=rng.randint(35, 65), pitch_range=rng.randint(25, 75)))
    return speakers
