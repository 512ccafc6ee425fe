#!/usr/bin/env python3
"""Stage 1 for CMU AN4: Lhotse recordings and supervisions of train, dev and test, and lexicon.txt.

Of the 948 training utterances, the 100 of eight speakers are held out as dev.  The audio is
rewritten from NIST SPHERE to WAV (download/an4_wav), because Lhotse needs an external program
for SPHERE.  Each supervision has the speaker and the speaker's sex, and custom fields for the
breakdown of errors: `prompt` (what was asked for) and `kind` (spelled, words or mixed).
"""

import os
import re
import wave

from neve.data import script_main, write_source
from neve.errors import NeveError

# Whole speakers, 3 women and 5 men like the mix of the test set, taken at even steps through the
# sorted names of those speakers without whom every word of the training text is still in it.
DEV_SPEAKERS = frozenset("fash fjam fplp mcfl meab mjes mrjc2 mtcv".split())

FILLER = re.compile(r"^(<.*>|\+\+.*\+\+)$")  # <s> </s> <sil> ++NOISE++
LINE = re.compile(r"^(?P<words>.*)\((?P<id>[^()\s]+)\)\s*$")

# What the nine questions of the census part asked for; the ninth is not in the release.
CENSUS = {"1": "surname", "2": "first name", "3": "house number", "4": "street", "5": "city",
          "6": "zip code", "7": "telephone", "8": "birth date"}


def prepare(download, out):
    """Write recordings_, supervisions_<train|dev|test>.jsonl.gz and lexicon.txt to `out`."""
    corpus, wavs = download / "an4", download / "an4_wav"
    lexicon = read_lexicon(corpus / "etc/an4.dic")
    splits = {"train": [], "dev": [], "test": []}
    for part in ("train", "test"):
        files = read_fileids(corpus / f"etc/an4_{part}.fileids")
        transcription = corpus / f"etc/an4_{part}.transcription"
        texts = read_transcription(transcription)
        if set(files) != set(texts):
            odd = sorted(set(files) ^ set(texts))
            raise NeveError(f"{transcription} and the .fileids beside it differ in {odd[:5]}; "
                              "fetch the corpus again (stage 0)")
        for utterance, text in texts.items():
            if unknown := sorted(set(text) - lexicon.keys()):
                raise NeveError(f"{transcription}: {utterance}: words {unknown} are not in "
                                  f"{corpus}/etc/an4.dic; add their pronunciations there")
            held_out = part == "train" and speaker_of(utterance) in DEV_SPEAKERS
            source = corpus / "wav" / f"{files[utterance]}.sph"
            splits["dev" if held_out else part].append((utterance, text, source))

    for split, utterances in splits.items():
        recordings, supervisions = [], []
        for utterance, text, source in sorted(utterances):
            recordings.append(recording_of(utterance, source, wavs))
            supervisions.append(supervision_of(utterance, text, recordings[-1].duration))
        write_source(split, recordings, supervisions, out)
    lines = [f"{word} {phones}\n" for word in sorted(lexicon) for phones in lexicon[word]]
    (out / "lexicon.txt").write_text("".join(lines), encoding="utf-8")


def read_lexicon(path):
    """Pronunciations {word: ["PH PH", ...]} of a Sphinx dictionary, where WORD(2) is WORD too."""
    lexicon = {}
    for number, line in enumerate(lines_of(path), 1):
        word, *phones = line.split() or [""]
        if not word or FILLER.match(word):
            continue
        if not phones:
            raise NeveError(f"{path}:{number}: no phones for {word}; fetch the corpus again")
        pronunciations = lexicon.setdefault(re.sub(r"\(\d+\)$", "", word), [])
        if " ".join(phones) not in pronunciations:
            pronunciations.append(" ".join(phones))
    return lexicon


def read_fileids(path):
    """{utterance: path below wav/, without .sph} of a Sphinx control file."""
    paths = [line.strip() for line in lines_of(path) if line.strip()]
    return {path.rsplit("/", 1)[-1]: path for path in paths}


def read_transcription(path):
    """{utterance: [word, ...]} of a Sphinx transcription: `<s> WORD WORD </s> (utterance)`."""
    texts = {}
    for number, line in enumerate(lines_of(path), 1):
        if not line.strip():
            continue
        match = LINE.match(line)
        if not match:
            raise NeveError(f"{path}:{number}: not of the form `WORD ... (utterance)`")
        if match["id"] in texts:
            raise NeveError(f"{path}:{number}: {match['id']} is there twice")
        texts[match["id"]] = [w for w in match["words"].split() if not FILLER.match(w)]
    return texts


def lines_of(path):
    """The lines of a text file of the corpus."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NeveError(f"{path} is missing; run stage 0") from None


def speaker_of(utterance):
    """The speaker of an utterance named as in `an406-fcaw-b`: the middle part."""
    return utterance.split("-")[1]


def recording_of(utterance, source, wavs):
    """Rewrite a SPHERE file as WAV below `wavs`, unless it is there; its Lhotse recording."""
    from lhotse import Recording
    from lhotse.audio import AudioSource

    path = wavs / speaker_of(utterance) / f"{utterance}.wav"
    rate, samples = read_sphere(source)
    if not path.exists() or path.stat().st_size != 44 + len(samples):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        with wave.open(str(part), "wb") as wav:
            wav.setparams((1, 2, rate, len(samples) // 2, "NONE", ""))
            wav.writeframes(samples)
        part.rename(path)
    return Recording(
        id=utterance,
        sources=[AudioSource(type="file", channels=[0], source=str(path.absolute()))],
        sampling_rate=rate,
        num_samples=len(samples) // 2,
        duration=len(samples) / 2 / rate,
    )


def read_sphere(path):
    """Rate in Hz and the little-endian 16-bit samples, as bytes, of a one-channel SPHERE file.

    The header is 1024 bytes of lines `name -type value` (NIST SPHERE 2.6).
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NeveError(f"{path} is missing; fetch the corpus again (stage 0)") from None
    header, samples = content[:1024], content[1024:]
    fields = {}
    for line in header.decode("latin-1").split("end_head")[0].splitlines()[2:]:
        if len(parts := line.split(None, 2)) == 3:
            fields[parts[0]] = parts[2].strip()
    order = fields.get("sample_byte_format")
    if not header.startswith(b"NIST_1A") or fields.get("sample_n_bytes") != "2" \
            or fields.get("channel_count") != "1" or order not in ("01", "10") \
            or fields.get("sample_coding", "pcm") != "pcm":
        raise NeveError(f"{path} is not a SPHERE file of one channel of 16-bit samples")
    if len(samples) != 2 * int(fields["sample_count"]):
        raise NeveError(f"{path} has {len(samples) // 2} samples, but its header says "
                          f"{fields['sample_count']}; fetch the corpus again (stage 0)")
    if order == "10":
        swapped = bytearray(len(samples))
        swapped[::2], swapped[1::2] = samples[1::2], samples[::2]
        samples = bytes(swapped)
    return int(fields["sample_rate"]), samples


def supervision_of(utterance, text, duration):
    """The supervision that covers a whole recording, with the fields for breakdowns of errors."""
    from lhotse import SupervisionSegment

    letters = [len(word) == 1 for word in text]
    prompt = CENSUS.get(utterance[3], "other") if utterance.startswith("cen") else "command or code"
    return SupervisionSegment(
        id=utterance,
        recording_id=utterance,
        start=0.0,
        duration=duration,
        text=" ".join(text),
        language="English",
        speaker=speaker_of(utterance),
        gender={"f": "female", "m": "male"}.get(speaker_of(utterance)[0]),
        custom={
            "prompt": prompt,
            "kind": "spelled" if all(letters) else "mixed" if any(letters) else "words",
        },
    )


if __name__ == "__main__":
    script_main(__doc__, prepare)
