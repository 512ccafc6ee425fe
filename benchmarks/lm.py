"""Estimating n-gram models: speed and memory, beside KenLM's lmplz where there is one.

    python benchmarks/lm.py --words 20000000 --lmplz .../bin/lmplz
    python benchmarks/lm.py --prune TRAIN DEV      perplexity and size of pruned models

The text is drawn: half of the words by a Zipf law, the others by one that depends on the word
before, so that n-grams repeat. Each estimation is a process of its own, which reads the text and
writes an ARPA file; "peak" is the most memory that it had at once, the vocabulary included.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ESTIMATE = """
import sys
from neve.lm import estimate, write_arpa
from neve.lm.config import memory_bytes
text, out, order, memory, scratch = sys.argv[1:]
size = None if memory == "all" else memory_bytes(memory)
with open(text, encoding="utf-8") as lines:
    usual = (0.5, 1.0, 1.5)
    model = estimate(lines, int(order), discount_fallback=usual, memory=size, scratch=scratch)
write_arpa(model, out)
"""


def draw(path: Path, words: int, vocabulary: int, seed: int = 0) -> None:
    """Write about `words` words, 20 a sentence, from `vocabulary` ones."""
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(1.0 / (np.arange(vocabulary) + 2.7))
    cumulative /= cumulative[-1]
    names = np.array([f"w{number}" for number in range(vocabulary)])
    with open(path, "w", encoding="utf-8") as stream:
        for begin in range(0, words, 2_000_000):
            count = min(2_000_000, words - begin) // 20
            rows = np.searchsorted(cumulative, rng.random((20, count)))
            follows = rng.random((20, count)) < 0.5
            for place in range(1, 20):
                after = (rows[place - 1] * 7919 + np.minimum(rows[place], 50) ** 2) % vocabulary
                rows[place] = np.where(follows[place], after, rows[place])
            stream.writelines(" ".join(row) + "\n" for row in names[rows.T].tolist())


def measure(command: list[str], stdin: Path | None = None) -> tuple[float, float, float]:
    """Seconds, seconds of processor time and GiB of a process."""
    begin = time.perf_counter()
    with open(stdin or os.devnull, "rb") as source:
        process = subprocess.Popen(command, stdin=source, stderr=subprocess.PIPE)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed:\n{said.decode()}")
    seconds = time.perf_counter() - begin
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def prune(train: str, dev: str, order: int) -> None:
    """Perplexity on `dev` of the model of `train`, pruned by counts and by entropy."""
    from neve.lm import entropy_prune, estimate

    texts = [Path(path).read_text(encoding="utf-8").splitlines() for path in (train, dev)]
    usual = {"discount_fallback": (0.5, 1.0, 1.5)}
    whole = estimate(texts[0], order, **usual)
    size, least = sum(map(len, whole.levels)), whole.perplexity(texts[1]).value
    print(f"{whole.perplexity(texts[1])}\n\n| model | n-grams | share | perplexity | more |")
    print("|---|---|---|---|---|")

    def row(name: str, model) -> None:
        count, value = sum(map(len, model.levels)), model.perplexity(texts[1]).value
        print(
            f"| {name} | {count:,} | {100 * count / size:.0f} % | {value:.1f} | "
            f"{100 * (value / least - 1):.1f} % |",
            flush=True,
        )

    row("whole", whole)
    for thresholds in ([0] * (order - 1) + [1], [0, 1]):
        name = f"n-grams seen more often than {thresholds}"
        row(name, estimate(texts[0], order, prune=thresholds, **usual))
    for part in (2, 4, 5, 10, 20):
        row(f"entropy, 1/{part}", entropy_prune(whole, max_ngrams=size // part))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--words", type=int, default=20_000_000)
    add("--vocabulary", type=int, default=200_000)
    add("--order", type=int, default=3)
    add("--memory", nargs="+", default=["500M"], help="of lm.memory; all: in memory")
    add("--lmplz", default=shutil.which("lmplz"), help="KenLM's estimator, if there is one")
    add("--dir", help="where the text and the models go for a while")
    add("--prune", nargs=2, metavar="TEXT", help="instead: texts to train and to measure on")
    args = parser.parse_args()
    if args.prune:
        return prune(*args.prune, args.order)
    rows = []
    with tempfile.TemporaryDirectory(dir=args.dir) as place:
        text, out = Path(place) / "text", Path(place) / "lm.arpa"
        draw(text, args.words, args.vocabulary)
        for memory in args.memory:
            command = [sys.executable, "-c", ESTIMATE, str(text), str(out), str(args.order)]
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                rows.append((f"neve, {memory}", *measure([*command, memory, scratch])))
            if args.lmplz and memory != "all":
                command = [args.lmplz, "-o", str(args.order), "-S", memory, "-T", place]
                command += ["--discount_fallback", "--arpa", f"{out}2"]
                found = measure(command, text)
                rows.append((f"lmplz, {memory}", *found))
        ngrams = 0
        with open(out, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("ngram "):
                    ngrams += int(line.split("=")[1])
                if line.startswith("\\1-grams"):
                    break
    print(f"{args.words:,} words, {args.vocabulary:,} different, order {args.order}:")
    print(f"{ngrams:,} n-grams. Load of the machine {os.getloadavg()[0]:.1f}\n")
    print("| estimator, memory | seconds | processor seconds | words per processor second | peak |")
    print("|---|---|---|---|---|")
    for name, seconds, busy, peak in rows:
        print(
            f"| {name} | {seconds:.0f} | {busy:.0f} | {args.words / busy:,.0f} | {peak:.2f} GiB |"
        )


if __name__ == "__main__":
    main()
