"""Graph files: k2's dictionaries (`.pt`) and memory-mapped arrays that need no torch."""

import os
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.files import atomic_open
from neve.kernels import Graph


def save_graph(graph: Graph, directory: str | os.PathLike, name: str = "HLG") -> None:
    """Writes directory/<name>/ (arrays, for `load_graph` without torch) and directory/<name>.pt.

    The .pt file is a dictionary of torch tensors: `arcs` (A, 4) int32 as k2 has it (source,
    destination, label, the score's bits), and `aux_splits` (A+1,), `aux_values` int32: the words
    that arc i emits are aux_values[aux_splits[i]:aux_splits[i+1]].
    """
    import torch

    directory = Path(directory)
    graph.save(directory / name)
    arcs = np.stack([graph.src, graph.dst, graph.labels, graph.scores.view(np.int32)], axis=1)
    content = {
        "arcs": torch.from_numpy(np.ascontiguousarray(arcs)),
        "aux_splits": torch.from_numpy(graph.aux_splits),
        "aux_values": torch.from_numpy(graph.aux_values),
    }
    with atomic_open(directory / f"{name}.pt", "wb") as stream:
        torch.save(content, stream)


def load_graph(path: str | os.PathLike) -> Graph:
    """A graph from a directory of arrays, or of graphs (its HLG), or from a k2 `.pt` file."""
    path = Path(path)
    if path.suffix == ".pt":
        return read_fsa(path)
    if not (path / "graph.json").exists() and (path / "HLG").is_dir():
        path = path / "HLG"
    return Graph.load(path)


def read_fsa(path: str | os.PathLike) -> Graph:
    """A graph from a `.pt` file with the dictionary that k2.Fsa.as_dict makes.

    Raises NeveError if the file is missing, holds anything but tensors, or is not a graph.
    """
    import torch

    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NeveError(f"{path}: no such file; run the stage that makes it") from None
    except Exception as error:
        raise NeveError(f"{path}: not a file of tensors ({str(error)[:200]})") from error
    arcs = content.get("arcs") if isinstance(content, dict) else None
    if arcs is None or arcs.ndim != 2 or arcs.shape[1] != 4 or arcs.dtype != torch.int32:
        raise NeveError(f"{path}: no `arcs` of shape (A, 4), int32; not a k2 graph")
    arcs = arcs.numpy()
    if "aux_splits" in content:
        aux, splits = content["aux_values"].numpy(), content["aux_splits"].numpy()
    else:
        aux, splits = content.get("aux_labels"), None
        aux = aux.numpy() if aux is not None else None
    num_states = int(arcs[:, 1].max(initial=-1)) + 1
    scores = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    try:
        return Graph.from_arcs(num_states, arcs[:, 0], arcs[:, 1], arcs[:, 2], scores, aux, splits)
    except NeveError as error:
        raise NeveError(f"{path}: {error}") from None
