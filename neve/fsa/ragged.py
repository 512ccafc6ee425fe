"""Nested lists of numbers as tensors: k2's RaggedTensor, and the functions of its module `ragged`.

The attribute of an arc that emits several words is one, as are the paths of a lattice. Operations
work on the last axis and are differentiable where numbers are floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.indexing import index_select
from neve.fsa.ragged_reductions import Reductions
from neve.fsa.ragged_shape import RaggedShape
from neve.fsa.ragged_text import flatten_lists, lists_text, nested_list, parse_lists

_DTYPES = (torch.int32, torch.float32, torch.float64)


class RaggedTensor(Reductions):
    """`values` (V,) int32, float32 or float64 in lists of lists, of which `shape` says how deep."""

    def __init__(
        self,
        data: list | str | Tensor | RaggedShape,
        value: Tensor | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
    ):
        """From nested lists, text such as "[[1 2] [3]]", a 2-D tensor, or a shape and its values.

        Without a dtype, whole numbers become int32 and others float32. Raises NeveError for lists
        of uneven depth and for text that is none.
        """
        if isinstance(value, torch.dtype):
            dtype, value = value, None
        if isinstance(data, RaggedShape):
            if not isinstance(value, Tensor):
                raise NeveError("value: the values of the shape are needed, as a tensor")
            self._set(data, value.to(dtype) if dtype else value)
            return
        if isinstance(data, Tensor):
            if data.ndim != 2:
                raise NeveError(f"data: a tensor of two axes is needed, not {tuple(data.shape)}")
            shape = RaggedShape.regular_ragged_shape(*data.shape).to(data.device)
            flat = data.reshape(-1)
            self._set(shape, flat.to(dtype or (flat.dtype if flat.dtype in _DTYPES else None)))
            return
        lists = parse_lists(data) if isinstance(data, str) else data
        splits, flat = flatten_lists(lists)
        if dtype is None:
            whole = all(isinstance(number, int) for number in flat)
            dtype = torch.int32 if whole else torch.float32
        try:
            values = torch.tensor(flat, dtype=dtype, device=device)
        except (RuntimeError, OverflowError, TypeError, ValueError) as error:
            raise NeveError(f"data: {error}") from None
        splits = [torch.tensor(rows, dtype=torch.int32, device=device) for rows in splits]
        self._set(RaggedShape.from_row_splits(splits), values)

    def _set(self, shape: RaggedShape, values: Tensor) -> None:
        if values.dtype == torch.int64:
            values = values.to(torch.int32)
        if values.ndim != 1 or values.dtype not in _DTYPES:
            raise NeveError(
                f"values: one row of int32, float32 or float64 is needed, not "
                f"{tuple(values.shape)} {values.dtype}"
            )
        if len(values) != shape.numel():
            raise NeveError(
                f"row_splits end at {shape.numel()}, but there are {len(values)} values"
            )
        if values.device != shape.device:
            raise NeveError(f"values: on {values.device}, but the shape is on {shape.device}")
        self.shape, self.values = shape, values

    @classmethod
    def from_row_splits(cls, row_splits: Sequence[Tensor], values: Tensor) -> RaggedTensor:
        """Values (V,) in lists that the row splits of axes 1, 2, ... tell."""
        return cls(RaggedShape.from_row_splits(row_splits), values)

    @classmethod
    def from_splits(cls, row_splits: Tensor, values: Tensor) -> RaggedTensor:
        """Values (V,) cut into rows by row_splits (R+1,): two axes."""
        return cls.from_row_splits([row_splits], torch.as_tensor(values))

    @classmethod
    def from_list(cls, rows: Sequence[Sequence[int]]) -> RaggedTensor:
        """A list of lists of whole numbers."""
        return cls([list(row) for row in rows], dtype=torch.int32)

    # What it is

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    @property
    def num_axes(self) -> int:
        return self.shape.num_axes

    @property
    def dim0(self) -> int:
        return self.shape.dim0

    @property
    def row_splits(self) -> Tensor:
        """(rows + 1,) int32 of the last axis."""
        return self.shape.row_splits(self.num_axes - 1)

    def __len__(self) -> int:
        return self.dim0

    def numel(self) -> int:
        return len(self.values)

    def tot_size(self, axis: int) -> int:
        return self.shape.tot_size(axis)

    @property
    def is_cuda(self) -> bool:
        return self.values.is_cuda

    @property
    def requires_grad(self) -> bool:
        return self.values.requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> RaggedTensor:
        self.values.requires_grad_(requires_grad)
        return self

    @property
    def grad(self) -> Tensor | None:
        return self.values.grad

    def to(self, target: str | torch.device | torch.dtype) -> RaggedTensor:
        """On another device, or of another dtype."""
        if isinstance(target, torch.dtype):
            return RaggedTensor(self.shape, self.values.to(target))
        return RaggedTensor(self.shape.to(target), self.values.to(target))

    def clone(self) -> RaggedTensor:
        return RaggedTensor(self.shape, self.values.clone())

    def tolist(self) -> list:
        return nested_list(self.shape, self.values.tolist())

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, RaggedTensor)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and torch.equal(self.values, other.values)
        )

    __hash__ = None

    def __str__(self) -> str:
        """As k2 prints it: a line for each innermost list."""
        text = lists_text(self.tolist(), indent=len("RaggedTensor("))
        return f"RaggedTensor({text}, dtype={self.dtype})"

    def __repr__(self) -> str:
        if self.numel() <= 100 and len(self) <= 100:
            return str(self)
        return f"RaggedTensor({len(self)} rows, {self.numel()} values, dtype={self.dtype})"

    def to_str_simple(self) -> str:
        """The same on one line."""
        return f"RaggedTensor({lists_text(self.tolist())}, dtype={self.dtype})"

    # Parts

    def __getitem__(self, index: int | slice | Tensor) -> Tensor | RaggedTensor:
        """List `index` (a tensor of the last axis, else ragged), or those of a slice or int tensor.

        An index of -1 in a tensor stands for an empty list.
        """
        if isinstance(index, int):
            index = range(len(self))[index]
            if self.num_axes == 2:
                begin, end = self.shape.row_splits(1)[index : index + 2].tolist()
                return self.values[begin:end]
            one = torch.tensor([index], device=self.device)
            return self.index(one, axis=0)[0].remove_axis(0)
        if isinstance(index, slice):
            index = torch.arange(len(self), device=self.device)[index]
        return self.index(index, axis=0)[0]

    def index(
        self, indexes: Tensor | RaggedTensor, axis: int = 0, need_value_indexes: bool = False
    ) -> RaggedTensor | tuple[RaggedTensor, Tensor | None]:
        """Lists `indexes` of axis 0 (-1: empty), or rising elements of another axis.

        Returns (result, where its values came from if asked). With ragged indexes each number is
        replaced by the list of axis 0 that it names, and only the result is returned.
        """
        if isinstance(indexes, RaggedTensor):
            found, _ = self.index(indexes.values, 0)
            return RaggedTensor(indexes.shape.compose(found.shape), found.values)
        shape, places = self.shape.index(axis, indexes.to(self.device), need_value_indexes=True)
        result = RaggedTensor(shape, self.values[places.long()])
        return result, places if need_value_indexes else None

    def arange(self, axis: int, begin: int, end: int) -> RaggedTensor:
        """Elements begin..end-1 of an axis, with the axes before it removed."""
        result = self
        for _ in range(axis):
            result = result.remove_axis(0)
        if not 0 <= begin <= end <= len(result):
            raise NeveError(f"begin and end: {begin}..{end} is not within 0..{len(result)}")
        return result[begin:end]

    def remove_axis(self, axis: int) -> RaggedTensor:
        """Without one of at least three axes: lists of lists are joined."""
        if axis in (-1, self.num_axes - 1):
            raise NeveError("axis: the last one holds the values and cannot be removed")
        return RaggedTensor(self.shape.remove_axis(axis), self.values)

    def _kept(self, keep: Tensor) -> RaggedTensor:
        last = self.num_axes - 1
        counts = torch.nn.functional.pad(keep.cumsum(0), (1, 0))[self.row_splits.long()]
        splits = [self.shape.row_splits(axis) for axis in range(1, last)]
        return RaggedTensor.from_row_splits([*splits, counts], self.values[keep])

    def remove_values_eq(self, target: float) -> RaggedTensor:
        """Without the values that equal target."""
        return self._kept(self.values != target)

    def remove_values_leq(self, cutoff: float) -> RaggedTensor:
        """Without the values of at most cutoff."""
        return self._kept(self.values > cutoff)

    # Over the last axis

    def detach(self) -> RaggedTensor:
        return RaggedTensor(self.shape, self.values.detach())

    def pad(self, mode: str, padding_value: float) -> Tensor:
        """(rows, longest): two axes as a matrix; mode "constant", or "replicate" (the last value).

        With "replicate" padding_value fills empty lists.
        """
        if mode not in ("constant", "replicate"):
            raise NeveError(f"mode: must be constant or replicate, not {mode!r}")
        if self.num_axes != 2:
            raise NeveError(f"pad: two axes are needed, there are {self.num_axes}")
        rows, count = self._rows()
        splits = self.row_splits.long()
        width = self.shape.max_size(1)
        columns = torch.arange(len(rows), device=self.device) - splits[rows]
        result = self.values.new_full((count, width), padding_value)
        if mode == "replicate" and self.numel():
            lengths = torch.diff(splits)
            last = self.values[(splits[1:] - 1).clamp(min=0)]
            result = torch.where((lengths > 0).unsqueeze(1), last.unsqueeze(1), result)
        return result.index_put((rows, columns), self.values)

    def sort_(self, descending: bool = False, need_new2old_indexes: bool = False) -> Tensor | None:
        """Sorts each list in place; where the values came from, int32, if asked."""
        rows, _ = self._rows()
        order = torch.sort(self.values.detach(), descending=descending, stable=True).indices
        order = order[torch.sort(rows[order], stable=True).indices]
        self.values = self.values[order]
        return order.to(torch.int32) if need_new2old_indexes else None

    def unique(
        self, need_num_repeats: bool = False, need_new2old_indexes: bool = False
    ) -> tuple[RaggedTensor, RaggedTensor | None, Tensor | None]:
        """Different lists of the last axis (two axes), or of each list of lists (three axes).

        Returns (the lists in the order of their first appearance, how often each is there, where
        the first of each was). k2 orders them by hash.
        """
        from neve.fsa.ragged_unique import unique

        kept, counts, places = unique(self)
        return (
            kept,
            counts if need_num_repeats else None,
            places if need_new2old_indexes else None,
        )

    @staticmethod
    def cat(srcs: Sequence[RaggedTensor], axis: int) -> RaggedTensor:
        """Ragged tensors one after another (axis 0), or their lists joined one by one (axis 1)."""
        return cat(srcs, axis)


def cat(srcs: Sequence[RaggedTensor], axis: int) -> RaggedTensor:
    """Ragged tensors one after another (axis 0), or their lists joined one by one (axis 1)."""
    srcs = list(srcs)
    if not srcs:
        raise NeveError("srcs: at least one ragged tensor is needed")
    for name in ("num_axes", "dtype", "device"):
        kinds = {getattr(src, name) for src in srcs}
        if len(kinds) > 1:
            raise NeveError(f"srcs: they differ in {name}: {sorted(map(str, kinds))}")
    splits = []
    for level in range(1, srcs[0].num_axes):
        parts, offset = [srcs[0].shape.row_splits(level)[:1]], 0
        for src in srcs:
            rows = src.shape.row_splits(level)
            parts.append(rows[1:] + offset)
            offset += int(rows[-1])
        splits.append(torch.cat(parts))
    joined = RaggedTensor.from_row_splits(splits, torch.cat([src.values for src in srcs]))
    if axis == 0:
        return joined
    count = srcs[0].dim0
    if axis != 1:
        raise NeveError(f"axis: must be 0 or 1, not {axis}")
    if any(src.dim0 != count for src in srcs):
        raise NeveError(f"srcs: different numbers of lists, {[src.dim0 for src in srcs]}")
    order = torch.arange(len(srcs) * count, device=joined.device).reshape(len(srcs), count)
    mixed = joined[order.T.reshape(-1)]
    rows = mixed.shape.row_splits(1)[:: len(srcs)]
    deeper = [mixed.shape.row_splits(level) for level in range(2, mixed.num_axes)]
    return RaggedTensor.from_row_splits([rows, *deeper], mixed.values)


def create_ragged_tensor(
    data: list | str | Tensor, dtype: torch.dtype | None = None, device: Any = "cpu"
) -> RaggedTensor:
    """`RaggedTensor(data)`."""
    return RaggedTensor(data, dtype=dtype, device=device)


def create_ragged_shape2(
    row_splits: Tensor | None = None, row_ids: Tensor | None = None, cached_tot_size: int = -1
) -> RaggedShape:
    """A shape of two axes from row splits, or from row ids (which cannot end with empty rows)."""
    if row_splits is None:
        if row_ids is None:
            raise NeveError("row_splits or row_ids: one of them is needed")
        if len(row_ids) and (int(row_ids[0]) < 0 or bool((torch.diff(row_ids) < 0).any())):
            raise NeveError("row_ids: must rise from 0 or more")
        row_splits = torch.nn.functional.pad(torch.bincount(row_ids.long()).cumsum(0), (1, 0))
    shape = RaggedShape.from_row_splits([row_splits])
    if cached_tot_size not in (-1, shape.numel()):
        raise NeveError(f"cached_tot_size: {cached_tot_size}, but there are {shape.numel()}")
    return shape


def regular_ragged_shape(dim0: int, dim1: int) -> RaggedShape:
    """dim0 lists of dim1 elements each."""
    return RaggedShape.regular_ragged_shape(dim0, dim1)


def index(src: Tensor, indexes: RaggedTensor, default_value: float = 0) -> RaggedTensor:
    """src (N,) at each of the indexes: a ragged tensor of their shape; default_value for -1."""
    return RaggedTensor(indexes.shape, index_select(src, indexes.values, default_value))


def index_and_sum(src: Tensor, indexes: RaggedTensor) -> Tensor:
    """(lists,): the sum of src (N,) at the indexes of each list; those of -1 do not count."""
    return index(src, indexes).sum()
