"""Automata on torch tensors, in k2's data model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.ragged import RaggedTensor
from neve.fsa.text import graph_from_k2_text, graph_from_openfst_text, graph_to_k2_text
from neve.kernels import Graph

_OWN = ("src", "dst", "labels", "scores", "state_splits", "arc_splits", "attributes")


class Fsa:
    """One automaton; of `FsaVec`, below, it is the special case of one.

    State 0 is the start and the last state the final one. An arc has label -1 if and only if it
    enters the final state, which no arc leaves; label 0 is epsilon. The larger a score, the better.
    An automaton of 0 states is legal and accepts nothing.

    src, dst     (A,) int32: states, numbered within each automaton; arcs are sorted by src
    labels       (A,) int32
    scores       (A,) float32
    state_splits, arc_splits   (N+1,) int64: which states and arcs belong to which automaton

    Any tensor of A rows or `RaggedTensor` of A rows that is assigned to an instance
    (`fsa.aux_labels = ...`) becomes an attribute that follows the arcs through all operations. Any
    other value that is assigned is kept as it is.
    """

    def __init__(
        self,
        arcs: torch.Tensor,
        aux_labels: torch.Tensor | RaggedTensor | None = None,
        num_states: int | None = None,
    ):
        """`arcs` (A, 4) int32 as in k2: source, destination, label, bits of the float32 score.

        num_states is one more than the largest destination if it is not given. Raises NeveError,
        naming the argument, for states or labels out of range, a final state with arcs, arcs into
        the final state without label -1 or the reverse, sources out of order, or NaN.
        """
        if not isinstance(arcs, torch.Tensor) or arcs.ndim != 2 or arcs.shape[1] != 4:
            raise NeveError("arcs: a tensor of shape (num_arcs, 4) is needed")
        if arcs.dtype != torch.int32:
            raise NeveError(f"arcs: int32 is needed, not {arcs.dtype}")
        arcs = arcs.detach().cpu()
        if num_states is None:
            num_states = int(arcs[:, 1].max()) + 1 if len(arcs) else 0
        if bool((arcs[1:, 0] < arcs[:-1, 0]).any()):
            raise NeveError("arcs: must be sorted by source state")
        columns = [arcs[:, i].contiguous() for i in range(4)]
        scores = columns[3].view(torch.float32)
        Graph.from_arcs(num_states, *(c.numpy() for c in columns[:3]), scores.numpy())  # checks
        self._set(*columns[:3], scores.clone(), torch.tensor([0, num_states]))
        if aux_labels is not None:
            self.aux_labels = aux_labels

    def _set(self, src, dst, labels, scores, state_splits, arc_splits=None, attributes=None):
        if arc_splits is None:
            arc_splits = torch.tensor([0, len(src)])
        for name, value in zip(
            _OWN, (src, dst, labels, scores, state_splits, arc_splits, attributes or {})
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def _make(cls, *fields) -> Fsa:
        fsa = cls.__new__(cls)
        fsa._set(*fields)
        return fsa

    # Attributes

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__.get("attributes", {})
        if name in attributes:
            return attributes[name]
        raise AttributeError(f"this {type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor | RaggedTensor) and len(value) != self.num_arcs:
            raise NeveError(f"{name}: {len(value)} rows, but there are {self.num_arcs} arcs")
        if name == "scores":
            if value.dtype != torch.float32:
                raise NeveError(f"scores: float32 is needed, not {value.dtype}")
            object.__setattr__(self, name, value)
        elif name in _OWN:
            raise NeveError(f"{name} cannot be replaced; make a new automaton")
        else:
            self.attributes[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self.attributes:
            raise AttributeError(f"this {type(self).__name__} has no attribute {name!r}")
        del self.attributes[name]

    def arc_attributes(self) -> dict[str, torch.Tensor | RaggedTensor]:
        """The attributes that follow arcs."""
        kinds = (torch.Tensor, RaggedTensor)
        return {k: v for k, v in self.attributes.items() if isinstance(v, kinds)}

    def other_attributes(self) -> dict[str, Any]:
        """The attributes that do not follow arcs."""
        own = self.arc_attributes()
        return {k: v for k, v in self.attributes.items() if k not in own}

    # Shape

    @property
    def num_fsas(self) -> int:
        return len(self.state_splits) - 1

    @property
    def num_states(self) -> int:
        """States of all automata together."""
        return int(self.state_splits[-1])

    @property
    def num_arcs(self) -> int:
        return len(self.src)

    @property
    def shape(self) -> tuple:
        """(number of states, None), as in k2."""
        return (self.num_states, None)

    @property
    def arcs(self) -> torch.Tensor:
        """(A, 4) int32: source, destination, label, bits of the score."""
        bits = self.scores.detach().contiguous().view(torch.int32)
        return torch.stack((self.src, self.dst, self.labels, bits), dim=1)

    def flat_states(self) -> tuple[np.ndarray, np.ndarray]:
        """(src, dst) as numpy int32, numbered through all automata."""
        offset = torch.repeat_interleave(self.state_splits[:-1], torch.diff(self.arc_splits))
        offset = offset.to(torch.int32)
        return (self.src + offset).numpy(), (self.dst + offset).numpy()

    def select(self, fsa_splits, src, dst, arc_splits, arc_map: torch.Tensor) -> Fsa:
        """Automata over arcs `arc_map` (int; none is -1) of this one, with their attributes."""
        index = arc_map.long()
        attributes = {name: take(value, index) for name, value in self.arc_attributes().items()}
        attributes.update(self.other_attributes())
        return type(self)._make(
            src, dst, self.labels[index], self.scores[index], fsa_splits, arc_splits, attributes
        )

    # Conversions

    @classmethod
    def from_str(cls, text: str, acceptor: bool = True) -> Fsa:
        """From k2's text: lines "src dst label [aux] [score]", then the final state.

        With acceptor=False each line has an auxiliary label, which becomes `aux_labels`.
        """
        return cls.from_graph(graph_from_k2_text(text, acceptor), acceptor)

    def to_str(self) -> str:
        """k2's text form, with `aux_labels` where there are any."""
        return graph_to_k2_text(self.to_graph(), "aux_labels" not in self.attributes)

    @classmethod
    def from_openfst(cls, text: str, acceptor: bool = True) -> Fsa:
        """From OpenFst's text; costs are negated and one final state is added."""
        return cls.from_graph(graph_from_openfst_text(text, acceptor), acceptor)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Fsa:
        """From the dictionary of k2's `as_dict`; `arcs` of an FsaVec (1-D) is not supported."""
        fsa = Fsa(content["arcs"], content.get("aux_labels"))
        for name, value in content.items():
            if name not in ("arcs", "aux_labels"):
                setattr(fsa, name, value)
        return fsa

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that k2.Fsa.from_dict reads (save it with `save_graph_dict`)."""
        return {"arcs": self.arcs, **self.attributes}

    @classmethod
    def from_graph(cls, graph: Graph, acceptor: bool = False) -> Fsa:
        """From arrays; `aux_labels` is ragged if any arc emits more than one label."""
        fsa = Fsa._make(
            torch.from_numpy(graph.src.copy()),
            torch.from_numpy(graph.dst.copy()),
            torch.from_numpy(graph.labels.copy()),
            torch.from_numpy(graph.scores.copy()),
            torch.tensor([0, graph.num_states]),
        )
        if acceptor:
            return fsa
        counts = np.diff(graph.aux_splits)
        if counts.max(initial=0) > 1:
            fsa.aux_labels = RaggedTensor(
                torch.from_numpy(graph.aux_splits), torch.from_numpy(graph.aux_values)
            )
        else:
            aux = np.zeros(graph.num_arcs, np.int32)
            aux[counts == 1] = graph.aux_values
            fsa.aux_labels = torch.from_numpy(aux)
        return fsa

    def to_graph(self) -> Graph:
        """As arrays, with `aux_labels` and no other attribute; of one automaton only."""
        if self.num_fsas != 1:
            raise NeveError(f"one automaton is needed, this FsaVec holds {self.num_fsas}")
        aux = self.attributes.get("aux_labels")
        values, splits = aux, None
        if isinstance(aux, RaggedTensor):
            values, splits = aux.values.numpy(), aux.row_splits.numpy()
        elif aux is not None:
            values = aux.numpy()
        return Graph.from_arcs(
            self.num_states,
            self.src.numpy(),
            self.dst.numpy(),
            self.labels.numpy(),
            self.scores.detach().numpy(),
            values,
            splits,
        )

    # Scores

    def get_forward_scores(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(states of all,) float32 or float64: see neve.fsa.paths.forward_scores."""
        from neve.fsa.paths import forward_scores

        return forward_scores(self, use_double_scores, log_semiring)

    def get_tot_scores(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(N,) float32 or float64: see neve.fsa.paths.tot_scores."""
        from neve.fsa.paths import tot_scores

        return tot_scores(self, use_double_scores, log_semiring)

    def __repr__(self) -> str:
        names = ", ".join(self.attributes)
        many = f"{self.num_fsas} automata, " if isinstance(self, FsaVec) else ""
        return (
            f"{type(self).__name__}({many}{self.num_states} states, {self.num_arcs} arcs"
            f"{'; ' if names else ''}{names})"
        )


class FsaVec(Fsa):
    """Several automata; `vec[i]` is one of them, as an `Fsa`."""

    def __init__(self, fsas: Sequence[Fsa]):
        """Joins automata; only attributes that all of them have are kept."""
        if not fsas:
            none = torch.empty(0, dtype=torch.int32)
            splits = torch.zeros(1, dtype=torch.int64)
            self._set(none, none, none, none.float(), splits, splits)
            return
        names = set.intersection(*(set(fsa.arc_attributes()) for fsa in fsas))
        attributes = {name: _joined([getattr(f, name) for f in fsas]) for name in sorted(names)}
        attributes.update(
            (name, value)
            for name, value in fsas[0].other_attributes().items()
            if all(name in fsa.attributes for fsa in fsas)
        )
        self._set(
            *(torch.cat([getattr(fsa, n) for fsa in fsas]) for n in _OWN[:4]),
            torch.tensor([0, *(fsa.num_states for fsa in fsas)]).cumsum(0),
            torch.tensor([0, *(fsa.num_arcs for fsa in fsas)]).cumsum(0),
            attributes,
        )

    @property
    def shape(self) -> tuple:
        """(number of automata, None, None), as in k2."""
        return (self.num_fsas, None, None)

    def __len__(self) -> int:
        return self.num_fsas

    def __getitem__(self, index: int) -> Fsa:
        index = range(len(self))[index]
        begin, end = (int(x) for x in self.arc_splits[index : index + 2])
        arcs = slice(begin, end)
        attributes = {name: value[arcs] for name, value in self.arc_attributes().items()}
        attributes.update(self.other_attributes())
        return Fsa._make(
            *(getattr(self, name)[arcs] for name in _OWN[:4]),
            self.state_splits[index : index + 2] - self.state_splits[index],
            torch.tensor([0, end - begin]),
            attributes,
        )

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def take(values: torch.Tensor | RaggedTensor, arc_map: torch.Tensor):
    """Rows `arc_map` (int64) of an attribute; 0, or an empty row, where the map has -1."""
    if isinstance(values, RaggedTensor):
        return values[arc_map]
    present = (arc_map >= 0).reshape(-1, *[1] * (values.ndim - 1))
    if len(values) == 0:
        return values.new_zeros(len(arc_map), *values.shape[1:])
    return torch.where(present, values[arc_map], torch.zeros_like(values[:1]))


def _joined(values: list) -> torch.Tensor | RaggedTensor:
    if not any(isinstance(value, RaggedTensor) for value in values):
        return torch.cat(values)
    rows = [
        value
        if isinstance(value, RaggedTensor)
        else RaggedTensor(torch.arange(len(value) + 1), value)
        for value in values
    ]
    sizes = torch.tensor([0, *(len(row.values) for row in rows)]).cumsum(0)
    splits = [row.row_splits[1:] + offset for row, offset in zip(rows, sizes)]
    first = torch.zeros(1, dtype=torch.int32)
    return RaggedTensor(torch.cat([first, *splits]), torch.cat([row.values for row in rows]))


def load_fsa(path: str | os.PathLike) -> Fsa:
    """The automaton in a `.pt` file that k2 or `save_graph_dict` wrote."""
    from neve.fsa.dictionary import load_graph_dict

    try:
        return Fsa.from_dict(load_graph_dict(path))
    except NeveError as error:
        raise error if str(path) in str(error) else NeveError(f"{path}: {error}") from None
