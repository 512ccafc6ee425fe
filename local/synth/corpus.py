"""A corpus of synthetic speech: its audio in any number of processes, and its manifests.

The same bytes come out in any number of jobs: all that is random is drawn from generators seeded
by the utterance's name.
"""

import argparse
import hashlib
import json
import os
import shutil
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from .speak import espeak_paths

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Utterance:
    """What is said, by whom; the groups of words are set off by short pauses.

    fields: what the manifests say of it besides, before what was done to its sound.
    """

    id: str
    split: str
    groups: tuple
    voice: object
    fields: dict = field(default_factory=dict)

    @property
    def text(self):
        """The transcript."""
        return " ".join(word for group in self.groups for word in group)


def options(description, download="download", out="data/manifests"):
    """The command line of a local/manifests.py: --download, --out and --nj."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--download", type=Path, default=download, help="for the audio")
    parser.add_argument("--out", type=Path, default=out, help="for the manifests")
    parser.add_argument("--nj", type=int, default=os.cpu_count(), help="processes")
    return parser.parse_args()


def make_audio(corpus, splits, studio, rate, scripts, nj):
    """Speak all utterances into the directory `corpus`, unless it is complete and up to date.

    Args:
        corpus: the directory.
        splits: {name: list of Utterance}.
        studio: a function at the top of a module; it is called once in each process, and what it
            returns has `record(utterance)`: samples (N,) int16, and facts for the manifests.
        rate: the sampling rate of these samples, Hz.
        scripts: files of the recipe that the sound of an utterance depends on.
        nj: processes.
    """
    wanted = _description(scripts, splits)
    made = corpus / "corpus.json"
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        print(f"{corpus} is complete already")
        return
    from neve.progress import progress

    work = corpus.with_name(f".{corpus.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        todo = [u for some in splits.values() for u in some]
        for utterance in todo:
            path_of(work, utterance).parent.mkdir(parents=True, exist_ok=True)
        jobs = [(work, rate, studio, todo[i:i + 16]) for i in range(0, len(todo), 16)]
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


def _description(scripts, splits):
    """What the audio depends on, as a line of JSON: scripts, eSpeak NG, what is said by whom."""
    library = Path(espeak_paths()[0]).read_bytes()
    own = [HERE / name for name in ("speak.py", "acoustics.py", "corpus.py")]
    sources = b"".join(path.read_bytes() for path in (*scripts, *own))
    said = "".join(f"{utterance}\n" for some in splits.values() for utterance in some).encode()
    return json.dumps({"scripts": hashlib.sha256(sources).hexdigest(),
                       "espeak": hashlib.sha256(library).hexdigest(),
                       "utterances": hashlib.sha256(said).hexdigest(),
                       "sizes": {split: len(some) for split, some in splits.items()}}) + "\n"


def _speak_some(job):
    """Speak a few utterances; {utterance: what was done to its sound} (a worker process)."""
    directory, rate, studio, some = job
    if not hasattr(_speak_some, "studio"):  # once in each process
        _speak_some.studio = studio()
    facts = {}
    for utterance in some:
        samples, facts[utterance.id] = _speak_some.studio.record(utterance)
        with wave.open(str(path_of(directory, utterance)), "wb") as wav:
            wav.setparams((1, 2, rate, len(samples), "NONE", ""))
            wav.writeframes(samples.astype("<i2").tobytes())
    return facts


def path_of(corpus, utterance):
    """Where the audio of an utterance is."""
    return corpus / utterance.split / utterance.voice.name / f"{utterance.id}.wav"


def write_manifests(corpus, splits, out):
    """Write recordings_ and supervisions_<split>.jsonl.gz to `out`; say how much each has."""
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource

    out.mkdir(parents=True, exist_ok=True)
    facts = json.loads((corpus / "utterances.json").read_text(encoding="utf-8"))
    for split, some in splits.items():
        recordings, supervisions = [], []
        for u in sorted(some, key=lambda u: u.id):
            path = path_of(corpus, u)
            with wave.open(str(path)) as wav:
                samples, rate = wav.getnframes(), wav.getframerate()
            recordings.append(Recording(
                id=u.id,
                sources=[AudioSource(type="file", channels=[0], source=str(path.absolute()))],
                sampling_rate=rate,
                num_samples=samples,
                duration=samples / rate,
            ))
            supervisions.append(SupervisionSegment(
                id=u.id, recording_id=u.id, start=0.0, duration=samples / rate,
                text=u.text, language="English", speaker=u.voice.name, gender=u.voice.gender,
                custom={**u.fields, "accent": u.voice.accent, **facts[u.id]},
            ))
        RecordingSet.from_recordings(recordings).to_file(out / f"recordings_{split}.jsonl.gz")
        SupervisionSet.from_segments(supervisions).to_file(out / f"supervisions_{split}.jsonl.gz")
        print(f"{split}: {len(some)} utterances, {len({s.speaker for s in supervisions})} voices, "
              f"{sum(len(s.text.split()) for s in supervisions)} words, "
              f"{sum(r.duration for r in recordings) / 3600:.2f} h")
