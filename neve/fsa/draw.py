"""Pictures of automata: Graphviz's dot text, and files of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from neve.errors import NeveError
from neve.files import atomic_open
from neve.fsa.fsa import Fsa


class Dot(str):
    """The text of a picture in Graphviz's language; `source` is the same, as k2's users know it."""

    @property
    def source(self) -> str:
        return str(self)

    def render(self, filename: str | os.PathLike) -> Path:
        """Writes the picture: `.dot` as it is, .pdf, .png or .svg by Graphviz's program `dot`.

        Raises NeveError for another suffix or if the program is missing or fails.
        """
        path = Path(filename)
        kind = path.suffix[1:]
        if kind == "dot":
            with atomic_open(path) as stream:
                stream.write(self)
            return path
        if kind not in ("pdf", "png", "svg"):
            raise NeveError(f"{path}: a picture's name ends in .dot, .pdf, .png or .svg")
        if shutil.which("dot") is None:
            raise NeveError(
                f"{path}: Graphviz's program `dot` is not installed (on Debian: apt install "
                "graphviz); write a .dot file instead"
            )
        done = subprocess.run(["dot", f"-T{kind}"], input=self.encode(), capture_output=True)
        if done.returncode:
            raise NeveError(f"{path}: dot failed: {done.stderr.decode(errors='replace').strip()}")
        with atomic_open(path, "wb") as stream:
            stream.write(done.stdout)
        return path


def to_dot(fsa: Fsa, title: str | None = None) -> Dot:
    """One automaton as a picture: arcs are marked label:aux_label/score, score 0 is left out.

    Symbol tables (anything that gives a symbol for `table[number]`) that were assigned to the
    automaton as `labels_sym` and `aux_labels_sym` replace numbers by symbols.
    """
    if fsa.num_fsas != 1:
        raise NeveError(f"one automaton is needed, this FsaVec holds {fsa.num_fsas}; draw one")
    graph = fsa.to_graph()
    transducer = "aux_labels" in fsa.attributes
    inputs, outputs = (fsa.attributes.get(f"{n}_sym") for n in ("labels", "aux_labels"))
    lines = ["digraph WFST {", "\trankdir=LR;", "\tnode [shape=circle fontsize=14];"]
    if title:
        lines.append(f"\tlabel={_quoted(title)};")
    for state in range(graph.num_states):
        shape = " [shape=doublecircle]" if state == graph.num_states - 1 else ""
        lines.append(f"\t{state}{shape};")
    for arc, (src, dst) in enumerate(zip(graph.src, graph.dst)):
        mark = _symbol(int(graph.labels[arc]), inputs)
        if transducer:
            emitted = graph.aux_values[graph.aux_splits[arc] : graph.aux_splits[arc + 1]]
            mark += ":" + (" ".join(_symbol(int(word), outputs) for word in emitted) or "0")
        if graph.scores[arc]:
            mark += f"/{graph.scores[arc]:.4g}"
        lines.append(f"\t{src} -> {dst} [label={_quoted(mark)}];")
    return Dot("\n".join([*lines, "}\n"]))


def _symbol(number: int, table) -> str:
    return str(number) if table is None or number == -1 else str(table[number])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
