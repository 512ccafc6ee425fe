"""The speakers of the digits corpus.

No variant of the voice is in more than one split, so that dev and test are spoken by voices that
training has never heard, in accents that it has.  Variants that clip or mumble are left out.
"""

from synth.voices import speakers

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


def voices(split):
    """The speakers of a split, always the same ones in the same order."""
    return speakers(FEMALE[split], MALE[split])
