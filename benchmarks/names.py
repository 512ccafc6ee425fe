"""Names that training never has: how many are found when they are listed, and how many are made up.

    python benchmarks/names.py WORK

speaks a corpus (names/corpus.py), trains a CTC model on phones (names/conf.yaml), and decodes its
test set with the words of training alone, and with a list in each of the ways of
docs/vocabularies.md. The list has the 60 names of the test set that training never has, and 60 that
nobody says. Scales and boosts are chosen on the dev set, which has other names, by fewest word
errors. All is in WORK, and what is finished there is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from neve.results import read_results
from neve.scoring.alignment import align, count_pairs
from neve.scoring.terms import all_terms, count_terms

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks/names"
CONFIG = ["--config", str(HERE / "conf.yaml"), "--paths.experiments", "exp"]
LIKE = "MEREDITH"  # a name of training, as whose equals others are added
BOOSTS = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0]
SCALES = [0.4, 0.7, 1.0]
CLASS = ["--paths.lm", "data/lm/class"]
UNK, ZERO = ["--graph.add-words-prob", "unk"], ["--graph.add-words-prob", "0"]
# what is said of it, the graph (its list of a set is added), whether phrases are favoured
SYSTEMS = {
    "plain": ("no list", None, False),
    "add": ("`--add-words`", UNK, False),
    "add-like": (f"`--add-words-prob {LIKE}`", ["--graph.add-words-prob", LIKE], False),
    "class": ("the list in the class `$NAME`", [*CLASS, *ZERO], False),
    "add-phrases": ("`--add-words`, and `decoding.phrases`", UNK, True),
    "class-phrases": ("the class, and `decoding.phrases`", [*CLASS, *ZERO], True),
}


def neve(*arguments: str) -> None:
    """Run a verb in the working directory."""
    subprocess.run([sys.executable, "-m", "neve", *arguments], check=True)


def train() -> None:
    """Corpus, features, lang, bigram, graph and model; and the bigram with $NAME."""
    options = ["--data.script", str(HERE / "corpus.py")]
    stages = ["--stage", "1", "--stop-stage", "6"]
    command = ["bash", str(ROOT / "local/asr.sh"), *CONFIG[:2], *options, *stages]
    subprocess.run(command, check=True)
    text = ["--lm.text", "[data/manifests/class.txt]", "--lm.transcripts", "false"]
    neve("lm", *CONFIG, *CLASS, *text)


def write_lists(part: str) -> None:
    """For the set `part`: words and pronunciations, the class, and phrases."""
    manifests, classes = Path("data/manifests"), Path(f"lists/classes_{part}")
    classes.mkdir(parents=True, exist_ok=True)
    lines = {
        one: (manifests / f"names_{one}.txt").read_text().splitlines()
        for one in ("train", "never", part)
    }
    new = sorted(lines[part] + lines["never"])
    known = [line.split()[0] for line in (*new, *lines["train"])]
    Path(f"lists/{part}.txt").write_text("".join(f"{line}\n" for line in new))
    (classes / "class_name.txt").write_text("".join(f"{name}\n" for name in sorted(known)))
    phrases = "".join(f"{line.split()[0]}\n" for line in new)
    Path(f"lists/phrases_{part}.txt").write_text(phrases)


def decode(name: str, part: str, chosen: dict) -> dict:
    """Decode a set; the scales used: the only ones of `chosen`, or the best on dev."""
    _, graph, favours = SYSTEMS[name]
    options = ["--decoding.splits", f"[{part}]", "--decoding.name", f"{name}_{part}"]
    if graph is not None:
        stem = f"data/graphs/{name}"
        added = ["--paths.graph", stem, "--graph.add-words", f"lists/{part}.txt", *graph]
        if CLASS[0] in graph:
            added += ["--graph.classes", f"lists/classes_{part}"]
        neve("graph", *CONFIG, *added)
        options += ["--paths.lang", f"data/lang_phone_{part}", "--paths.graph", f"{stem}_{part}"]
    options += ["--decoding.acoustic-scales", str(chosen.get("acoustic_scale", SCALES))]
    if favours:
        options += ["--decoding.phrases", f"lists/phrases_{part}.txt"]
        options += ["--decoding.phrase-boosts", str(chosen.get("phrase_boost", BOOSTS))]
    neve("decode", *CONFIG, *options)
    return json.loads(Path(f"exp/names-seed0/decode_{name}_{part}/scales.json").read_text())


def row(name: str, part: str) -> str:
    """What a system did on a set, as a row of the table."""
    results = read_results(f"exp/names-seed0/decode_{name}_{part}/hyps-{part}.jsonl")
    terms = [(line,) for line in Path(f"lists/phrases_{part}.txt").read_text().split()]
    never = {line.split()[0] for line in Path("data/manifests/names_never.txt").open()}
    pairs = {one.id: align(one.ref.split(), one.nbest[0].text.split()) for one in results}
    counts = count_terms(terms, pairs.values())
    total = all_terms(counts)
    unsaid = sum(one.hypothesis for one in counts if one.term in never)
    errors = [count_pairs(one) for one in pairs.values()]
    others = [count_pairs(pairs[one.id]) for one in results if one.fields["kind"] != "new"]

    def share(part, whole):
        return f"{100 * part / whole:.1f}" if whole else "-"

    def rate(some):
        return share(sum(x.errors for x in some), sum(x.reference for x in some))

    return (
        f"| {SYSTEMS[name][0]} | {total.correct} of {total.reference} "
        f"| {share(total.correct, total.reference)} "
        f"| {total.hypothesis - total.correct} | {share(total.correct, total.hypothesis)} "
        f"| {unsaid} | {rate(errors)} | {rate(others)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="directory for all that is made")
    parser.add_argument("--set", default="test", choices=("dev", "test"), help="set of the table")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.chdir(args.work)
    train()
    table = []
    for part in ("dev", "test"):
        write_lists(part)
    for name in SYSTEMS:
        scales = decode(name, "dev", {})
        if args.set == "test":
            fixed = {key: [value] for key, value in scales.items()}
            decode(name, "test", fixed)
        table.append(row(name, args.set))
        print(f"{name}: {scales}", flush=True)
    print(
        "| | listed names found | recall % | found where not said | precision % "
        "| of names that nobody says | WER % | WER % of sentences without new names |"
    )
    print("|---|---|---|---|---|---|---|---|", *table, sep="\n")


if __name__ == "__main__":
    main()
