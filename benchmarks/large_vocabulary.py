"""Lang directory, language model and graph of a large vocabulary: time and memory of each stage.

    python benchmarks/large_vocabulary.py --words 1000000

Words and their pronunciations are drawn (3 to 12 of 40 phones), and so is the text: by a Zipf law,
with n-grams that repeat (as benchmarks/lm.py has it). Each stage is the verb itself, a process of
its own: `neve lang`, `neve lm`, `neve graph`; "peak" is the most memory that it had at once.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from lm import draw, measure

PHONES = [f"P{number:02d}" for number in range(40)]


def lexicon(path: Path, words: int, seed: int = 0) -> None:
    """`words` entries; the frequent words are the shorter ones, and some sound alike."""
    rng = np.random.default_rng(seed)
    longest = np.clip(3 + np.log10(np.arange(words) + 1.0) * 1.5, 3, 12)
    lengths = rng.integers(3, longest.astype(int) + 1)
    likely = 1.0 / np.arange(3, 3 + len(PHONES))
    phones = rng.choice(len(PHONES), lengths.sum(), p=likely / likely.sum()).tolist()
    with open(path, "w", encoding="utf-8") as stream:
        at = 0
        for number, length in enumerate(lengths.tolist()):
            spoken = " ".join(PHONES[phone] for phone in phones[at : at + length])
            stream.write(f"W{number} {spoken}\n")
            at += length


def transcripts(path: Path, words: int, vocabulary: int) -> None:
    """Kaldi's text file of drawn sentences."""
    plain = path.with_name("plain.txt")
    draw(plain, words, vocabulary)
    with open(plain, encoding="utf-8") as lines, open(path, "w", encoding="utf-8") as stream:
        stream.writelines(f"u{n:08d} {line.upper()}" for n, line in enumerate(lines))
    plain.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--words", type=int, default=1_000_000, help="of the vocabulary")
    add("--text", type=int, default=10_000_000, help="words of the text")
    add("--max-ngrams", type=int, default=3_000_000, help="of the language model")
    add("--dir", help="where the files go for a while")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        place = Path(name)
        os.chdir(place)
        (place / "data/manifests").mkdir(parents=True)
        lexicon(place / "data/manifests/lexicon.txt", args.words)
        transcripts(place / "data/manifests/text_train", args.text, args.words)
        keys = ["--data.train", "[train]", "--data.dev", "[]", "--lm.max-ngrams"]
        keys += [str(args.max_ngrams), "--lm.order", "3"]
        for verb in ("lang", "lm", "graph"):
            command = [sys.executable, "-m", "neve", verb, *keys]
            rows.append((f"neve {verb}", *measure(command)))
            print(f"neve {verb}: done", file=sys.stderr, flush=True)
        sizes = {
            "lexicon": place / "data/lang_phone/lexicon.txt",
            "G": place / "data/lm/3gram_phone/G.fst.txt",
        }
        for what, path in sizes.items():
            with open(path, "rb") as stream:
                print(f"{what}: {sum(1 for _ in stream):,} lines")
        log = place / "data/graphs/log/phone_3gram.log"
        said = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        print(*(line for line in said if line.startswith("HLG: ")), sep="\n")
    print(f"{args.words:,} words, a text of {args.text:,}, {args.max_ngrams:,} n-grams\n")
    print("| stage | seconds | processor seconds | peak |")
    print("|---|---|---|---|")
    for stage, seconds, busy, peak in rows:
        print(f"| {stage} | {seconds:.0f} | {busy:.0f} | {peak:.1f} GiB |")


if __name__ == "__main__":
    main()
