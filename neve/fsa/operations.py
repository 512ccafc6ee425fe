"""Operations that give an automaton another shape; attributes follow the arcs."""

from __future__ import annotations

import numpy as np
import torch

from neve import kernels
from neve.errors import NeveError
from neve.fsa.fsa import Fsa, FsaVec, take
from neve.fsa.ragged import RaggedTensor
from neve.kernels import Graph


def _each(fsas: Fsa, operation) -> Fsa:
    """operation(one automaton) of an Fsa, or of each automaton of an FsaVec."""
    if isinstance(fsas, FsaVec):
        return FsaVec([operation(fsa) for fsa in fsas])
    return operation(fsas)


def _mapped(fsa: Fsa, operation) -> Fsa:
    """operation(graph) -> (graph, arc map), with the attributes that the map brings along."""
    graph = fsa.to_graph()
    result, arc_map = operation(graph)
    return fsa.select(
        torch.tensor([0, result.num_states]),
        torch.from_numpy(result.src.copy()),
        torch.from_numpy(result.dst.copy()),
        torch.tensor([0, result.num_arcs]),
        torch.from_numpy(np.asarray(arc_map, np.int32)),
    )


def arc_sort(fsas: Fsa) -> Fsa:
    """The arcs of each state by label, -1 last, then by destination."""
    return _each(fsas, lambda fsa: _mapped(fsa, kernels.arc_sort))


def connect(fsas: Fsa) -> Fsa:
    """Without the states that are on no path from start to end."""
    return _each(fsas, lambda fsa: _mapped(fsa, kernels.connect))


def remove_epsilon(fsas: Fsa) -> Fsa:
    """Equivalent automata without label 0, tropical.

    An arc of the result stands for several: its score is their sum, so are float attributes; int
    attributes become ragged, theirs concatenated without zeros. Raises NeveError for an epsilon
    cycle of positive score.
    """

    def one(fsa: Fsa) -> Fsa:
        result, splits, arcs = kernels.remove_epsilon(fsa.to_graph())
        index = torch.from_numpy(arcs.astype(np.int64))
        row = torch.repeat_interleave(
            torch.arange(result.num_arcs), torch.from_numpy(np.diff(splits))
        )

        def summed(values: torch.Tensor) -> torch.Tensor:
            total = values.new_zeros(result.num_arcs, *values.shape[1:])
            return total.index_add(0, row, values[index])

        attributes = dict(fsa.other_attributes())
        for name, value in fsa.arc_attributes().items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                attributes[name] = summed(value)
                continue
            if isinstance(value, torch.Tensor):
                emits = (value != 0).to(torch.int32)
                ends = emits.cumsum(0)
                begins = torch.zeros(1, dtype=torch.int32)
                value = RaggedTensor.from_splits(torch.cat((begins, ends)), value[value != 0])
            gathered = value[torch.from_numpy(arcs)]
            attributes[name] = RaggedTensor.from_splits(
                gathered.row_splits[torch.from_numpy(splits.astype(np.int64))], gathered.values
            )
        return Fsa._make(
            torch.from_numpy(result.src.copy()),
            torch.from_numpy(result.dst.copy()),
            torch.from_numpy(result.labels.copy()),
            summed(fsa.scores) if fsa.scores.requires_grad else torch.from_numpy(result.scores),
            torch.tensor([0, result.num_states]),
            torch.tensor([0, result.num_arcs]),
            attributes,
        )

    return _each(fsas, one)


def invert(fsas: Fsa) -> Fsa:
    """`labels` and `aux_labels` exchanged.

    An arc that emits several labels becomes a chain of arcs: its score, its label and its other
    attributes are on the first of them, the others have zeros. Raises NeveError without aux_labels.
    """
    if "aux_labels" not in fsas.attributes:
        raise NeveError("invert: an automaton without aux_labels has nothing to exchange")

    def one(fsa: Fsa) -> Fsa:
        graph = fsa.to_graph()
        rows, arc_map = [], []  # (src, dst, label, aux label); the old arc, -1 inside a chain
        free = graph.num_states - 1
        for arc, (src, dst, label) in enumerate(zip(graph.src, graph.dst, graph.labels)):
            begin, end = graph.aux_splits[arc : arc + 2]
            emitted = [word for word in graph.aux_values[begin:end] if word != -1]
            chain = [*emitted, -1] if label == -1 else emitted or [0]
            for i, word in enumerate(chain):
                last = i == len(chain) - 1
                consumed = (label if label > 0 else 0) if i == 0 else 0
                # destination -1: the final state, whose number is not known yet
                to = (-1 if label == -1 else dst) if last else free
                rows.append((src, to, word, -1 if word == -1 else consumed))
                arc_map.append(arc if i == 0 else -1)
                if not last:
                    src, free = free, free + 1
        table = np.array(rows, np.int64).reshape(-1, 4)
        order = np.argsort(table[:, 0], kind="stable")
        table, arcs = table[order], torch.tensor(arc_map, dtype=torch.int64)[order]
        num_states = free + 1 if graph.num_states else 0
        table[table[:, 1] == -1, 1] = num_states - 1
        scores = torch.where(arcs >= 0, fsa.scores[arcs], 0.0)
        columns = [torch.from_numpy(column.astype(np.int32)) for column in table.T]
        Graph.from_arcs(num_states, *table.T[:3], scores.detach().numpy())  # checks
        attributes = dict(fsa.other_attributes())
        for name, value in fsa.arc_attributes().items():
            attributes[name] = take(value, arcs)
        attributes["aux_labels"] = columns[3]
        splits = (torch.tensor([0, num_states]), torch.tensor([0, len(arcs)]))
        return Fsa._make(*columns[:3], scores, *splits, attributes)

    return _each(fsas, one)
