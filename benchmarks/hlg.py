"""Building and decoding with an HLG: sizes, CPU seconds, and agreement with recorded results.

    python benchmarks/hlg.py --lang DIR --arpa FILE [--silence SIL] [--posteriors FILE ...]
        [--reference FILE ...] [--sequences FILE FILE]

DIR has tokens.txt, words.txt and lexicon_disambig.txt. A posteriors file (.npz) holds `lp`
(N, T, C) log-probabilities. A reference (.npz), one for each posteriors file, holds what another
decoder found: `best` (N,) scores and word ids `hyp0`, `hyp1`, ... The sequences are a JSON list of
token sequences and a JSON object with their best scores `s` and words `w` through another LG.
"""

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from neve.graphs import GraphConfig, build_G, build_graph, build_L, build_LG
from neve.kernels import Graph, lattice_search, one_best, warm_up
from neve.lang import LexiconEntry, SymbolTable
from neve.lang.lexicon_fst import make_lexicon_fst
from neve.lm.grammar import arpa_to_fst

BEAMS = {"search_beam": 20.0, "min_active": 30, "max_active": 10000}


class Clock:
    """CPU and wall-clock seconds of a block."""

    def __enter__(self):
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.cpu = time.process_time() - self.cpu
        self.wall = time.perf_counter() - self.wall

    def __str__(self):
        return f"{self.cpu:.2f} CPU s ({self.wall:.2f} s)"


def prepare(lang: Path, arpa: Path, silence: str, out: Path) -> None:
    """Writes what building needs into `out`: symbol tables, L_disambig.npz and G.fst.txt."""
    for name in ("tokens.txt", "words.txt"):
        (out / name).write_bytes((lang / name).read_bytes())
    lines = (lang / "lexicon_disambig.txt").read_text(encoding="utf-8").splitlines()
    entries = [LexiconEntry(word, tuple(tokens)) for word, *tokens in map(str.split, lines)]
    tokens, words = SymbolTable.read(out / "tokens.txt"), SymbolTable.read(out / "words.txt")
    fst = make_lexicon_fst(entries, tokens, words, silence=silence, disambig=True)
    fst.save(out / "L_disambig.npz")
    with Clock() as clock:
        arpa_to_fst(arpa, out / "words.txt", out / "G.fst.txt")
    print(f"G from ARPA: {clock}")


def decode(graph: Graph, posteriors: Path, reference: Path | None, repeat: int) -> None:
    log_probs = np.load(posteriors)["lp"]
    lengths = np.full(len(log_probs), log_probs.shape[1])
    seconds = lengths.sum() * 0.04
    clocks = []
    for _ in range(repeat):
        with Clock() as clock:
            paths = one_best(graph, log_probs, lengths, **BEAMS)
        clocks.append(clock)
    cpu = sorted(clock.cpu for clock in clocks)
    wall = sorted(clock.wall for clock in clocks)
    print(
        f"{posteriors.name}: one-best, median of {repeat}: {cpu[repeat // 2]:.2f} CPU s "
        f"({wall[repeat // 2]:.2f} s; least {cpu[0]:.2f} CPU s) for {len(log_probs)} utterances, "
        f"{seconds:.0f} s at 25 frames a second"
    )
    for pruning in ("exact", "k2"):
        with Clock() as clock:
            lattices = lattice_search(
                graph, log_probs, lengths, output_beam=8.0, pruning=pruning, **BEAMS
            )
        arcs = sum(len(lattice.src) for lattice in lattices)
        print(f"  lattices, output beam 8, {pruning} pruning: {clock}, {arcs:,} arcs")
    if reference is not None:
        wanted = np.load(reference)
        same = sum(
            graph.words(path.arcs)[0].tolist() == wanted[f"hyp{row}"].tolist()
            for row, path in enumerate(paths)
        )
        gap = max(abs(path.score - best) for path, best in zip(paths, wanted["best"]))
        print(
            f"  against {reference.name}: {same} of {len(paths)} hypotheses the same, "
            f"largest difference of best scores {gap:.5f}"
        )


def compare_sequences(lang: Path, sequences: Path, reference: Path) -> None:
    tokens, words = (SymbolTable.read(lang / name)["#0"] for name in ("tokens.txt", "words.txt"))
    graph = build_LG(build_L(lang), build_G(lang / "G.fst.txt"), tokens, words)
    print(f"LG without epsilons: {graph.num_states:,} states, {graph.num_arcs:,} arcs")
    wanted = json.loads(reference.read_text())
    same, gap = 0, 0.0
    for sequence, score, hypothesis in zip(
        json.loads(sequences.read_text()), wanted["s"], wanted["w"]
    ):
        frames = np.full((1, len(sequence), tokens), -np.inf, np.float32)
        frames[0, np.arange(len(sequence)), sequence] = 0
        (path,) = one_best(graph, frames, [len(sequence)], 1e9, 0, 10**9)
        same += graph.words(path.arcs)[0].tolist() == hypothesis
        gap = max(gap, abs(path.score - score))
    print(
        f"  against {reference.name}: {same} of {len(wanted['s'])} word sequences the same, "
        f"largest difference of scores {gap:.5f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lang", type=Path, required=True)
    parser.add_argument("--arpa", type=Path, required=True)
    parser.add_argument("--silence", default="", help="the optional silence token, if there is one")
    parser.add_argument("--topology", default="standard", choices=("standard", "modified"))
    parser.add_argument("--posteriors", type=Path, nargs="*", default=[])
    parser.add_argument("--reference", type=Path, nargs="*", default=[])
    parser.add_argument("--sequences", type=Path, nargs=2, default=[])
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    references = args.reference or [None] * len(args.posteriors)
    if len(references) != len(args.posteriors):
        parser.error("one --reference for each file of --posteriors")

    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    with Clock() as clock:
        warm_up()
    print(f"kernels compiled or read from the cache: {clock}")
    with tempfile.TemporaryDirectory() as directory:
        lang = Path(directory)
        prepare(args.lang, args.arpa, args.silence, lang)
        with Clock() as clock:
            graph = build_graph(lang, lang / "G.fst.txt", GraphConfig(topology=args.topology))
        print(f"HLG from L and G: {clock}, {graph.num_states:,} states, {graph.num_arcs:,} arcs")
        if args.sequences:
            compare_sequences(lang, *args.sequences)
    for posteriors, reference in zip(args.posteriors, references):
        decode(graph, posteriors, reference, args.repeat)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
