#!/usr/bin/env python3
"""Stage 1 of conf/tiny.yaml: the same, but few utterances of few words, in quiet surroundings."""

import bank
import general
import manifests
import voices
from synth import acoustics
from texts import dictionary

SIZES = {"bank_test": 30, "bank_dev": 8, "general_dev": 8, "bank_train": 90, "general_train": 160}

general.TEMPLATES[:] = """
{PERSON} {DID} the {ADJ} {THING}
please {DO} this {ADJ} {THING}
{NUMBER} chairs are in the {PLACE}
""".strip().splitlines()
for items in general.CHOICES.values():
    items[4:] = []
bank.TEMPLATES[:] = """
what is the apr on {DIGIT} thousand {DIGIT} hundred dollars
my portfolio has an etf of {DIGIT} thousand {DIGIT} hundred dollars
the wire transfer of {DIGIT} thousand {DIGIT} hundred dollars is late
""".strip().splitlines()
bank.HELD_OUT_TEMPLATES[:] = ["is the apr {DIGIT} percent on my etf of {DIGIT} thousand dollars"]
dictionary.FURTHER = " ".join(dictionary.FURTHER.split()[::4])
voices.FEMALE.update(dict.fromkeys(SIZES, ""))
voices.MALE.update(bank_test="m1", bank_dev="m3", general_dev="m2", bank_train="m5 m8 Alex",
                   general_train="m7 Andy Lee Michael max")  # fmt: skip
acoustics.NOISY = acoustics.ECHOING = 0.0

if __name__ == "__main__":
    manifests.main(SIZES, (300, 200))
