"""Corpora of a few minutes that eSpeak NG says, in the archives in which their owners serve them.

Few words, few voices and next to no noise: a tiny model learns them to nearly no errors in seconds.
The sentences, and so all that is made of them, follow from the names of the utterances.
"""

import gzip
import importlib.util
import io
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
ENGLISH = {  # words and their phones
    "SEVEN": "S EH V AH N", "RIVER": "R IH V ER", "HOUSE": "HH AW S", "BLUE": "B L UW",
    "MORNING": "M AO R N IH NG", "TABLE": "T EY B AH L", "GREEN": "G R IY N", "FOX": "F AA K S",
}  # fmt: skip
CHINESE = {  # characters, their initials and finals
    "山": "sh an1", "水": "sh ui3", "火": "h uo3", "风": "f eng1", "天": "t ian1", "地": "d i4",
    "人": "r en2", "马": "m a3",
}  # fmt: skip
VOICES = ["+f1", "+m1", "+f2", "+m3", "+f5", "+m5"]


@dataclass
class Said:
    """An utterance: its words and (T,) samples at 16 kHz."""

    words: list[str]
    samples: np.ndarray


class Studio:
    """Says sentences with eSpeak NG: a different voice for every speaker's name."""

    def __init__(self):
        path = ROOT / "local/synth/speak.py"
        spec = importlib.util.spec_from_file_location("speak", path)
        speak = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(speak)
        self.rate, self.speaker = speak.RATE, speak.Speaker()

    def say(self, name: str, speaker: int, words: list[str], language: str = "en-us") -> Said:
        """What speaker `speaker` says as utterance `name`: two to four of `words`."""
        rng = random.Random(name)
        said = [rng.choice(words) for _ in range(rng.randint(2, 4))]
        samples = np.frombuffer(
            self.speaker.say(
                language + VOICES[speaker % len(VOICES)], " ".join(said).lower(),
                rng.randint(150, 180), rng.randint(40, 60), 50, rng.randrange(1 << 30),
            ),
            np.int16,
        )  # fmt: skip
        samples = scipy.signal.resample_poly(samples / 32768, 320, 441)  # 22050 to 16000 Hz
        noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 1e-3, len(samples) + 3200)
        noise[1600 : 1600 + len(samples)] += 0.6 * samples / max(np.abs(samples).max(), 1e-9)
        return Said(said, noise)


def librispeech(folder: Path, studio: Studio, parts: dict[str, int]) -> None:
    """Archives <part>.tar.gz of so many utterances, and the lexicon, as OpenSLR has them."""
    readers, number = {}, 100
    for part in parts:
        readers[part] = range(number, number + (6 if part.startswith("train") else 2))
        number = readers[part].stop
    rows = [
        f"{reader:<4} | {'FM'[reader % 2]} | {part:<16} | 1.00 | A|B\n"
        for part, some in readers.items()
        for reader in some
    ]
    about = f";ID  |SEX| SUBSET |MINUTES| NAME\n{''.join(rows)}".encode()
    for part, count in parts.items():
        speakers = readers[part]
        texts: dict[str, list[str]] = {}
        files = {}
        for i in range(count):
            chapter = f"{speakers[i % len(speakers)]}-{1000 + i % 2}"
            name = f"{chapter}-{i:04d}"
            said = studio.say(name, speakers[i % len(speakers)], list(ENGLISH))
            texts.setdefault(chapter, []).append(f"{name} {' '.join(said.words)}\n")
            files[f"{chapter.replace('-', '/')}/{name}.flac"] = audio(said.samples, "FLAC")
        for chapter, lines in texts.items():
            files[f"{chapter.replace('-', '/')}/{chapter}.trans.txt"] = "".join(lines).encode()
        pack(
            folder / f"{part}.tar.gz",
            {f"LibriSpeech/{part}/{name}": content for name, content in sorted(files.items())}
            | {"LibriSpeech/SPEAKERS.TXT": about},
        )
    words = {**ENGLISH, "WINTER": "W IH N T ER"}  # and one that is never said
    lexicon = "".join(f"{word}\t{phones}\n" for word, phones in words.items())
    (folder / "librispeech-lexicon.txt").write_text(lexicon)


def unigram_arpa(path: Path, words: list[str]) -> None:
    """A language model in the ARPA form, packed: every word, and the end, equally likely."""
    value = f"{-np.log10(len(words) + 1):.4f}"
    lines = ["\\data\\", f"ngram 1={len(words) + 2}", "", "\\1-grams:", "-99 <s>", f"{value} </s>"]
    lines += [f"{value} {word}" for word in words]
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write("\n".join([*lines, "", "\\end\\", ""]))


def aishell(folder: Path, studio: Studio, splits: dict[str, int]) -> None:
    """data_aishell.tgz, with an archive for each speaker in it, and resource_aishell.tgz."""
    inner, lines, speakers = {}, [], []
    for split, count in splits.items():
        own = range(len(speakers) + 2, len(speakers) + (6 if split == "train" else 4))
        speakers += own
        files = {}
        for i in range(count):
            speaker = own[i % len(own)]
            name = f"BAC009S{speaker:04d}W{i:04d}"
            said = studio.say(name, speaker, list(CHINESE), "cmn")
            files.setdefault(speaker, {})[f"{split}/S{speaker:04d}/{name}.wav"] = audio(
                said.samples, "WAV"
            )
            # Words of one or two characters, as the owner has cut them.
            marks = said.words
            lines.append(f"{name} {''.join(marks[:2])} {' '.join(marks[2:])}".rstrip() + "\n")
        for speaker, some in files.items():
            inner[f"data_aishell/wav/S{speaker:04d}.tar.gz"] = packed(some)
    inner["data_aishell/transcript/aishell_transcript_v0.8.txt"] = "".join(lines).encode()
    pack(folder / "data_aishell.tgz", inner)
    lexicon = ["SIL sil\n", "山水 sh an1 sh ui3\n", "地 d e5\n"]  # 地 has two readings
    lexicon += [f"{mark} {phones}\n" for mark, phones in CHINESE.items()]
    sexes = [f"{speaker:04d} {'FM'[speaker % 2]}\n" for speaker in speakers]
    pack(
        folder / "resource_aishell.tgz",
        {
            "resource_aishell/lexicon.txt": "".join(lexicon).encode(),
            "resource_aishell/speaker.info": "".join(sexes).encode(),
        },
    )


def tedlium(folder: Path, studio: Studio, splits: dict[str, tuple[int, int]]) -> None:
    """TEDLIUM_release-3.tgz with {split: (talks, utterances of each)}; legacy/train links to data/.

    Between the utterances of a talk there is silence, and a segment that is not to be scored.
    """
    top, files, links, number = "TEDLIUM_release-3", {}, {}, 0
    for split, (talks, count) in splits.items():
        for _ in range(talks):
            number += 1
            talk, at, pieces, lines = f"Speaker{number}_2016", 0.0, [], []
            for i in range(count):
                said = studio.say(f"{talk}-{i}", number, list(ENGLISH))
                text = " ".join(said.words).lower()
                text = {0: f"{text} <unk>", 1: f"{text} {{NOISE}}"}.get(i, text)
                end = at + len(said.samples) / RATE
                label = f"<o,f0,{('female', 'male')[number % 2]}>" if split != "train" else "<NA>"
                lines.append(f"{talk} 1 {talk} {at:.2f} {end:.2f} {label} {text}\n")
                pieces += [said.samples, np.random.default_rng(i).normal(0, 1e-3, RATE // 2)]
                lines.append(
                    f"{talk} 1 inter_segment_gap {end:.2f} {end + 0.5:.2f} <o,,unknown> "
                    "ignore_time_segment_in_scoring\n"
                )
                at = round(sum(map(len, pieces)) / RATE, 2)
            kept = "data" if split == "train" else f"legacy/{split}"
            files[f"{top}/{kept}/sph/{talk}.sph"] = sphere(np.concatenate(pieces))
            files[f"{top}/legacy/{split}/stm/{talk}.stm"] = "".join(lines).encode()
            if split == "train":
                links[f"{top}/legacy/train/sph/{talk}.sph"] = f"../../../data/sph/{talk}.sph"
    entries = [f"{word.lower()} {phones}\n" for word, phones in ENGLISH.items()]
    entries.append("table(2) T EY B L\n")
    files[f"{top}/TEDLIUM.152k.dic"] = "".join(entries).encode()
    pack(folder / f"{top}.tgz", files, links)


def audio(samples: np.ndarray, form: str) -> bytes:
    """A file of 16-bit samples in a form that libsndfile knows."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=form, subtype="PCM_16")
    return stream.getvalue()


def sphere(samples: np.ndarray) -> bytes:
    """A NIST SPHERE file of 16-bit samples."""
    header = (
        f"NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i {len(samples)}\n"
        f"sample_rate -i {RATE}\nsample_n_bytes -i 2\nsample_byte_format -s2 01\n"
        "sample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    )
    values = np.round(samples * 32767).astype("<i2")
    return header.encode().ljust(1024) + values.tobytes()


def packed(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar.gz of {name: content} and of symbolic links {name: where it points to}."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return stream.getvalue()


def pack(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    """Write `packed` to a file."""
    path.write_bytes(packed(files, links))
