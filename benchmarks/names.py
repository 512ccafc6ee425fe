"""Names that training never has: how many are found when they are listed, and how many are made up.

    python benchmarks/names.py WORK [--section.key VALUE ...]

speaks a corpus (names/corpus.py), trains a CTC model on phones (names/conf.yaml; further options
hold for all of it), and decodes its test set with the words of training alone, and with a list in
each of the ways of docs/vocabularies.md. The list has the 60 names of the test set that training
never has, and 60 that nobody says. Scales and boosts are chosen on the dev set, which has other
names, by fewest word errors. All is in WORK, and what is finished there is not done again.
"""

import argparse
import dataclasses
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from neve.cli.main import load_config, split_overrides
from neve.data import AugmentConfig, Loader
from neve.decoding import Recognizer
from neve.decoding.scales import best_of, sweep
from neve.graphs import load_graph
from neve.lang import Lang
from neve.models import load_model
from neve.scoring.alignment import align, count_pairs
from neve.scoring.terms import all_terms, count_terms

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks/names"
CONFIG = ["--config", str(HERE / "conf.yaml"), "--paths.experiments", "exp"]
LIKE = "MEREDITH"  # a name of training, as whose equals others are added
BOOSTS = [0.0, 2.0, 4.0, 8.0]
SCALES = [1.0, 2.0]
UNK, AS_LIKE = ["--add-words-prob", "unk"], ["--add-words-prob", LIKE]
CLASS = ["--paths.lm", "data/lm/class"]
# what is said of it, the graph that a list is added to and how, whether phrases are favoured
SYSTEMS = (
    ("no list", "plain", None, False),
    ("`--add-words`", "add", UNK, False),
    (f"`--add-words-prob {LIKE}`", "like", AS_LIKE, False),
    ("the list in the class `$NAME`", "class", CLASS, False),
    ("`--add-words`, `decoding.phrases`", "add", UNK, True),
    ("the class, `decoding.phrases`", "class", CLASS, True),
)
HEAD = (
    "| | listed names found | recall % | found where not said | precision % "
    "| of these, names that nobody says | WER % | WER % of sentences without new names |\n"
    "|---|---|---|---|---|---|---|---|"
)


def neve(*arguments: str) -> None:
    """Run a verb in the working directory."""
    subprocess.run([sys.executable, "-m", "neve", *arguments], check=True)


def prepare(options: list[str]) -> None:
    """Corpus, lang, bigrams (names as words, and as $NAME), graphs and model."""
    script = ["--data.script", str(HERE / "corpus.py")]
    stages = ["--stage", "1", "--stop-stage", "6"]
    command = ["bash", str(ROOT / "local/asr.sh"), *CONFIG[:2], *script, *stages, *options]
    subprocess.run(command, check=True)
    text = ["--lm.text", "[data/manifests/class.txt]", "--lm.transcripts", "false"]
    neve("lm", *CONFIG, *options, *CLASS, *text)
    for part in ("dev", "test"):
        write_lists(part)
        for name, how in {name: how for _, name, how, _ in SYSTEMS if how}.items():
            added = ["--add-words", f"lists/{part}.txt", *how]
            if how is CLASS:
                added += ["--add-words-prob", "0", "--graph.classes", f"lists/classes_{part}"]
            graph = ["--paths.graph", f"data/graphs/{name}"]
            neve("graph", *CONFIG, *options, *graph, *added)


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


class Sets:
    """The dev and the test set, encoded once, and what recognises them."""

    def __init__(self, overrides: list[tuple[str, str]]):
        self.config = load_config([str(HERE / "conf.yaml")], overrides)
        self.lang = Lang.load("data/lang_phone")
        weights, bins = Path(self.config.paths.exp) / "averaged.pt", self.config.features.num_bins
        self.model = load_model(weights, self.config.model, bins, self.lang.num_tokens)
        self.batches: dict[str, list] = {}

    def recognizer(self, part: str, name: str, added: bool, favours: bool) -> Recognizer:
        options = dataclasses.replace(self.config.decoding, acoustic_scales=SCALES)
        if favours:
            options.phrases, options.phrase_boosts = f"lists/phrases_{part}.txt", BOOSTS
        lang = Lang.load(f"data/lang_phone_{part}") if added else self.lang
        graph = load_graph(f"data/graphs/{name}{f'_{part}' if added else ''}/HLG")
        return Recognizer(self.model, lang, graph, options, self.config.features.frame_shift)

    @torch.inference_mode()
    def of(self, part: str, recognizer: Recognizer) -> list:
        """(outputs, lengths, texts, ids) of the batches of a set."""
        if part not in self.batches:
            cuts = Path(f"data/fbank/cuts_{part}.jsonl.gz")
            loader = Loader([cuts], self.config.data, AugmentConfig(), training=False)
            self.batches[part] = [
                (*recognizer.encode(one["features"], one["feature_lens"]), one["texts"], one["ids"])
                for one in loader
            ]
        return self.batches[part]


def row(what: str, part: str, found: dict[str, tuple[str, str]]) -> str:
    """A row of the table, of {utterance: (reference, hypothesis)}."""
    terms = [(line,) for line in Path(f"lists/phrases_{part}.txt").read_text().split()]
    never = {line.split()[0] for line in Path("data/manifests/names_never.txt").open()}
    with gzip.open(f"data/manifests/supervisions_{part}.jsonl.gz", "rt") as lines:
        kinds = {one["id"]: one["custom"]["kind"] for one in map(json.loads, lines)}
    pairs = {name: align(ref.split(), hyp.split()) for name, (ref, hyp) in found.items()}
    counts = count_terms(terms, pairs.values())
    total = all_terms(counts)
    unsaid = sum(one.hypothesis for one in counts if one.term in never)
    everything = [count_pairs(one) for one in pairs.values()]
    others = [count_pairs(one) for name, one in pairs.items() if kinds[name] != "new"]

    def share(part, whole):
        return f"{100 * part / whole:.1f}" if whole else "-"

    def rate(some):
        return share(sum(x.errors for x in some), sum(x.reference for x in some))

    return (
        f"| {what} | {total.correct} of {total.reference} "
        f"| {share(total.correct, total.reference)} | {total.hypothesis - total.correct} "
        f"| {share(total.correct, total.hypothesis)} | {unsaid} "
        f"| {rate(everything)} | {rate(others)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="directory for all that is made")
    parser.add_argument("--set", default="test", choices=("dev", "test"), help="set of the table")
    words, overrides = split_overrides(sys.argv[1:], parser)
    args = parser.parse_args(words)
    args.work.mkdir(parents=True, exist_ok=True)
    os.chdir(args.work)
    prepare([part for key, value in overrides for part in (f"--{key}", value)])
    evaluate(args.set, overrides)


def evaluate(part: str, overrides: list[tuple[str, str]]) -> None:
    """Choose on dev, decode the set `part`, and print the table."""
    sets, table = Sets(overrides), []
    for what, name, how, favours in SYSTEMS:
        tuned = sets.recognizer("dev", name, how is not None, favours)
        scales = best_of(sweep(tuned, [one[:3] for one in sets.of("dev", tuned)]))
        recognizer = sets.recognizer(part, name, how is not None, favours)
        found = {}
        for outputs, lengths, texts, ids in sets.of(part, recognizer):
            hypotheses = recognizer.search(outputs, lengths, scales)
            for utterance, text, (best, *_) in zip(ids, texts, hypotheses):
                found[utterance] = text, best.text
        boost = f", boost {scales.phrase_boost:g}" if favours else ""
        print(f"{what}: acoustic scale {scales.acoustic_scale:g}{boost}", flush=True)
        table.append(row(what, part, found))
    print(HEAD, *table, sep="\n")


if __name__ == "__main__":
    main()
