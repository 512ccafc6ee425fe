"""Every method of decoding on a set of a recipe, where its beam has converged, beside the real k2.

    cd egs/an4/ASR
    python ../../../benchmarks/decoding.py --config conf/transducer.yaml --set test \\
        --rescore-lm data/lm/4gram/lm.arpa [--k2-python PYTHON] [--repeat 3] \\
        [--out ../../../docs/decoding-speed.md] [--section.key VALUE]...

Takes what stages 2 to 6 made. Searches the outputs of the model, computed once, with wider and
wider beams until the word errors stay the same; at the narrowest such beam it asks the real k2 (the
interpreter that NEVE_K2_PYTHON names or local/k2_oracle.py made): as the backend of neve's methods,
for the same words; and, in k2's own functions, the two sides taking turns, for the time. All sides
have one thread. Scales are those that the experiment's decodings with the names in `CHOSE` have
chosen on dev; of what is not there, the first values of their keys.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kaldialign import edit_distance

from neve.cli.decode import (
    ctc_lang_path,
    own_lm_path,
    scales_path,
    take_graph_keys,
    take_scales,
)
from neve.cli.main import load_config, split_overrides
from neve.costs import Cost
from neve.data import AugmentConfig, Loader
from neve.decoding.corpus import own_words
from neve.decoding.recognizer import Recognizer
from neve.decoding.scales import candidates
from neve.files import atomic_open
from neve.fsa.backends import use
from neve.fsa.backends.k2.client import find_python
from neve.graphs import load_graph
from neve.lang import Lang
from neve.models import TransducerModel, load_model

PEER = Path(__file__).with_name("decoding_peer.py")
LATTICE = ("1best", "nbest", "nbest-oracle", "lattice-oracle", "nbest-rescoring",
           "whole-lattice-rescoring", "mbr")  # fmt: skip
IN_K2 = ("1best", "nbest", "nbest-oracle", "whole-lattice-rescoring")  # in decoding_peer.py
CHOSE = {
    **dict.fromkeys(("graph", *LATTICE), "graph"),
    "greedy": "greedy", "modified-beam": "modified-beam", "beam": "modified-beam",
    "fast-beam": "fast-beam", "fast-beam-nbest": "fast-beam-nbest",
}  # fmt: skip
SEARCH_BEAMS = (6.0, 10.0, 14.0, 20.0, 28.0)
OUTPUT_BEAMS = (3.0, 5.0, 8.0, 12.0)
BEAMS = (1, 2, 4, 8, 16)
STATES = (8, 16, 32, 64, 128)


class Task:
    """A trained model, its set, and what its methods need."""

    def __init__(self, config, split: str):
        self.config, paths = config, config.paths
        self.lang = Lang.load(paths.lang)
        self.ctc_lang = Lang.load(ctc_lang_path(config) or paths.lang)
        self.graph_dir = Path(paths.graph) / config.graph.kind
        self.graph = load_graph(self.graph_dir)
        self.model = load_model(
            Path(paths.exp) / config.decoding.checkpoint, config.model, config.features.num_bins,
            self.lang.num_tokens, self.ctc_lang.num_tokens,
        )  # fmt: skip
        file = Path(paths.fbank) / f"cuts_{split}.jsonl.gz"
        data = replace(config.data, max_duration=config.decoding.max_duration)
        self.batches = list(Loader([file], data, AugmentConfig(), training=False))
        self.texts = [text for batch in self.batches for text in batch["texts"]]
        self.audio = sum(sum(batch["durations"]) for batch in self.batches)
        self.words = sum(len(text.split()) for text in self.texts)
        self.encoded: dict[bool, tuple[list, float]] = {}

    def recognizer(self, method: str, **changes) -> Recognizer:
        options = replace(self.config.decoding, method=method, threads=1, nbest=1, **changes)
        options.scales_of = CHOSE[method]
        config = replace(self.config, decoding=options)
        chosen = scales_path(config)
        if chosen.exists():
            take_scales(config, chosen)
        take_graph_keys(config)
        lm = own_words(config, self.ctc_lang, own_lm_path(config))
        graph = self.graph if method in ("graph", *LATTICE) else None
        return Recognizer(
            self.model, self.lang, graph, options, config.features.frame_shift, self.ctc_lang, lm
        )

    def outputs(self, recognizer: Recognizer) -> list[tuple]:
        """(outputs, lengths, texts) of all batches, for searches of CTC or of the transducer."""
        head = recognizer.method.lang is self.ctc_lang and isinstance(self.model, TransducerModel)
        if head not in self.encoded:
            begin, found = time.perf_counter(), []
            for batch in self.batches:
                made = recognizer.encode(batch["features"], batch["feature_lens"])
                found.append((*made, batch["texts"]))
            self.encoded[head] = found, time.perf_counter() - begin
        return self.encoded[head][0]

    def run(self, method: str, **changes) -> dict:
        """Words, errors, seconds of search and lattice depth."""
        recognizer = self.recognizer(method, **changes)
        scales = first_scales(recognizer)
        cost, said = Cost(audio=self.audio), []
        for outputs, lengths, texts in self.outputs(recognizer):
            with cost.search.measured():
                found = recognizer.method.first_pass(outputs, lengths, scales)
                rows = recognizer.method.second_pass(found, scales, texts)
            cost.frames += int(lengths.sum())
            cost.add_sizes(recognizer.method.sizes(found))
            said += [row[0].text.split() for row in rows]
        return {"words": said, "errors": self.errors(said), "cost": cost}

    def errors(self, said: list[list[str]]) -> int:
        return sum(
            edit_distance(text.split(), words)["total"] for text, words in zip(self.texts, said)
        )


def converged(task: Task, method: str, steps: list[dict], **given) -> tuple[list, int]:
    """The runs of all steps, and the first step from which on the errors are those of the last."""
    runs = [task.run(method, **step, **given) for step in steps]
    place = len(runs) - 1
    while place and runs[place - 1]["errors"] == runs[-1]["errors"]:
        place -= 1
    return runs, place


def first_scales(recognizer: Recognizer):
    """The scales of a search, of several the first."""
    return candidates(recognizer.config, recognizer.method.scales)[0]


def padded(rows: list[np.ndarray], lengths: list[int]) -> np.ndarray:
    """(N, T, D) float32 of the first frames of N arrays."""
    filled = np.zeros((len(rows), max(lengths), rows[0].shape[1]), np.float32)
    for place, (row, length) in enumerate(zip(rows, lengths)):
        filled[place, :length] = row[:length]
    return filled


class K2:
    """The real k2 in a process of its own, with the task's graph and log-probabilities."""

    def __init__(self, python: str, task: Task, rescore_lm: str, scratch: Path):
        recognizer = task.recognizer("1best")
        scales = first_scales(recognizer)
        rows, lengths, texts = [], [], []
        for outputs, sizes, batch_texts in task.outputs(recognizer):
            scored = recognizer.method.penalised(outputs, scales.blank_penalty)
            rows += list(scored * np.float32(scales.acoustic_scale))
            lengths += sizes.tolist()
            texts += batch_texts
        self.symbols = task.ctc_lang.words
        known = [[self.symbols[w] for w in text.split() if w in self.symbols] for text in texts]
        np.savez(
            scratch / "posteriors.npz", lp=padded(rows, lengths), lengths=lengths,
            text_lengths=[len(text) for text in known],
            text_words=np.array([word for text in known for word in text], np.int32),
        )  # fmt: skip
        G = ""
        if rescore_lm:
            from neve.lm import arpa_to_fst

            G = str(scratch / "G.fst.txt")
            arpa_to_fst(rescore_lm, task.ctc_lang.directory / "words.txt", G)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(PEER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.lang = task.ctc_lang
        graph = f"{task.graph_dir}.pt"
        self.order("load", graph=graph, posteriors=str(scratch / "posteriors.npz"), G=G,
                   backoff=self.symbols["#0"])  # fmt: skip

    def load_transducer(self, task: Task, scratch: Path) -> None:
        """What the joiner needs: the encoder's part, and the predictor's for all contexts."""
        recognizer = task.recognizer("fast-beam")
        method, scales = recognizer.method, first_scales(recognizer)
        joiner, tokens = method.model_with(scales).joiner, task.lang.num_tokens
        rows, lengths, self.batches = [], [], []
        with torch.inference_mode():
            for outputs, sizes, _ in task.outputs(recognizer):
                rows += list(joiner.project(outputs).numpy())
                lengths += sizes.tolist()
                self.batches.append(len(sizes))
            pairs = [(a, b) for a in range(tokens) for b in range(tokens)]
            said = method.contexts.outputs([(0,) if pair == (0, 0) else pair for pair in pairs])
        heard, width = padded(rows, lengths), joiner.output.in_features
        np.savez(
            scratch / "joiner.npz", heard=heard[..., :width], unknown=heard[..., width:],
            lengths=np.array(lengths, np.int32), said=said.numpy(),
            weight=joiner.output.weight.detach().numpy(),
            bias=joiner.output.bias.detach().numpy(),
        )  # fmt: skip
        self.order("load-transducer", joiner=str(scratch / "joiner.npz"))

    def fast_beam(self, task: Task, **step) -> dict:
        recognizer = task.recognizer("fast-beam", **step)
        scales = first_scales(recognizer)
        answer = self.order(
            "fast-beam", search_beam=recognizer.config.search_beam, batches=self.batches,
            blank_penalty=scales.blank_penalty, history_scale=scales.history_scale, **step,
        )  # fmt: skip
        answer["words"] = [task.lang.decode(tokens).split() for tokens in answer["words"]]
        return answer

    def order(self, task: str, **arguments) -> dict:
        self.process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"k2: the process ended during {task}")
        return json.loads(line)

    def run(self, method: str, options) -> dict:
        answer = self.order(
            method, search_beam=options.search_beam, output_beam=options.output_beam,
            num_paths=options.num_paths, lm_scale=options.lm_scales[0],
        )  # fmt: skip
        names = ([self.symbols[x] for x in words] for words in answer["words"])
        answer["words"] = [[w for w in words if self.lang.is_written(w)] for words in names]
        return answer


def lattice_rows(task: Task, k2: K2 | None, repeat: int, rescore_lm: str):
    """Rows of the table of lattice methods, and those of convergence."""
    rows, more = [], []
    wide = [{"search_beam": s, "output_beam": max(OUTPUT_BEAMS)} for s in SEARCH_BEAMS]
    for method in ("graph", *LATTICE):
        given = {"rescore_lm": rescore_lm} if "rescoring" in method else {}
        if "rescoring" in method and not rescore_lm:
            continue
        steps = wide if method != "graph" else [{"search_beam": beam} for beam in SEARCH_BEAMS]
        task.run(method, **steps[0], **given)  # compiles and reads, untimed
        runs, place = converged(task, method, steps, **given)
        more += [told(task, method, step, run) for step, run in zip(steps, runs)]
        chosen = dict(steps[place])
        if method != "graph":
            steps = [{**chosen, "output_beam": beam} for beam in OUTPUT_BEAMS]
            runs, place = converged(task, method, steps, **given)
            more += [told(task, method, step, run) for step, run in zip(steps[:-1], runs)]
            chosen = dict(steps[place])
        mine, theirs = [], []
        for _ in range(repeat):
            mine.append(task.run(method, **chosen, **given))
            if k2 and method in IN_K2:
                options = task.recognizer(method, **chosen, **given).config
                theirs.append(k2.run(method, options))
        row = told(task, method, chosen, mine[0])
        row[-2], factor, ratio, own = beside(task, mine, theirs)
        same = ""
        if k2 and method != "graph":
            with use("k2"):
                backend = task.run(method, **chosen, **given)
            same = equal(mine[0]["words"], backend["words"])
        rows.append([*row, factor, ratio, same, own])
    return rows, more


def transducer_rows(task: Task, k2: K2 | None, repeat: int):
    """As `lattice_rows`, of the transducer's searches."""
    rows, more = [], []
    fast = [{"max_states": n, "max_contexts": max(4, n // 8)} for n in STATES]
    searches = {
        "greedy": [{}],
        "modified-beam": [{"beam": n} for n in BEAMS],
        "beam": [{"beam": n} for n in BEAMS[1:4]],
        "fast-beam": fast,
        "fast-beam-nbest": fast,
    }
    for method, steps in searches.items():
        task.run(method, **steps[0])
        runs, place = converged(task, method, steps)
        more += [told(task, method, step, run) for step, run in zip(steps, runs)]
        mine, theirs = [], []
        for _ in range(repeat):
            mine.append(task.run(method, **steps[place]))
            if k2 and method == "fast-beam":
                theirs.append(k2.fast_beam(task, **steps[place]))
        row = told(task, method, steps[place], runs[place])
        row[-2], *other = beside(task, mine, theirs)
        rows.append([*row, *other])
    return rows, more


def beside(task: Task, mine: list[dict], theirs: list[dict]) -> list[str]:
    """Real-time factors of our runs and k2's, their ratio, and how many utterances are the same;
    but for the first nothing where k2 has not run."""
    seconds = statistics.median(run["cost"].search.wall for run in mine)
    factor = f"{seconds / task.audio:.5f}"
    if not theirs:
        return [factor, "", "", ""]
    other = statistics.median(run["seconds"] for run in theirs)
    same = equal(mine[0]["words"], theirs[0]["words"])
    return [factor, f"{other / task.audio:.5f}", f"{other / seconds:.1f}", same]


def told(task: Task, method: str, step: dict, run: dict) -> list[str]:
    """Method, setting, WER, real-time factor of the search, depth."""
    setting = ", ".join(f"{key} {value:g}" for key, value in step.items()) or "-"
    cost, depth = run["cost"], run["cost"].depth
    return [method, setting, f"{100 * run['errors'] / task.words:.2f}",
            f"{cost.search_factor:.5f}", "-" if depth is None else f"{depth:.1f}"]  # fmt: skip


def equal(mine, theirs) -> str:
    return f"{sum(a == b for a, b in zip(mine, theirs, strict=True))} of {len(mine)}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", action="append", required=True)
    parser.add_argument("--set", default="dev")
    parser.add_argument("--rescore-lm", default="", help="ARPA file of the rescoring methods")
    parser.add_argument("--k2-python", default=str(find_python() or ""))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the page to write")
    words, overrides = split_overrides(sys.argv[1:], parser)
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    task = Task(load_config(args.config, overrides), args.set)
    with tempfile.TemporaryDirectory() as scratch:
        k2 = None
        if args.k2_python:
            k2 = K2(args.k2_python, task, args.rescore_lm, Path(scratch))
        rows, more = lattice_rows(task, k2, args.repeat, args.rescore_lm)
        searches, further = [], []
        if isinstance(task.model, TransducerModel):
            shape = task.config.model
            alike = k2 and shape.context_size == 2 and shape.blank == "joint"  # as in the peer
            if alike:
                k2.load_transducer(task, Path(scratch))
            searches, further = transducer_rows(task, k2 if alike else None, args.repeat)
    head = ["method", "beams", "WER %", "search RTF", "depth"]
    lines = ["# Speed of decoding", "", "Written by", "", f"    python {' '.join(sys.argv)}", ""]
    seconds = {head: made[1] for head, made in task.encoded.items()}
    lines += [
        f"{args.set}: {len(task.texts)} utterances, {task.words} words, {task.audio:.0f} s; one "
        f"thread of {platform.machine()}, torch {torch.__version__}. The model takes "
        f"{max(seconds.values()) / task.audio:.4f} s for a second of audio, once for all searches.",
        "",
        "## Lattices of CTC",
        "",
        "At the narrowest beams from which on wider ones have the same number of word errors. RTF: "
        "seconds for a second of audio, the median of "
        f"{args.repeat} runs. k2 RTF: the same method in functions of the real k2, which has none "
        "for the others; ratio: of k2's to neve's. Same words: utterances with the same words with "
        "the real k2 as backend of neve, and by the method in k2's functions.",
        *table([*head, "k2 RTF", "ratio", "same words, backend", "same words, k2"], rows),
    ]
    if searches:
        lines += [
            "",
            "## Transducer",
            "",
            "k2: its RnntDecodingStreams with the same joiner, for which the predictor's outputs "
            "are a table; hypotheses end before the last frame there.",
            *table([*head, "k2 RTF", "ratio", "same words, k2"], searches),
        ]
    lines += ["", "## Convergence", *table(head, more + further)]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        with atomic_open(args.out) as file:
            file.write(text)


if __name__ == "__main__":
    main()
