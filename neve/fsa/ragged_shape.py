"""The shape of nested lists: how many lists each list holds, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neve.errors import NeveError


class RaggedShape:
    """Axes 0 .. n-1 of nested lists. Axis i > 0 is a partition of its elements into lists.

    `row_splits(i)` (lists + 1,) int32 says where the list of axis i-1 begins and ends among the
    elements of axis i, `row_ids(i)` (elements,) int32 which list an element belongs to.
    """

    def __init__(self, src: str):
        """From text such as "[ [ x x ] [ x ] [ ] ]", an x for each element of the last axis."""
        from neve.fsa.ragged import RaggedTensor

        parsed = RaggedTensor(src.replace("x", " 0 "), dtype=torch.int32)
        self._splits = parsed.shape._splits

    @classmethod
    def from_row_splits(cls, row_splits: Sequence[Tensor]) -> RaggedShape:
        """A shape of the row splits of axes 1, 2, ...; NeveError unless they fit each other."""
        shape = cls.__new__(cls)
        shape._splits = [_checked(splits, axis) for axis, splits in enumerate(row_splits, 1)]
        if not shape._splits:
            raise NeveError("row_splits: those of at least one axis are needed")
        for axis, (above, below) in enumerate(zip(shape._splits, shape._splits[1:]), 2):
            if int(above[-1]) != len(below) - 1:
                raise NeveError(
                    f"row_splits of axis {axis}: {len(below) - 1} rows, but axis {axis - 1} has "
                    f"{int(above[-1])} elements"
                )
        return shape

    @staticmethod
    def regular_ragged_shape(dim0: int, dim1: int) -> RaggedShape:
        """dim0 lists of dim1 elements each."""
        return RaggedShape.from_row_splits([torch.arange(dim0 + 1) * dim1])

    @property
    def num_axes(self) -> int:
        return len(self._splits) + 1

    @property
    def dim0(self) -> int:
        return len(self._splits[0]) - 1

    @property
    def device(self) -> torch.device:
        return self._splits[0].device

    def row_splits(self, axis: int) -> Tensor:
        return self._splits[self._axis(axis, lowest=1) - 1]

    def row_ids(self, axis: int) -> Tensor:
        splits = self.row_splits(axis)
        rows = torch.arange(len(splits) - 1, dtype=torch.int32, device=splits.device)
        return torch.repeat_interleave(rows, torch.diff(splits).long())

    def tot_size(self, axis: int) -> int:
        """How many elements an axis has."""
        axis = self._axis(axis)
        return self.dim0 if axis == 0 else int(self._splits[axis - 1][-1])

    def tot_sizes(self) -> tuple[int, ...]:
        return tuple(self.tot_size(axis) for axis in range(self.num_axes))

    def numel(self) -> int:
        """How many elements the last axis has."""
        return self.tot_size(self.num_axes - 1)

    def max_size(self, axis: int) -> int:
        """The length of the longest list of an axis."""
        sizes = torch.diff(self.row_splits(axis))
        return int(sizes.max()) if len(sizes) else 0

    def to(self, device: str | torch.device) -> RaggedShape:
        return self.from_row_splits([splits.to(device) for splits in self._splits])

    def __getitem__(self, index: int) -> RaggedShape:
        """List `index` of at least three axes."""
        if self.num_axes < 3:
            raise NeveError("a list of a shape of two axes has no shape itself")
        try:
            index = range(self.dim0)[index]
        except IndexError:
            raise NeveError(f"index: {index}, but there are {self.dim0} lists") from None
        return self.index(0, torch.tensor([index], device=self.device))[0].remove_axis(0)

    def get_layer(self, layer: int) -> RaggedShape:
        """Axes layer and layer+1 alone."""
        return self.from_row_splits([self.row_splits(layer + 1)])

    def compose(self, other: RaggedShape) -> RaggedShape:
        """This shape, whose elements are the lists of another one."""
        if self.numel() != other.dim0:
            raise NeveError(f"other: {self.numel()} lists are needed, it has {other.dim0}")
        return self.from_row_splits([*self._splits, *other._splits])

    def remove_axis(self, axis: int) -> RaggedShape:
        """Without one of at least three axes: lists of lists are joined."""
        axis = self._axis(axis)
        if self.num_axes < 3:
            raise NeveError("remove_axis: a shape of two axes keeps them")
        splits = list(self._splits)
        if axis == 0:
            splits = splits[1:]
        elif axis == self.num_axes - 1:
            splits = splits[:-1]
        else:
            splits[axis - 1 : axis + 1] = [splits[axis][splits[axis - 1].long()]]
        return self.from_row_splits(splits)

    def index(
        self, axis: int, indexes: Tensor, need_value_indexes: bool = False
    ) -> tuple[RaggedShape, Tensor | None]:
        """Lists `indexes` (int; -1: an empty list) of axis 0, or elements of a later axis.

        Of an axis > 0 the elements must be in rising order: they stay in their lists. Also where
        the elements of the last axis came from, if asked.
        """
        axis = self._axis(axis)
        device = self.device
        splits = []
        chosen = indexes.long()
        if len(chosen) and (int(chosen.max()) >= self.tot_size(axis) or int(chosen.min()) < -1):
            raise NeveError(f"indexes: must be in -1..{self.tot_size(axis) - 1}")
        if axis:
            if bool((torch.diff(chosen) < 0).any()) or bool((chosen < 0).any()):
                raise NeveError(
                    "indexes: must rise, and not be -1, on an axis that is not the first"
                )
            ids = self.row_ids(axis).long()[chosen]
            counts = torch.bincount(ids, minlength=self.tot_size(axis - 1))
            splits = [*self._splits[: axis - 1], _splits_of(counts)]
        for below in self._splits[axis:]:
            chosen, lengths = _rows(below.long(), chosen)
            splits.append(_splits_of(lengths))
        shape = self.from_row_splits([s.to(device) for s in splits])
        return shape, chosen.to(torch.int32) if need_value_indexes else None

    def _axis(self, axis: int, lowest: int = 0) -> int:
        found = axis + self.num_axes if axis < 0 else axis
        if not lowest <= found < self.num_axes:
            raise NeveError(f"axis: {axis} is not in {lowest}..{self.num_axes - 1}")
        return found

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, RaggedShape)
            and self.num_axes == other.num_axes
            and all(torch.equal(a, b) for a, b in zip(self._splits, other._splits))
        )

    __hash__ = None

    def __repr__(self) -> str:
        from neve.fsa.ragged_text import shape_text

        return shape_text(self)


def _checked(splits: Tensor, axis: int) -> Tensor:
    splits = torch.as_tensor(splits)
    if splits.ndim != 1 or splits.is_floating_point() or len(splits) == 0:
        raise NeveError(f"row_splits of axis {axis}: one row of whole numbers is needed")
    if int(splits[0]) != 0 or bool((torch.diff(splits) < 0).any()):
        raise NeveError(f"row_splits of axis {axis} must rise from 0")
    if int(splits[-1]) > 2**31 - 1:
        raise NeveError(f"row_splits of axis {axis}: {int(splits[-1])} does not fit in 32 bits")
    return splits.to(torch.int32)


def _splits_of(lengths: Tensor) -> Tensor:
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))


def _rows(splits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(the elements of `rows`, one after another; how many each has); row -1 has none."""
    present = rows >= 0
    safe = rows.clamp(min=0)
    if len(splits) == 1:
        return rows[:0], torch.zeros_like(rows)
    lengths = torch.where(present, splits[safe + 1] - splits[safe], 0)
    begins = torch.repeat_interleave(splits[safe] - (lengths.cumsum(0) - lengths), lengths)
    return begins + torch.arange(len(begins), device=rows.device), lengths
