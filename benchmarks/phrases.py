"""Lists of phrases, up to 100,000 of them: what they cost to read and to build, and in a search.

    python benchmarks/phrases.py --lang DIR --arpa FILE --posteriors FILE [--silence SIL]

DIR, FILE and the posteriors are those of benchmarks/hlg.py; every word of DIR begins several of the
phrases, which is the worst case. Word pieces are trained on the words of DIR; what is heard of them
is random. A list is read in a process of its own, whose "peak" is the memory that it took at most
beyond what it had before. All searches take one thread, and CPU seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from hlg import BEAMS, Clock, prepare

from neve.decoding.phrases import PhraseBonus, PhraseList
from neve.decoding.transducer import beam_search, greedy_search, modified_beam_search
from neve.fsa import biased_lattices, one_best
from neve.graphs import GraphConfig, build_graph, token_biasing, word_biasing
from neve.kernels import lattice_search, prefix_beam_search
from neve.lang import Lang, LangConfig, build_lang
from neve.models.joiner import Joiner
from neve.models.predictor import StatelessPredictor

SIZES = (1_000, 10_000, 100_000)
PIECES = 500
BOOST = 1.0


def write_lists(words: list[str], out: Path) -> None:
    """Different phrases of one to four words, the shorter lists parts of the longer ones."""
    draw, lines = np.random.default_rng(0), {}
    while len(lines) < max(SIZES):
        lines[" ".join(draw.choice(words, draw.integers(1, 5)))] = None
    for size in SIZES:
        (out / f"phrases_{size}.txt").write_text("".join(f"{x}\n" for x in list(lines)[:size]))


def read_one(path: str, lang: str, over: str) -> None:
    """In its own process: read a list, build its automaton; print what that took."""
    loaded = Lang.load(lang)
    biasing = {"words": word_biasing, "pieces": token_biasing}[over]
    few = Path(path).with_name(f"phrases_{min(SIZES)}.txt")
    PhraseList(few, loaded, biasing).with_boost(BOOST)  # so that all is imported and compiled
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    listed = PhraseList(path, loaded, biasing)
    read = time.process_time()
    graph = listed.with_boost(BOOST)
    built = time.process_time()
    listed.with_boost(2 * BOOST)
    other = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    arrays = [x for x in graph.automaton if isinstance(x, np.ndarray)]
    facts = {"states": graph.num_states, "bytes": sum(x.nbytes for x in arrays), "peak": peak}
    print(
        json.dumps({**facts, "read": read - begin, "build": built - read, "again": other - built})
    )


def least(function, repeat: int) -> float:
    """CPU seconds of the fastest of some runs."""
    clocks = []
    for _ in range(repeat):
        with Clock() as clock:
            function()
        clocks.append(clock.cpu)
    return min(clocks)


def word_searches(graph, log_probs, automaton):
    """{search: function} through the graph; None is a search without a list."""
    lengths = np.full(len(log_probs), log_probs.shape[1])
    beams = list(BEAMS.values())
    if automaton is None:
        return {
            "graph": lambda: one_best(graph, log_probs, lengths, **BEAMS, threads=1),
            "lattices": lambda: lattice_search(
                graph, log_probs, lengths, beams[0], 8.0, *beams[1:], threads=1
            ),
        }
    return {
        "graph": lambda: one_best(graph, log_probs, lengths, **BEAMS, threads=1, phrases=automaton),
        "lattices": lambda: biased_lattices(
            graph, automaton, log_probs, lengths, beams[0], 8.0, *beams[1:], threads=1
        ),
    }


def token_searches(graph):
    """{search: function} over word pieces; None is a search without a list."""
    rows, frames = 4, 100
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(rows, frames, PIECES)) * 3
    logits[..., 0] += 6
    log_probs = (logits - np.logaddexp.reduce(logits, -1, keepdims=True)).astype(np.float32)
    lengths = np.full(rows, frames)
    torch.manual_seed(0)
    predictor, joiner = StatelessPredictor(PIECES, 256, 2), Joiner(256, 256, 512, PIECES)
    model = SimpleNamespace(predictor=predictor.eval(), joiner=joiner.eval())
    for parameter in joiner.parameters():
        parameter.data.mul_(4.0)
    encoded = torch.randn(rows, frames, 256)

    def transducer(search, **options):
        def run():
            if graph is not None:
                options["phrases"] = PhraseBonus(graph, PIECES)
            return search(model, encoded, lengths.tolist(), **options)

        return run

    automaton = graph and graph.automaton
    return {
        "ctc-prefix-beam": lambda: prefix_beam_search(log_probs, lengths, 8, 1, automaton),
        "greedy": transducer(greedy_search),
        "modified-beam": transducer(modified_beam_search, beam=4),
        "beam": transducer(beam_search, beam=4, max_symbols=2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lang", type=Path, required=True)
    parser.add_argument("--arpa", type=Path, required=True)
    parser.add_argument("--silence", default="", help="the optional silence token, if there is one")
    parser.add_argument("--posteriors", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=0, help="0: all of the posteriors")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        (out / "hlg").mkdir()
        prepare(args.lang, args.arpa, args.silence, out / "hlg")
        graph = build_graph(out / "hlg", out / "hlg" / "G.fst.txt", GraphConfig(kind="HLG"))
        ids = {w: int(n) for w, n in map(str.split, (args.lang / "words.txt").open())}
        words = sorted(word for word in ids if word[0] not in "<#!" and word != args.silence)
        write_lists(words, out)
        (out / "text").write_text("".join(f"u{n} {word}\n" for n, word in enumerate(words)))
        settings = {"write_pt": False, "oov": "error"}
        lexicon = out / "lexicon.txt"
        lexicon.write_text("".join(f"{word} a\n" for word in words))
        build_lang(LangConfig(**settings), [out / "text"], lexicon, out / "words")
        pieces = LangConfig(kind="bpe", vocab_size=PIECES, **settings)
        build_lang(pieces, [out / "text"], None, out / "pieces")
        print("| over | phrases | states | automaton | peak | read | build | another boost |")
        print("|---|---|---|---|---|---|---|---|")
        for over in ("words", "pieces"):
            for size in SIZES:
                command = [sys.executable, __file__, "--one", str(out / f"phrases_{size}.txt")]
                done = subprocess.run(
                    [*command, str(out / over), over], check=True, capture_output=True, text=True
                )
                x = json.loads(done.stdout)
                print(
                    f"| {over} | {size:,} | {x['states']:,} | {x['bytes'] / 2**20:.1f} MiB "
                    f"| {x['peak'] / 1024:.0f} MiB | {x['read']:.2f} s | {x['build']:.2f} s "
                    f"| {x['again']:.2f} s |"
                )
        log_probs = np.load(args.posteriors)["lp"][: args.utterances or None]
        spelled = SimpleNamespace(words=ids, directory=args.lang)
        lang = Lang.load(out / "pieces")
        seconds = {}
        for size in (0, *SIZES):
            by_word = by_piece = None
            if size:
                lines = (out / f"phrases_{size}.txt").read_text().splitlines()
                phrases = [(line.split(), BOOST) for line in lines]
                by_word = word_biasing(spelled, phrases).automaton
                by_piece = token_biasing(lang, phrases)
            searches = word_searches(graph, log_probs, by_word) | token_searches(by_piece)
            for name, function in searches.items():
                function()  # compiled
                seconds.setdefault(name, []).append(least(function, args.repeat))
        print(f"\n| search | no list | {' | '.join(f'{size:,}' for size in SIZES)} |")
        print(f"|---|---|{'---|' * len(SIZES)}")
        for name, (plain, *others) in seconds.items():
            cells = (f"{x:.2f} s, × {x / plain:.2f}" for x in others)
            print(f"| {name} | {plain:.2f} s | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        read_one(*sys.argv[2:])
    else:
        main()
