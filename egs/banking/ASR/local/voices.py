"""Who speaks: no variant of the voice is in two splits, so that no caller was heard in training."""

from synth.voices import speakers

FEMALE = {
    "general_train": "f1 f5 Annie aunty linda",
    "general_dev": "f2",
    "bank_train": "Alicia belinda shelby",
    "bank_dev": "f4",
    "bank_test": "f3 Andrea grandma",
}
MALE = {
    "general_train": "m1 m3 m7 Alex Diogo Hugo Lee Michael boris ian marcelo pablo rob travis",
    "general_dev": "m5",
    "bank_train": "m8 Andy Gene Mario Mike grandpa john max quincy robert",
    "bank_dev": "m4 victor Nguyen",
    "bank_test": "m2 m6 Denis norbert pedro",
}


def voices(split):
    """The speakers of a split, each variant in three accents."""
    return speakers(FEMALE[split], MALE[split], accents_per_variant=3)
