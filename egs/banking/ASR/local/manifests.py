#!/usr/bin/env python3
"""Stage 1 for banking: general sentences and a bank's calls, spoken by eSpeak NG, and their texts.

The audio goes to download/banking, 8 kHz WAV; texts.py says what is beside the manifests.
"""

import os
import random
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a job is one core
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[3] / "local"), str(HERE)]

import bank  # noqa: E402
import general  # noqa: E402
from studio import studio  # noqa: E402
from synth.corpus import Utterance, make_audio, options, write_manifests  # noqa: E402
from telephone import TELEPHONE_RATE  # noqa: E402
from texts import said, write_texts  # noqa: E402
from voices import voices  # noqa: E402

SIZES = {  # utterances; those of held-out texts come first, and what is said there is not used
    "bank_test": 300, "bank_dev": 150, "general_dev": 100, "bank_train": 700,
    "general_train": 2000,
}  # fmt: skip
SENTENCES = 20000, 6000  # of text alone: general, and of each kind of the bank's


def main(sizes=SIZES, sentences=SENTENCES):
    args = options(__doc__)
    corpus, taken = args.download / "banking", set()
    splits = utterances(sizes, taken)
    scripts = [HERE / name for name in ("studio.py", "telephone.py", "general.py", "bank.py")]
    make_audio(corpus, splits, studio, TELEPHONE_RATE, scripts, args.nj)
    write_manifests(corpus, splits, args.out)
    write_texts(args.out, sentences, taken)


def utterances(sizes, taken):
    """{split: list of Utterance}; no text is in two splits, and all are added to `taken`."""
    corpus = {}
    for split, size in sizes.items():
        rng, speakers, corpus[split] = random.Random(f"banking:{split}"), voices(split), []
        for number, (text, kind) in enumerate(draw(split, size, rng, taken)):
            groups = tuple(tuple(group.split()) for group in text.split(","))
            voice = speakers[number % len(speakers)]
            name = f"{split}-{voice.name}-{number:04d}"
            corpus[split].append(Utterance(name, split, groups, voice, {"template": kind}))
        taken.update(said(text) for text in (u.text for u in corpus[split]))
    return corpus


def draw(split, size, rng, taken):
    """Yield (text, where its template is used) of the utterances of a split."""
    held_out = split in ("bank_dev", "bank_test")
    lists = bank.choices(*(("train", "held out") if held_out else ("train",)))
    for number in range(size):
        text = None
        while text is None or said(text) in taken:
            kind = "held out" if held_out and number % 2 else "in training"
            if split.startswith("general"):
                text = general.sentence(rng)
            else:
                part = bank.HELD_OUT_TEMPLATES if kind == "held out" else bank.TEMPLATES
                text = bank.call(rng, lists, part)
        yield text, kind


if __name__ == "__main__":
    main()
