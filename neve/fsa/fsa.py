"""Automata on torch tensors, in k2's data model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.arc_attributes import OWN, ArcAttributes
from neve.fsa.arguments import same_device, with_data
from neve.fsa.ragged import RaggedTensor
from neve.fsa.ragged_arc import RaggedArc
from neve.kernels import Graph

if TYPE_CHECKING:
    from neve.fsa.draw import Dot
    from neve.fsa.fsa_vec import FsaVec


class Fsa(ArcAttributes):
    """One automaton; of `FsaVec`, below, it is the special case of one.

    State 0 is the start and the last state the final one. An arc has label -1 if and only if it
    enters the final state, which no arc leaves; label 0 is epsilon. The larger a score, the better.
    An automaton of 0 states is legal and accepts nothing.

    src, dst     (A,) int32: states, numbered within each automaton; arcs are sorted by src
    labels       (A,) int32
    scores       (A,) float32 (or float64, for checking gradients)
    state_splits, arc_splits   (N+1,) int64 on the CPU: which states and arcs belong to which
                 automaton

    The tensors of arcs are all on one device. Any tensor of A rows or `RaggedTensor` of A rows that
    is assigned to an instance (`fsa.aux_labels = ...`) becomes an attribute that follows the arcs
    through all operations; an arc that comes from none gets 0, or what `fsa.aux_labels_filler` was
    set to. Any other value that is assigned is kept as it is.
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
        the final state without label -1 or the reverse, sources out of order, NaN or +inf.
        """
        _check_arcs(arcs)
        device, arcs = arcs.device, arcs.detach().cpu()
        if num_states is None:
            num_states = int(arcs[:, 1].max()) + 1 if len(arcs) else 0
        if bool((arcs[1:, 0] < arcs[:-1, 0]).any()):
            raise NeveError("arcs: must be sorted by source state")
        columns = [arcs[:, i].contiguous() for i in range(4)]
        scores = columns[3].view(torch.float32)
        Graph.from_arcs(num_states, *(c.numpy() for c in columns[:3]), scores.numpy())  # checks
        columns = [column.to(device) for column in (*columns[:3], scores.clone())]
        self._set(*columns, torch.tensor([0, num_states]))
        if aux_labels is not None:
            self.aux_labels = aux_labels

    def _set(self, src, dst, labels, scores, state_splits, arc_splits=None, attributes=None):
        if arc_splits is None:
            arc_splits = torch.tensor([0, len(src)])
        for name, value in zip(
            OWN, (src, dst, labels, scores, state_splits, arc_splits, attributes or {})
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def _make(cls, *fields) -> Fsa:
        fsa = cls.__new__(cls)
        fsa._set(*fields)
        return fsa

    def _like(self, fields: Callable[[torch.Tensor], torch.Tensor]) -> Fsa:
        """The same automata with `fields` of every tensor of arcs and attribute."""
        attributes = {name: fields(value) for name, value in self.arc_attributes().items()}
        return self._make(
            *(fields(getattr(self, name)) for name in OWN[:4]),
            self.state_splits,
            self.arc_splits,
            {**self.attributes, **attributes},
        )

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
    def arcs(self) -> RaggedArc:
        """The arcs as k2 shows them: `arcs.values()` (A, 4) int32, `arcs.shape()`."""
        return RaggedArc(self)

    def arcs_as_tensor(self) -> torch.Tensor:
        """(A, 4) int32: source, destination, label, bits of the score."""
        bits = self.scores.detach().float().contiguous().view(torch.int32)
        return torch.stack((self.src, self.dst, self.labels, bits), dim=1)

    def flat_states(self) -> tuple[np.ndarray, np.ndarray]:
        """(src, dst) as numpy int32, numbered through all automata."""
        with_data(self.src, "fsas")
        offset = torch.repeat_interleave(self.state_splits[:-1], torch.diff(self.arc_splits))
        offset = offset.to(torch.int32)
        return (self.src.cpu() + offset).numpy(), (self.dst.cpu() + offset).numpy()

    def select(self, fsa_splits, src, dst, arc_splits, arc_map: torch.Tensor) -> Fsa:
        """Automata over arcs `arc_map` (int; none is -1) of this one, with their attributes."""
        device = self.device
        index = arc_map.to(device).long()
        fields = (src.to(device), dst.to(device), self.labels[index], self.scores[index])
        return type(self)._make(*fields, fsa_splits, arc_splits, self.attributes_at(index))

    # Devices and gradients

    @property
    def device(self) -> torch.device:
        return self.scores.device

    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def to(self, device: str | torch.device) -> Fsa:
        """The same automata on another device; scores keep their gradient."""
        return self._like(lambda values: values.to(device))

    def clone(self) -> Fsa:
        """A copy that shares no tensor."""
        return self._like(lambda values: values.clone())

    def detach(self) -> Fsa:
        """The same automata without gradients."""
        return self._like(
            lambda values: values if isinstance(values, RaggedTensor) else values.detach()
        )

    @property
    def requires_grad(self) -> bool:
        return self.scores.requires_grad

    def requires_grad_(self, requires_grad: bool) -> Fsa:
        self.scores.requires_grad_(requires_grad)
        return self

    @property
    def grad(self) -> torch.Tensor | None:
        """The gradient of `scores`."""
        return self.scores.grad

    def set_scores_stochastic_(self, scores: torch.Tensor) -> None:
        """Sets `scores`, normalised: the exponentials of those that leave a state sum to 1."""
        if scores.shape != self.scores.shape:
            raise NeveError(f"scores: {tuple(scores.shape)} for {self.num_arcs} arcs")
        same_device("scores", scores, "fsa", self.device)
        src = torch.from_numpy(self.flat_states()[0]).long().to(self.device)
        high = scores.detach().new_full((self.num_states,), -torch.inf)
        high = high.scatter_reduce(0, src, scores.detach(), "amax")[src]
        sums = torch.zeros_like(scores[:1]).expand(self.num_states).clone()
        sums = sums.index_add(0, src, torch.exp(scores - high))
        self.scores = scores - high - sums[src].log()

    # Conversions

    @classmethod
    def from_str(
        cls,
        s: str,
        acceptor: bool | None = None,
        num_aux_labels: int | None = None,
        aux_label_names: Sequence[str] | None = None,
        ragged_label_names: Sequence[str] = (),
        openfst: bool = False,
    ) -> Fsa:
        """From text: lines "src dst label aux... [list]... [score]", then the final state.

        The auxiliary labels become the attributes aux_label_names, by default `aux_labels`,
        `aux_labels2`, ... for num_aux_labels of them (acceptor=False means one; without any of the
        three there is none). The lists, "[3 5]", become the attributes ragged_label_names; for an
        `aux_labels` that is itself ragged, acceptor=False is enough. With openfst=True scores are
        costs, lines of one or two numbers are final states, and one final state is added.

        Raises NeveError with the line that cannot be read.
        """
        from neve.fsa.fsa_text import from_text

        return from_text(s, acceptor, num_aux_labels, aux_label_names, ragged_label_names, openfst)

    @classmethod
    def from_openfst(
        cls,
        s: str,
        acceptor: bool | None = None,
        num_aux_labels: int | None = None,
        aux_label_names: Sequence[str] | None = None,
    ) -> Fsa:
        """From OpenFst's text, see `from_str`."""
        return cls.from_str(s, acceptor, num_aux_labels, aux_label_names, openfst=True)

    def to_str(self, openfst: bool = False) -> str:
        """k2's text form (or OpenFst's), with int attributes and then ragged ones, each by name."""
        from neve.fsa.fsa_text import to_text

        return to_text(self, openfst)

    @classmethod
    def from_dict(cls, dict_in: dict[str, Any]) -> Fsa:
        """From the dictionary of k2's `as_dict`: an Fsa if `arcs` is (A, 4), an FsaVec if 1-D.

        Raises NeveError, naming the key, for what is no automaton.
        """
        arcs = dict_in.get("arcs")
        if not isinstance(arcs, torch.Tensor):
            raise NeveError("arcs: no such tensor in the dictionary")
        from neve.fsa.fsa_vec import FsaVec

        fsa = FsaVec.from_packed(arcs) if arcs.ndim == 1 else Fsa(arcs)
        for name, value in dict_in.items():
            if name != "arcs":
                if name in OWN:
                    raise NeveError(f"{name}: not the name of an attribute")
                setattr(fsa, name, value)
        return fsa

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that k2.Fsa.from_dict reads (save it with `save_graph_dict`)."""
        return {"arcs": self.arcs_as_tensor(), **self.attributes}

    @staticmethod
    def from_fsas(fsas: Sequence[Fsa]) -> FsaVec:
        """Several automata as one FsaVec."""
        from neve.fsa.fsa_vec import FsaVec

        return FsaVec(fsas)

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
            fsa.aux_labels = RaggedTensor.from_splits(
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
        with_data(self.src, "fsa")
        aux = self.attributes.get("aux_labels")
        values, splits = aux, None
        if isinstance(aux, RaggedTensor):
            values, splits = aux.values.cpu().numpy(), aux.row_splits.cpu().numpy()
        elif aux is not None:
            values = aux.cpu().numpy()
        columns = [x.detach().cpu().numpy() for x in (self.src, self.dst, self.labels, self.scores)]
        return Graph.from_arcs(self.num_states, *columns, values, splits)

    def invert(self) -> Fsa:
        """`labels` and `aux_labels` exchanged: see neve.fsa.invert."""
        from neve.fsa.expansion import invert

        return invert(self)

    def invert_(self) -> Fsa:
        """`invert`, in place."""
        inverted = self.invert()
        self._set(*(getattr(inverted, name) for name in OWN))
        return self

    def draw(self, filename: str | os.PathLike | None, title: str | None = None) -> Dot:
        """The automaton as a picture, also in a .dot, .pdf, .png or .svg file if one is given."""
        from neve.fsa.draw import to_dot

        dot = to_dot(self, title)
        if filename is not None:
            dot.render(filename)
        return dot

    @property
    def properties(self) -> int:
        """k2's property flags: see neve.fsa.properties."""
        from neve.fsa.properties import get_properties

        return get_properties(self)

    @property
    def properties_str(self) -> str:
        from neve.fsa.properties import properties_to_str

        return properties_to_str(self.properties)

    # Scores

    def get_forward_scores(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(states of all,) float32 or float64: see neve.fsa.scores.forward_scores."""
        from neve.fsa.scores import forward_scores

        return forward_scores(self, use_double_scores, log_semiring)

    def get_backward_scores(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(states of all,) float32 or float64: see neve.fsa.scores.backward_scores."""
        from neve.fsa.scores import backward_scores

        return backward_scores(self, use_double_scores, log_semiring)

    def get_tot_scores(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(N,) float32 or float64: see neve.fsa.scores.tot_scores."""
        from neve.fsa.scores import tot_scores

        return tot_scores(self, use_double_scores, log_semiring)

    def get_arc_post(
        self, use_double_scores: bool = False, log_semiring: bool = False
    ) -> torch.Tensor:
        """(A,) log posteriors of the arcs: see neve.fsa.scores.arc_post."""
        from neve.fsa.scores import arc_post

        return arc_post(self, use_double_scores, log_semiring)

    def __repr__(self) -> str:
        names = ", ".join(self.attributes)
        many = f"{self.num_fsas} automata, " if type(self) is not Fsa else ""
        return (
            f"{type(self).__name__}({many}{self.num_states} states, {self.num_arcs} arcs"
            f"{'; ' if names else ''}{names})"
        )


def _check_arcs(arcs: Any) -> None:
    if not isinstance(arcs, torch.Tensor) or arcs.ndim != 2 or arcs.shape[1] != 4:
        raise NeveError(
            "arcs: a tensor of shape (num_arcs, 4) is needed (k2's packed form of several "
            "automata is read by Fsa.from_dict)"
        )
    if arcs.dtype != torch.int32:
        raise NeveError(f"arcs: int32 is needed, not {arcs.dtype}")
    with_data(arcs, "arcs")


def load_fsa(path: str | os.PathLike) -> Fsa:
    """The automaton in a `.pt` file that k2 or `save_graph_dict` wrote."""
    from neve.fsa.dictionary import load_graph_dict

    try:
        return Fsa.from_dict(load_graph_dict(path))
    except NeveError as error:
        raise error if str(path) in str(error) else NeveError(f"{path}: {error}") from None
