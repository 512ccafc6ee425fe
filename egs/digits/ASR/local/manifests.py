#!/usr/bin/env python3
"""Stage 1 for digits: speaks the corpus with eSpeak NG, and writes its manifests and lexicon.

The audio goes to download/digits, 16 kHz WAV: connected digit strings and dates (texts.py) by the
speakers of voices.py, with reverberation and noise.  The same bytes come out in any number of
jobs: all that is random is drawn from generators seeded by the utterance's name.
"""

import argparse
import hashlib
import json
import os
import shutil
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a job is one core

import texts  # noqa: E402
from voices import voices  # noqa: E402

SIZES = {"train": 2000, "dev": 150, "test": 300}  # utterances
SAMPLING_RATE = 16000
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Utterance:
    """What is said, by whom; the groups of words are set off by short pauses."""

    id: str
    split: str
    kind: str
    groups: tuple
    voice: object

    @property
    def text(self):
        """The transcript."""
        return " ".join(word for group in self.groups for word in group)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--download", type=Path, default="download", help="for the audio")
    parser.add_argument("--out", type=Path, default="data/manifests", help="for the manifests")
    parser.add_argument("--nj", type=int, default=os.cpu_count(), help="processes")
    args = parser.parse_args()
    corpus = args.download / "digits"
    make_audio(corpus, args.nj)
    write_manifests(corpus, args.out)


def utterances():
    """{split: list of Utterance} of the whole corpus; no text of three words is in two splits."""
    corpus, taken = {}, set()
    for split, size in SIZES.items():
        speakers = voices(split)
        corpus[split] = []
        for number, (kind, groups) in enumerate(texts.sentences(size, split, taken)):
            voice = speakers[number // 2 % len(speakers)]  # a digit string and a date in turn
            corpus[split].append(Utterance(f"{voice.name}-{number:04d}", split, kind,
                                           tuple(map(tuple, groups)), voice))
    return corpus


def make_audio(corpus, nj):
    """Speak all utterances into the directory `corpus`, unless it is complete and up to date."""
    wanted = description()
    made = corpus / "corpus.json"
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        print(f"{corpus} is complete already")
        return
    from neve.progress import progress

    work = corpus.with_name(f".digits.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        todo = [u for split in utterances().values() for u in split]
        for utterance in todo:
            path_of(work, utterance).parent.mkdir(parents=True, exist_ok=True)
        jobs = [(work, todo[i:i + 16]) for i in range(0, len(todo), 16)]
        facts = {}
        with ProcessPoolExecutor(max(1, nj), mp_context=get_context("spawn")) as pool:
            results = pool.map(_speak_some, jobs)
            for some in progress(results, total=len(jobs), what="speaking", unit="batch"):
                facts.update(some)
        with open(work / "utterances.json", "w", encoding="utf-8") as out:
            json.dump(facts, out, sort_keys=True, indent=0)
        (work / "corpus.json").write_text(wanted, encoding="utf-8")
        shutil.rmtree(corpus, ignore_errors=True)
        work.rename(corpus)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def description():
    """What the audio depends on, as a line of JSON: the scripts, eSpeak NG, the sizes."""
    import espeakng_loader

    library = Path(espeakng_loader.get_library_path()).read_bytes()
    sources = b"".join((HERE / name).read_bytes()
                       for name in ("manifests.py", "texts.py", "voices.py", "speak.py",
                                    "acoustics.py"))
    return json.dumps({"scripts": hashlib.sha256(sources).hexdigest(),
                       "espeak": hashlib.sha256(library).hexdigest(), "sizes": SIZES}) + "\n"


def _speak_some(job):
    """Speak a few utterances; {utterance: what was done to its sound} (a worker process)."""
    from acoustics import Acoustics
    from speak import Speaker

    directory, some = job
    if not hasattr(_speak_some, "tools"):  # once in each process
        speaker = Speaker()
        _speak_some.tools = speaker, Acoustics(speaker, SAMPLING_RATE)
    speaker, acoustics = _speak_some.tools
    facts = {}
    for utterance in some:
        samples, facts[utterance.id] = acoustics.record(utterance)
        with wave.open(str(path_of(directory, utterance)), "wb") as wav:
            wav.setparams((1, 2, SAMPLING_RATE, len(samples), "NONE", ""))
            wav.writeframes(samples.astype("<i2").tobytes())
    return facts


def path_of(corpus, utterance):
    """Where the audio of an utterance is."""
    return corpus / utterance.split / utterance.voice.name / f"{utterance.id}.wav"


def write_manifests(corpus, out):
    """Write recordings_, supervisions_<train|dev|test>.jsonl.gz and lexicon.txt to `out`."""
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource

    out.mkdir(parents=True, exist_ok=True)
    facts = json.loads((corpus / "utterances.json").read_text(encoding="utf-8"))
    for split, some in utterances().items():
        recordings, supervisions = [], []
        for u in sorted(some, key=lambda u: u.id):
            path = path_of(corpus, u)
            with wave.open(str(path)) as wav:
                samples = wav.getnframes()
            recordings.append(Recording(
                id=u.id,
                sources=[AudioSource(type="file", channels=[0], source=str(path.absolute()))],
                sampling_rate=SAMPLING_RATE,
                num_samples=samples,
                duration=samples / SAMPLING_RATE,
            ))
            supervisions.append(SupervisionSegment(
                id=u.id, recording_id=u.id, start=0.0, duration=samples / SAMPLING_RATE,
                text=u.text, language="English", speaker=u.voice.name, gender=u.voice.gender,
                custom={"kind": u.kind, "accent": u.voice.accent, **facts[u.id]},
            ))
        RecordingSet.from_recordings(recordings).to_file(out / f"recordings_{split}.jsonl.gz")
        SupervisionSet.from_segments(supervisions).to_file(out / f"supervisions_{split}.jsonl.gz")
        print(f"{split}: {len(some)} utterances, {len({s.speaker for s in supervisions})} voices, "
              f"{sum(len(s.text.split()) for s in supervisions)} words, "
              f"{sum(r.duration for r in recordings) / 3600:.2f} h")
    shutil.copyfile(HERE / "lexicon.txt", out / "lexicon.txt")


if __name__ == "__main__":
    main()
