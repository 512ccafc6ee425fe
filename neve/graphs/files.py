"""Graph files: k2's dictionaries (`.pt`) and memory-mapped arrays that need no torch."""

import os
from pathlib import Path

from neve.errors import NeveError
from neve.kernels import Graph


def save_graph(graph: Graph, directory: str | os.PathLike, name: str = "HLG") -> None:
    """Writes directory/<name>/, arrays that load without torch, and directory/<name>.pt.

    The .pt file holds the dictionary that k2.Fsa.from_dict reads, with ragged `aux_labels`.
    """
    from neve.fsa import Fsa, save_graph_dict

    directory = Path(directory)
    graph.save(directory / name)
    save_graph_dict(Fsa.from_graph(graph).as_dict(), directory / f"{name}.pt")


def load_graph(path: str | os.PathLike) -> Graph:
    """A graph from its directory of arrays, from a directory that holds one, or from a `.pt` file.

    Raises NeveError if there is none, there are several, or it is damaged.
    """
    path = Path(path)
    if path.suffix == ".pt":
        from neve.fsa import load_fsa

        return load_fsa(path).to_graph()
    if not (path / "graph.json").exists():
        found = sorted(file.parent for file in path.glob("*/graph.json"))
        if len(found) > 1:
            names = ", ".join(str(graph) for graph in found)
            raise NeveError(f"{path} holds several graphs, name one of them: {names}")
        path = found[0] if found else path
    return Graph.load(path)
