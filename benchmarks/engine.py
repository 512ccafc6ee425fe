"""The engine against the real k2, torch and kaldi-decoder: one command, one page of tables.

    python benchmarks/engine.py --hlg DIR [--k2-python PYTHON] [--kaldi-python PYTHON]
        [--only rnnt,ctc,hlg,threads,scale,start] [--repeat 5] [--out docs/engine-speed.md]

DIR is the 10,000-word task: tokens.txt, words.txt, lexicon_disambig.txt, lm.arpa.gz and
posteriors_{easy,hard}.npz with `lp` (N, T, C); silence between words is optional if there is a
token SIL. The real k2 runs in the interpreter that
NEVE_K2_PYTHON names or that local/k2_oracle.py made, kaldi-decoder in one that has it; what is not
there is left out of the tables. Every side has a process of its own, and the sides take turns. With
--only, other sections of the page at --out stay as they are. Needs Linux.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

from engine_graphs import graphs, two_threads
from engine_losses import losses
from engine_scale import scale
from engine_sides import Side
from engine_start import start

from neve.files import atomic_open
from neve.fsa.backends.k2.client import find_python
from neve.kernels import warm_up

TITLES = {
    "rnnt": "RNN-T loss",
    "ctc": "CTC loss",
    "hlg": "Graphs of 10,000 words",
    "threads": "Two threads",
    "scale": "A large vocabulary",
    "start": "First use, and starting again",
}
DECODING = (
    "Eight utterances of 20 s at 25 frames a second, 70 phones, a trigram; search_beam 20, "
    "output_beam 8, 30 to 10,000 active states. kaldi-decoder is its FasterDecoder on neve's "
    'graph, beam 20, at most 10,000 active states. `neve, k2\'s windows` is `pruning="k2"`.'
)
SETTINGS = (
    "All sides have glibc's own settings of malloc; rows with `path.sh` those of path.sh, which "
    "keeps freed memory and helps all sides. The sums of RNN-T are those of the smoothed loss "
    "(which uses no joiner), the prune ranges and the pruned loss of given logits. Memory is what "
    "a process grows by at most."
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hlg", type=Path, help="directory of the 10,000-word task")
    parser.add_argument("--k2-python", default=str(find_python() or ""))
    parser.add_argument("--kaldi-python", default="")
    parser.add_argument("--only", default=",".join(TITLES), help="sections, with commas between")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, help="the page to write")
    args = parser.parse_args()
    chosen = args.only.split(",")
    unknown = set(chosen) - set(TITLES)
    if unknown:
        parser.error(f"--only: there is {', '.join(TITLES)}, not {', '.join(sorted(unknown))}")
    if {"hlg", "threads"} & set(chosen) and args.hlg is None:
        parser.error("--hlg: the sections hlg and threads need the directory of the task")
    pythons = {"neve": sys.executable, "torch": sys.executable}
    pythons.update(
        {kind: p for kind, p in (("k2", args.k2_python), ("kaldi", args.kaldi_python)) if p}
    )
    warm_up()
    sections = old_sections(args.out) if args.out else {}
    for name in chosen:
        if name in ("rnnt", "ctc"):
            lines = losses(name, pythons, args.repeat)
        elif name == "hlg":
            lines = ["", DECODING, *graphs(args.hlg, pythons, args.repeat)]
        elif name == "threads":
            lines = two_threads(args.hlg, pythons["neve"], args.repeat)
        else:
            lines = scale() if name == "scale" else start(args.repeat)
        sections[TITLES[name]] = "\n".join(lines).strip()
    text = "\n".join(["# Speed of the engine", "", *header(pythons)])
    for title in TITLES.values():
        if title in sections:
            text += f"\n\n## {title}\n\n{sections[title]}"
    print(text)
    if args.out:
        with atomic_open(args.out) as stream:
            stream.write(text + "\n")


def old_sections(page: Path) -> dict[str, str]:
    """{title: text} of a page that was written before."""
    if not page.exists():
        return {}
    parts = page.read_text(encoding="utf-8").split("\n## ")[1:]
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


def header(pythons: dict[str, str]) -> list[str]:
    found = []
    for kind, python in pythons.items():
        with Side(kind, python) as side:
            found.append(f"{kind}: {side.run('versions')['value']}")
    return [
        "Written by `python benchmarks/engine.py`; do not edit. Sides take turns in processes of "
        f"their own, the first run of each is not counted. {processor()}, "
        f"{len(os.sched_getaffinity(0))} processors, {platform.python_implementation()} "
        f"{platform.python_version()}; {'; '.join(found)}.",
        "",
        SETTINGS,
    ]


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":")[1].strip() for line in stream if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
