"""Lists of numbers of different lengths: the attribute of an arc that emits several words."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neve.errors import NeveError
from neve.kernels import gather_ragged


class RaggedTensor:
    """`values` (V,) int32 cut into rows by `row_splits` (R+1,) int32, both on the CPU."""

    def __init__(self, row_splits: torch.Tensor, values: torch.Tensor):
        self.row_splits = torch.as_tensor(row_splits, dtype=torch.int32)
        self.values = torch.as_tensor(values, dtype=torch.int32)
        splits = self.row_splits
        if (
            splits.ndim != 1
            or self.values.ndim != 1
            or len(splits) == 0
            or splits[0] != 0
            or splits[-1] != len(self.values)
            or bool((splits[1:] < splits[:-1]).any())
        ):
            raise NeveError("row_splits must rise from 0 to the number of values")

    @classmethod
    def from_splits(cls, row_splits: torch.Tensor, values: torch.Tensor) -> RaggedTensor:
        """Values (V,) cut into rows by row_splits (R+1,)."""
        return cls(row_splits, values)

    @property
    def device(self) -> torch.device:
        return self.values.device

    def clone(self) -> RaggedTensor:
        return RaggedTensor(self.row_splits.clone(), self.values.clone())

    @classmethod
    def from_list(cls, rows: Sequence[Sequence[int]]) -> RaggedTensor:
        """A ragged tensor of a list of lists."""
        splits = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
        return cls(splits, torch.tensor([x for row in rows for x in row], dtype=torch.int32))

    def tolist(self) -> list[list[int]]:
        values, splits = self.values.tolist(), self.row_splits.tolist()
        return [values[a:b] for a, b in zip(splits, splits[1:])]

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    def __getitem__(self, index) -> torch.Tensor | RaggedTensor:
        """Row `index` as a tensor; or the rows of a slice or an int tensor (-1: an empty row)."""
        if isinstance(index, int):
            index = range(len(self))[index]
            return self.values[int(self.row_splits[index]) : int(self.row_splits[index + 1])]
        if isinstance(index, slice):
            index = torch.arange(len(self), dtype=torch.int32)[index]
        splits, values = gather_ragged(
            self.row_splits.numpy(), self.values.numpy(), index.to(torch.int32).numpy()
        )
        return RaggedTensor(torch.from_numpy(splits), torch.from_numpy(values))

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, RaggedTensor)
            and torch.equal(self.row_splits, other.row_splits)
            and torch.equal(self.values, other.values)
        )

    __hash__ = None

    def __repr__(self) -> str:
        return (
            f"RaggedTensor({self.tolist()})"
            if len(self) < 20
            else (f"RaggedTensor({len(self)} rows, {len(self.values)} values)")
        )
