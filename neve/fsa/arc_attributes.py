"""What belongs to the arcs of automata: attributes that follow them through all operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from neve.errors import NeveError
from neve.fsa.ragged import RaggedTensor
from neve.kernels.graph import bad_score

if TYPE_CHECKING:
    from neve.fsa.fsa import Fsa

OWN = ("src", "dst", "labels", "scores", "state_splits", "arc_splits", "attributes")


class ArcAttributes:
    """The part of `Fsa` that keeps attributes: what is assigned is checked and follows the arcs."""

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
        elif name in OWN:
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

    def attributes_at(self, arc_map: torch.Tensor) -> dict[str, Any]:
        """All attributes, those of arcs at `arc_map` (int64; -1: an arc that comes from none)."""
        return {
            name: take(value, arc_map, self.get_filler(name))
            if isinstance(value, torch.Tensor | RaggedTensor)
            else value
            for name, value in self.attributes.items()
        }


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


def joined(values: list) -> torch.Tensor | RaggedTensor:
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
