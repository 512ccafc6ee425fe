#!/usr/bin/env python3
"""Stage 1 for yesno: Lhotse recordings and supervisions of train and test, and lexicon.txt.

A file's name says what is spoken in it: 1_0_... is YES NO ....  Of the sorted names every second
one is for testing, as in Lhotse's and icefall's recipes: 30 recordings (240 words) each.
"""

import argparse
import re
import sys
import wave
from pathlib import Path

WORDS = {"0": "NO", "1": "YES"}
LEXICON = "NO N\nYES Y\n"  # as in Kaldi's recipe, one phone for a whole word


class CorpusError(Exception):
    """A file of the corpus is not as it should be; the message names it."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--download", type=Path, default="download", help="has waves_yesno")
    parser.add_argument("--out", type=Path, default="data/manifests", help="for the manifests")
    parser.add_argument("--nj", type=int, default=1, help="not needed here: it takes a second")
    args = parser.parse_args()
    try:
        prepare(args.download, args.out)
    except (CorpusError, OSError) as error:
        sys.exit(f"manifests.py: {error}")


def prepare(download, out):
    """Write recordings_, supervisions_<train|test>.jsonl.gz and lexicon.txt to `out`."""
    from lhotse import RecordingSet, SupervisionSet

    corpus, out = Path(download) / "waves_yesno", Path(out)
    files = sorted(corpus.glob("*.wav"))
    if len(files) < 2:
        raise CorpusError(f"{corpus} has no recordings; run stage 0")
    out.mkdir(parents=True, exist_ok=True)
    for split, chosen in (("train", files[::2]), ("test", files[1::2])):
        recordings = [recording_of(file) for file in chosen]
        supervisions = [supervision_of(recording) for recording in recordings]
        RecordingSet.from_recordings(recordings).to_file(out / f"recordings_{split}.jsonl.gz")
        SupervisionSet.from_segments(supervisions).to_file(out / f"supervisions_{split}.jsonl.gz")
        print(f"{split}: {len(recordings)} utterances, "
              f"{sum(len(s.text.split()) for s in supervisions)} words, "
              f"{sum(r.duration for r in recordings) / 60:.1f} minutes")
    (out / "lexicon.txt").write_text(LEXICON, encoding="utf-8")


def recording_of(file):
    """The Lhotse recording of a WAV file, from its header."""
    from lhotse import Recording
    from lhotse.audio import AudioSource

    try:
        with wave.open(str(file)) as wav:
            rate, samples, channels = wav.getframerate(), wav.getnframes(), wav.getnchannels()
    except (wave.Error, EOFError) as error:
        raise CorpusError(f"{file} is not a WAV file ({error}); fetch the corpus again") from None
    return Recording(
        id=file.stem,
        sources=[AudioSource(type="file", channels=list(range(channels)),
                             source=str(file.absolute()))],
        sampling_rate=rate,
        num_samples=samples,
        duration=samples / rate,
    )


def supervision_of(recording):
    """The supervision that covers a whole recording; its words are in the recording's name."""
    from lhotse import SupervisionSegment

    if not re.fullmatch("[01](_[01]){7}", recording.id):
        raise CorpusError(f"{recording.sources[0].source}: the name is not eight of 0 and 1, "
                          "joined by _; fetch the corpus again (stage 0)")
    return SupervisionSegment(
        id=recording.id,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        text=" ".join(WORDS[digit] for digit in recording.id.split("_")),
        language="English",
        speaker="anonymous",
        gender="male",
    )


if __name__ == "__main__":
    main()
