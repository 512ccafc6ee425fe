"""A tiny corpus of hummed words, as audio files and in each form that users bring."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
PITCH = {"NO": 300, "YES": 600, "MAYBE": 900}


def hum(words: list[str], rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone of 0.3 s for each word, with gaps, in faint noise; (T,) float32."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(0.3 * rate)) / rate
    parts = [np.zeros(int(0.05 * rate))]
    for word in words:
        parts += [0.3 * np.sin(2 * np.pi * PITCH[word] * time), np.zeros(int(0.05 * rate))]
    samples = np.concatenate(parts)
    return (samples + 1e-3 * generator.standard_normal(len(samples))).astype(np.float32)


class TinyCorpus:
    """Audio of `count` utterances of 1 to 4 words by several speakers, in `folder`/audio."""

    def __init__(self, folder: Path, count: int = 12, speakers: int = 4):
        self.folder = folder
        self.audio = folder / "audio"
        self.audio.mkdir(parents=True)
        generator = np.random.default_rng(1)
        self.texts, self.speakers = {}, {}
        for number in range(count):
            name = f"utt{number:03d}"
            words = [str(word) for word in generator.choice(list(PITCH), number % 4 + 1)]
            self.texts[name] = " ".join(words)
            self.speakers[name] = f"spk{number % speakers}"
            soundfile.write(self.path(name), hum(words, seed=number), RATE)

    def path(self, name: str) -> Path:
        return self.audio / f"{name}.wav"

    def rows(self) -> list[list[str]]:
        """Header and rows of a table."""
        rows = [["audio", "text", "speaker"]]
        return rows + [
            [f"audio/{name}.wav", text, self.speakers[name]] for name, text in self.texts.items()
        ]

    def table(self, rows: list[list[str]] | None = None, name: str = "train.csv") -> Path:
        """A table beside the audio folder, by default of all utterances."""
        path = self.folder / name
        comma = "\t" if name.endswith(".tsv") else ","
        path.write_text("".join(comma.join(row) + "\n" for row in rows or self.rows()))
        return path

    def kaldi(self, **changes: list[str]) -> Path:
        """A Kaldi data directory; `changes` replaces the lines of a file (`wav_scp=[...]`)."""
        folder = self.folder / "kaldi"
        folder.mkdir(exist_ok=True)
        names = sorted(self.texts)
        lines = {
            "wav.scp": [f"{name} {self.path(name)}" for name in names],
            "text": [f"{name} {self.texts[name]}" for name in names],
            "utt2spk": [f"{name} {self.speakers[name]}" for name in names],
        }
        lines.update({key.replace("_", "."): value for key, value in changes.items()})
        for name, content in lines.items():
            (folder / name).write_text("".join(f"{line}\n" for line in content))
        return folder
