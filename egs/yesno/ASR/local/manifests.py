#!/usr/bin/env python3
"""Stage 1 for yesno: Lhotse recordings and supervisions of train and test, and lexicon.txt.

A file's name says what is spoken in it: 1_0_... is YES NO ....  Of the sorted names every second
one is for testing, as in Lhotse's and icefall's recipes: 30 recordings (240 words) each.
"""

import re
import wave

from neve.data import script_main, write_source
from neve.errors import NeveError

WORDS = {"0": "NO", "1": "YES"}
LEXICON = "NO N OW\nYES Y EH S\n"  # as in the CMU dictionary


def prepare(download, out):
    """Write recordings_, supervisions_<train|test>.jsonl.gz and lexicon.txt to `out`."""
    corpus = download / "waves_yesno"
    files = sorted(corpus.glob("*.wav"))
    if len(files) < 2:
        raise NeveError(f"{corpus} has no recordings; run stage 0")
    for split, chosen in (("train", files[::2]), ("test", files[1::2])):
        recordings = [recording_of(file) for file in chosen]
        supervisions = [supervision_of(recording) for recording in recordings]
        write_source(split, recordings, supervisions, out)
    (out / "lexicon.txt").write_text(LEXICON, encoding="utf-8")


def recording_of(file):
    """The Lhotse recording of a WAV file, from its header."""
    from lhotse import Recording
    from lhotse.audio import AudioSource

    try:
        with wave.open(str(file)) as wav:
            rate, samples, channels = wav.getframerate(), wav.getnframes(), wav.getnchannels()
    except (wave.Error, EOFError) as error:
        raise NeveError(f"{file} is not a WAV file ({error}); fetch the corpus again") from None
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
        raise NeveError(f"{recording.sources[0].source}: the name is not eight of 0 and 1, "
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
    script_main(__doc__, prepare)
