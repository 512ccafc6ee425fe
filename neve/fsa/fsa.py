"""Automata on torch tensors, in k2's data model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.arguments import same_device, with_data
from neve.fsa.ragged import RaggedTensor
from neve.fsa.ragged_arc import RaggedArc
from neve.fsa.text import format_k2_text, parse_k2_text, parse_openfst_text
from neve.kernels import Graph
from neve.kernels.graph import as_int32, bad_score

if TYPE_CHECKING:
    from neve.fsa.draw import Dot

_OWN = ("src", "dst", "labels", "scores", "state_splits", "arc_splits", "attributes")


class Fsa:
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
            _OWN, (src, dst, labels, scores, state_splits, arc_splits, attributes or {})
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
            *(fields(getattr(self, name)) for name in _OWN[:4]),
            self.state_splits,
            self.arc_splits,
            {**self.attributes, **attributes},
        )

    # Attributes

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__.get("attributes", {})
        if name in attributes:
            return attributes[name]
        raise AttributeError(f"this {type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor | RaggedTensor) and len(value) != self.num_arcs:
            raise NeveError(f"{name}: {len(value)} rows, but there are {self.num_arcs} arcs")
        if isinstance(value, torch.Tensor | RaggedTensor) and value.device != self.device:
            raise NeveError(f"{name}: on {value.device}, but the arcs are on {self.device}")
        if name == "scores":
            self._check_scores(value)
            object.__setattr__(self, name, value)
        elif name == "labels":
            self._check_labels(value)
            object.__setattr__(self, name, value)
        elif name in _OWN:
            raise NeveError(f"{name} cannot be replaced; make a new automaton")
        else:
            self.attributes[name] = value

    def _check_scores(self, scores: Any) -> None:
        if not isinstance(scores, torch.Tensor) or scores.ndim != 1:
            raise NeveError(f"scores: a tensor of {self.num_arcs} scores is needed")
        if scores.dtype not in (torch.float32, torch.float64):
            raise NeveError(f"scores: float32 is needed, not {scores.dtype}")
        if scores.device.type == "cpu":  # elsewhere it would wait for the device
            bad = torch.nonzero(~(scores.detach() < torch.inf))
            if len(bad):
                arc = int(bad[0])
                raise NeveError(f"scores: arc {arc} is {bad_score(float(scores[arc]))}")

    def _check_labels(self, labels: Any) -> None:
        if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int32 or labels.ndim != 1:
            raise NeveError(f"labels: a tensor of {self.num_arcs} int32 labels is needed")
        wrong = torch.nonzero(((labels == -1) != (self.labels == -1)) | (labels < -1))
        if len(wrong):
            raise NeveError(
                f"labels: arc {int(wrong[0])} would be {int(labels[wrong[0]])}; -1 belongs on "
                "exactly the arcs that enter the final state, others are 0 or more"
            )

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

    def named_tensor_attr(self, include_scores: bool = True) -> Iterator[tuple[str, Any]]:
        """(name, values) of the attributes that follow arcs, with the scores or without."""
        if include_scores:
            yield "scores", self.scores
        yield from self.arc_attributes().items()

    def named_non_tensor_attr(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of the attributes that do not follow arcs."""
        yield from self.other_attributes().items()

    def get_filler(self, attribute_name: str) -> int | float:
        """What an arc that comes from none has for an attribute: `<name>_filler`, 0 if not set."""
        return self.attributes.get(f"{attribute_name}_filler", 0)

    def rename_tensor_attribute_(self, src_name: str, dest_name: str) -> Fsa:
        """Gives an attribute (with its filler) another name, in place."""
        value = getattr(self, src_name)
        delattr(self, src_name)
        setattr(self, dest_name, value)
        if f"{src_name}_filler" in self.attributes:
            self.attributes[f"{dest_name}_filler"] = self.attributes.pop(f"{src_name}_filler")
        return self

    def convert_attr_to_ragged_(self, name: str, remove_eps: bool = True) -> Fsa:
        """Makes an int attribute ragged, one number an arc (none for 0 with remove_eps)."""
        value = getattr(self, name)
        if not isinstance(value, RaggedTensor):
            setattr(self, name, ragged_of(value, remove_eps))
        return self

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

    def attributes_at(self, arc_map: torch.Tensor) -> dict[str, Any]:
        """All attributes, those of arcs at `arc_map` (int64; -1: an arc that comes from none)."""
        return {
            name: take(value, arc_map, self.get_filler(name))
            if isinstance(value, torch.Tensor | RaggedTensor)
            else value
            for name, value in self.attributes.items()
        }

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
        if self.num_fsas != 1:
            raise NeveError(f"one automaton is needed, this FsaVec holds {self.num_fsas}")
        columns = sorted(self.arc_attributes().items())
        lists = [x for _, x in columns if isinstance(x, RaggedTensor)]
        ints = [x for _, x in columns if not isinstance(x, RaggedTensor)]
        arcs = torch.stack((self.src, self.dst, self.labels), dim=1).cpu().numpy()
        return format_k2_text(
            arcs,
            self.scores.detach().cpu().numpy(),
            self.num_states,
            [x.cpu().numpy() for x in ints if x.dtype == torch.int32 and x.ndim == 1],
            [(x.row_splits.cpu().numpy(), x.values.cpu().numpy()) for x in lists],
            openfst,
        )

    @classmethod
    def from_dict(cls, dict_in: dict[str, Any]) -> Fsa:
        """From the dictionary of k2's `as_dict`: an Fsa if `arcs` is (A, 4), an FsaVec if 1-D.

        Raises NeveError, naming the key, for what is no automaton.
        """
        arcs = dict_in.get("arcs")
        if not isinstance(arcs, torch.Tensor):
            raise NeveError("arcs: no such tensor in the dictionary")
        fsa = FsaVec.from_packed(arcs) if arcs.ndim == 1 else Fsa(arcs)
        for name, value in dict_in.items():
            if name != "arcs":
                if name in _OWN:
                    raise NeveError(f"{name}: not the name of an attribute")
                setattr(fsa, name, value)
        return fsa

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that k2.Fsa.from_dict reads (save it with `save_graph_dict`)."""
        return {"arcs": self.arcs_as_tensor(), **self.attributes}

    @staticmethod
    def from_fsas(fsas: Sequence[Fsa]) -> FsaVec:
        """Several automata as one FsaVec."""
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
        from neve.fsa.operations import invert

        return invert(self)

    def invert_(self) -> Fsa:
        """`invert`, in place."""
        inverted = self.invert()
        self._set(*(getattr(inverted, name) for name in _OWN))
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
        many = f"{self.num_fsas} automata, " if isinstance(self, FsaVec) else ""
        return (
            f"{type(self).__name__}({many}{self.num_states} states, {self.num_arcs} arcs"
            f"{'; ' if names else ''}{names})"
        )


class FsaVec(Fsa):
    """Several automata; `vec[i]` is one of them, as an `Fsa`."""

    def __init__(self, fsas: Sequence[Fsa]):
        """Joins automata (`Fsa` or `FsaVec`); only attributes that all of them have are kept."""
        if not fsas:
            none = torch.empty(0, dtype=torch.int32)
            splits = torch.zeros(1, dtype=torch.int64)
            self._set(none, none, none, none.float(), splits, splits)
            return
        devices = sorted({str(fsa.device) for fsa in fsas})
        if len(devices) > 1:
            raise NeveError(f"fsas: on several devices ({', '.join(devices)}); move them to one")
        names = set.intersection(*(set(fsa.arc_attributes()) for fsa in fsas))
        attributes = {name: _joined([getattr(f, name) for f in fsas]) for name in sorted(names)}
        attributes.update(
            (name, value)
            for name, value in fsas[0].other_attributes().items()
            if all(name in fsa.attributes for fsa in fsas)
        )
        counts = [torch.cat([torch.diff(getattr(f, n)) for f in fsas]) for n in _OWN[4:6]]
        zero = torch.zeros(1, dtype=torch.int64)
        self._set(
            *(torch.cat([getattr(fsa, n) for fsa in fsas]) for n in _OWN[:4]),
            *(torch.cat((zero, count.cumsum(0))) for count in counts),
            attributes,
        )

    @classmethod
    def from_packed(cls, packed: torch.Tensor) -> FsaVec:
        """From the 1-D int32 tensor that k2 keeps an FsaVec in.

        It is the number of automata, 0, the splits of states, the splits of arcs, and the arcs.
        Raises NeveError unless it is whole and each automaton is well-formed.
        """
        if packed.ndim != 1 or packed.dtype != torch.int32 or len(packed) < 4:
            raise NeveError("arcs: (A, 4) or k2's packed 1-D form, int32, is needed")
        device, packed = packed.device, packed.detach().cpu()
        count = int(packed[0])
        begin = 2 + 2 * (count + 1)
        if count < 0 or len(packed) < begin or (len(packed) - begin) % 4:
            raise NeveError(f"arcs: {len(packed)} numbers are no packed form of {count} automata")
        state_splits, arc_splits = packed[2:begin].long().reshape(2, -1)
        arcs = packed[begin:].reshape(-1, 4)
        for name, splits, total in (
            ("states", state_splits, None),
            ("arcs", arc_splits, len(arcs)),
        ):
            rises = splits[0] == 0 and bool((torch.diff(splits) >= 0).all())
            if not rises or total not in (None, int(splits[-1])):
                raise NeveError(f"arcs: the splits of {name} do not rise from 0 to their number")
        fsas = [
            Fsa(arcs[a:b], num_states=int(states))
            for a, b, states in zip(arc_splits, arc_splits[1:], torch.diff(state_splits))
        ]
        return cls(fsas).to(device)

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that k2.Fsa.from_dict reads, with `arcs` in the packed form."""
        head = torch.tensor([self.num_fsas, 0])
        parts = [head, self.state_splits, self.arc_splits, self.arcs_as_tensor().reshape(-1)]
        packed = torch.cat([part.to(self.device, torch.int32) for part in parts])
        return {"arcs": packed, **self.attributes}

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


def _check_arcs(arcs: Any) -> None:
    if not isinstance(arcs, torch.Tensor) or arcs.ndim != 2 or arcs.shape[1] != 4:
        raise NeveError(
            "arcs: a tensor of shape (num_arcs, 4) is needed (k2's packed form of several "
            "automata is read by Fsa.from_dict)"
        )
    if arcs.dtype != torch.int32:
        raise NeveError(f"arcs: int32 is needed, not {arcs.dtype}")
    with_data(arcs, "arcs")


def take(values: torch.Tensor | RaggedTensor, arc_map: torch.Tensor, filler: int | float = 0):
    """Rows `arc_map` (int64) of an attribute; `filler`, or an empty row, where the map has -1."""
    if isinstance(values, RaggedTensor):
        return values[arc_map]
    present = (arc_map >= 0).reshape(-1, *[1] * (values.ndim - 1))
    fill = values.new_full((1, *values.shape[1:]), filler)
    if len(values) == 0:
        return fill.expand(len(arc_map), *values.shape[1:]).clone()
    return torch.where(present, values[arc_map], fill)


def ragged_of(values: torch.Tensor, remove_eps: bool) -> RaggedTensor:
    """An int attribute (A,) as a ragged one: a row of one number each, of none for 0 if asked."""
    keep = values != 0 if remove_eps else torch.ones_like(values, dtype=torch.bool)
    splits = torch.cat((torch.zeros_like(values[:1]).new_zeros(1), keep.cumsum(0)))
    return RaggedTensor.from_splits(splits.to(torch.int32), values[keep])


def _joined(values: list) -> torch.Tensor | RaggedTensor:
    if not any(isinstance(value, RaggedTensor) for value in values):
        return torch.cat(values)
    rows = [
        value if isinstance(value, RaggedTensor) else ragged_of(value, remove_eps=False)
        for value in values
    ]
    sizes = torch.tensor([0, *(len(row.values) for row in rows)]).cumsum(0).to(torch.int32)
    splits = [row.row_splits[1:] + offset for row, offset in zip(rows, sizes.tolist())]
    splits = torch.cat([rows[0].row_splits[:1], *splits])
    return RaggedTensor.from_splits(splits, torch.cat([row.values for row in rows]))


def load_fsa(path: str | os.PathLike) -> Fsa:
    """The automaton in a `.pt` file that k2 or `save_graph_dict` wrote."""
    from neve.fsa.dictionary import load_graph_dict

    try:
        return Fsa.from_dict(load_graph_dict(path))
    except NeveError as error:
        raise error if str(path) in str(error) else NeveError(f"{path}: {error}") from None
