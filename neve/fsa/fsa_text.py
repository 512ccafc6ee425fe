"""Automata from text, and as text: the columns of attributes that k2's and OpenFst's lines have."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neve.errors import NeveError
from neve.fsa.fsa import Fsa
from neve.fsa.ragged import RaggedTensor
from neve.fsa.text import format_k2_text, parse_k2_text, parse_openfst_text
from neve.kernels import Graph
from neve.kernels.graph import as_int32


def from_text(
    s: str,
    acceptor: bool | None,
    num_aux_labels: int | None,
    aux_label_names: Sequence[str] | None,
    ragged_label_names: Sequence[str],
    openfst: bool,
) -> Fsa:
    """See `Fsa.from_str`."""
    ragged_label_names = list(ragged_label_names)
    if acceptor is False and "[" in s and not ragged_label_names and num_aux_labels is None:
        ragged_label_names = ["aux_labels"]
        num_aux_labels = 0
    if aux_label_names is None:
        count = num_aux_labels
        if count is None:
            count = 1 if acceptor is False else 0
        aux_label_names = [f"aux_labels{i if i > 1 else ''}" for i in range(1, count + 1)]
    if openfst:
        if ragged_label_names:
            raise NeveError("ragged_label_names: OpenFst's text has no lists")
        read = parse_openfst_text(s, len(aux_label_names))
    else:
        read = parse_k2_text(s, len(aux_label_names), len(ragged_label_names))
    graph = Graph.from_arcs(*read[:5])
    fsa = Fsa.from_graph(graph, acceptor=True)
    for name, column in zip(aux_label_names, read.aux):
        setattr(fsa, name, torch.from_numpy(as_int32(column, name)))
    for name, (splits, values) in zip(ragged_label_names, read.ragged):
        splits, values = as_int32(splits, name), as_int32(values, name)
        setattr(fsa, name, RaggedTensor.from_splits(torch.tensor(splits), torch.tensor(values)))
    return fsa


def to_text(fsa: Fsa, openfst: bool) -> str:
    """See `Fsa.to_str`."""
    if fsa.num_fsas != 1:
        raise NeveError(f"one automaton is needed, this FsaVec holds {fsa.num_fsas}")
    columns = sorted(fsa.arc_attributes().items())
    lists = [x for _, x in columns if isinstance(x, RaggedTensor)]
    ints = [x for _, x in columns if not isinstance(x, RaggedTensor)]
    arcs = torch.stack((fsa.src, fsa.dst, fsa.labels), dim=1).cpu().numpy()
    return format_k2_text(
        arcs,
        fsa.scores.detach().cpu().numpy(),
        fsa.num_states,
        [x.cpu().numpy() for x in ints if x.dtype == torch.int32 and x.ndim == 1],
        [(x.row_splits.cpu().numpy(), x.values.cpu().numpy()) for x in lists],
        openfst,
    )
