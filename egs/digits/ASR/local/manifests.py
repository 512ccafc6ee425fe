#!/usr/bin/env python3
"""Stage 1 for digits: speaks the corpus with eSpeak NG, and writes its manifests and lexicon.

The audio goes to download/digits, 16 kHz WAV: connected digit strings and dates (texts.py) by the
speakers of voices.py, with reverberation and noise.  How it is made is in local/synth at the top
of the repository.
"""

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a job is one core
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "local"))

import texts  # noqa: E402
from synth.acoustics import Acoustics  # noqa: E402
from synth.corpus import Utterance, make_audio, options, write_manifests  # noqa: E402
from synth.speak import Speaker  # noqa: E402
from voices import voices  # noqa: E402

SIZES = {"train": 2000, "dev": 150, "test": 300}  # utterances
SAMPLING_RATE = 16000


def main():
    args = options(__doc__)
    corpus, splits = args.download / "digits", utterances()
    scripts = [HERE / name for name in ("manifests.py", "texts.py", "voices.py")]  # and babble
    make_audio(corpus, splits, studio, SAMPLING_RATE, scripts, args.nj)
    write_manifests(corpus, splits, args.out)
    shutil.copyfile(HERE / "lexicon.txt", args.out / "lexicon.txt")


def utterances():
    """{split: list of Utterance} of the whole corpus; no text of three words is in two splits."""
    corpus, taken = {}, set()
    for split, size in SIZES.items():
        speakers = voices(split)
        corpus[split] = []
        for number, (kind, groups) in enumerate(texts.sentences(size, split, taken)):
            voice = speakers[number // 2 % len(speakers)]  # a digit string and a date in turn
            corpus[split].append(Utterance(f"{voice.name}-{number:04d}", split,
                                           tuple(map(tuple, groups)), voice, {"kind": kind}))
    return corpus


def studio():
    """What records utterances in one process; one in four speakers of train may babble."""
    crowd = zip(voices("train")[::4], texts.sentences(99, "babble", set()))
    return Acoustics(Speaker(), SAMPLING_RATE, [(voice, groups) for voice, (_, groups) in crowd])


if __name__ == "__main__":
    main()
