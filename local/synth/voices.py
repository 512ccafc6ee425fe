"""Speakers: eSpeak NG's English accents with its human-like variants of the voice.

Variants that are meant to be robots or whispers (robosoft, klatt and those built on it, whisper,
...), or that clip or mumble, are of no use.  Those that differ little from each other belong to
one split.
"""

import random
from dataclasses import dataclass

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan",
           "en-gb-x-gbcwmd", "en-us-nyc")


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


def speakers(female, male, accents_per_variant=2):
    """The speakers with these variants of the voice, each in some accents, always the same ones.

    Args:
        female, male: names of variants, with spaces between them.
        accents_per_variant: how many speakers each variant makes.
    """
    variants = [(v, "female") for v in female.split()] + [(v, "male") for v in male.split()]
    found = []
    for number, (variant, gender) in enumerate(variants):
        for turn in range(accents_per_variant):
            accent = ACCENTS[(number + 3 * turn) % len(ACCENTS)]
            name = f"{accent}-{variant}"
            rng = random.Random(f"voice:{name}")
            found.append(Voice(name, accent, variant, gender, speed=rng.randint(135, 200),
                               pitch=rng.randint(35, 65), pitch_range=rng.randint(25, 75)))
    return found
