"""Building an HLG and decoding with it: the part of benchmarks/engine.py for one task's data."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from engine_sides import Side, alternating, ratio, table
from hlg import prepare

from neve.fsa import Fsa, expand_ragged_attributes, save_graph_dict
from neve.fsa.openfst import to_openfst
from neve.graphs import build_L
from neve.kernels import Graph

EXACT, WINDOWS = "neve", "neve, k2's windows"
OWN, OURS = "k2", "k2, neve's graph"
KALDI = "kaldi-decoder"


def graphs(task: Path, pythons: dict[str, str], repeat: int) -> list[str]:
    """Lines about the task in directory `task`; see benchmarks/engine.py for what it holds."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        prepare_task(task, out)
        lines = building(out, pythons, min(repeat, 3))
        graph = Graph.load(out / "neve")
        save_graph_dict(Fsa.from_graph(graph).as_dict(), out / "neve.pt")
        columns = {EXACT: ("neve", "neve"), WINDOWS: ("neve", "neve")}
        if "k2" in pythons:
            columns.update({OWN: ("k2", "k2"), OURS: ("k2", "neve.pt")})
        if "kaldi" in pythons:
            write_openfst(graph, out / "neve.fst")
            columns[KALDI] = ("kaldi", "neve.fst")
        return lines + decoding(task, out, columns, pythons, repeat)


def prepare_task(task: Path, out: Path) -> None:
    tokens = (task / "tokens.txt").read_text(encoding="utf-8").split()
    prepare(task, task / "lm.arpa.gz", "SIL" if "SIL" in tokens else "", out)


def building(out: Path, pythons: dict[str, str], repeat: int) -> list[str]:
    save_graph_dict(Fsa.from_graph(build_L(out)).as_dict(), out / "L_disambig.pt")
    kinds = [kind for kind in ("neve", "k2") if kind in pythons]
    sides = {kind: Side(kind, pythons[kind]) for kind in kinds}
    found = alternating(
        {k: partial(s.run, "build", lang=str(out), out=str(out / k)) for k, s in sides.items()},
        repeat,
    )
    for side in sides.values():
        side.__exit__()
    rows = []
    for kind, answer in found.items():
        states, arcs = answer["value"]
        memory = answer["peak"] - answer["before"]
        seconds = [f"{answer[clock]['all']:.1f}" for clock in ("cpu", "wall")]
        rows.append([kind, f"{states:,}", f"{arcs:,}", *seconds, f"{memory:,.0f}"])
    head = ["", "states", "arcs", "CPU seconds", "seconds", "MB of memory"]
    lines = ["", f"HLG from the files of L and G, one thread, medians of {repeat}:"]
    return lines + table(head, rows)


def decoding(task, out, columns, pythons, repeat) -> list[str]:
    """CPU seconds and memory of best paths and lattices, one thread."""
    times, memory, notes = [], [], []
    for name in ("easy", "hard"):
        files = {"posteriors": str(task / f"posteriors_{name}.npz")}
        for what in ("best_paths", "lattices"):
            skipped = WINDOWS if what == "best_paths" else KALDI
            chosen = {c: column for c, column in columns.items() if c != skipped}
            sides = {c: Side(kind, pythons[kind]) for c, (kind, _) in chosen.items()}
            loaded, tasks = {}, {}
            for column, side in sides.items():
                answer = side.run("load", graph=str(out / chosen[column][1]), **files)
                loaded[column] = answer["peak"]
                more = {"pruning": "k2"} if column == WINDOWS else {}
                tasks[column] = partial(side.run, what, **more)
            found = alternating(tasks, repeat)
            for side in sides.values():
                side.__exit__()
            cpu = {column: answer["cpu"]["all"] for column, answer in found.items()}
            title = f"{name}: {what.replace('_', ' ')}"
            title += " and totals" if what == "lattices" else ""
            times.append([title, *(f"{cpu[c]:.2f}" if c in cpu else "" for c in columns)])
            times[-1] += [ratio(cpu.get(c), cpu[EXACT]) for c in (OWN, OURS, KALDI)]
            grown = {c: answer["peak"] - answer["before"] for c, answer in found.items()}
            memory.append([title])
            for column in columns:
                text = f"{grown[column]:.0f}" if column in found else ""
                if text:
                    text += f" ({max(found[column]['peak'], loaded[column]):,.0f})"
                memory[-1].append(text)
            memory[-1].append(ratio(grown.get(OWN), grown[EXACT]))
            notes += agreement(title, found, what)
            print(times[-1], memory[-1], flush=True)
    lines = ["", f"Decoding on one thread, CPU seconds for the batch, medians of {repeat}:"]
    ratios = [f"{c} / neve" for c in (OWN, OURS, KALDI)]
    lines += table(["batch", *columns, *ratios], times)
    lines += [
        "",
        "Memory: MB that decoding adds to what is loaded (the most of the whole process):",
    ]
    lines += table(["batch", *columns, "k2 / neve"], memory)
    return [*lines, "", *notes]


def agreement(title: str, found: dict[str, dict], what: str) -> list[str]:
    mine = found[EXACT]["value"]
    lines = []
    for column, answer in found.items():
        if column == EXACT:
            continue
        pairs = list(zip(answer["value"], mine))
        if what == "best_paths":
            same = sum(a == b for a, b in pairs)
            text = f"{same} of {len(pairs)} hypotheses are neve's"
        else:
            text = f"log totals differ by {max(abs(a - b) for a, b in pairs):.4f} at most"
        lines.append(f"- {title}, {column}: {text}.")
    return lines


def two_threads(task: Path, python: str, repeat: int) -> list[str]:
    """Lines about the hard batch on one and on two threads."""
    files = {"posteriors": str(task / "posteriors_hard.npz")}
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        prepare_task(task, out)
        with Side("neve", python) as side:
            side.run("build", lang=str(out), out=str(out / "neve"))
        for what in ("best_paths", "lattices"):
            sides = [Side("neve", python, threads) for threads in (1, 2)]
            for side in sides:
                side.run("load", graph=str(out / "neve"), **files)
            found = alternating(
                {str(i): partial(side.run, what) for i, side in enumerate(sides)}, repeat
            )
            for side in sides:
                side.__exit__()
            one, two = (found[i]["wall"]["all"] for i in ("0", "1"))
            rows.append([what.replace("_", " "), f"{one:.2f}", f"{two:.2f}", f"{one / two:.2f}"])
    lines = ["", f"The hard batch, seconds (wall), medians of {repeat}:"]
    return lines + table(["", "one thread", "two threads", "times faster"], rows)


def write_openfst(graph: Graph, path: Path) -> None:
    """The graph for kaldi-decoder: its input labels are tokens + 1, its output one word an arc."""
    import kaldifst

    expanded = expand_ragged_attributes(Fsa.from_graph(graph)).to_graph()
    # arcs inside chains consume nothing: they leave states that the graph did not have
    inside = np.asarray(expanded.src) >= graph.num_states - 1
    consumed = (expanded.labels >= 0) & ~(inside & (expanded.labels == 0))
    expanded.labels = (expanded.labels + consumed).astype(np.int32)
    kaldifst.StdConstFst(to_openfst(expanded)).write(str(path))
