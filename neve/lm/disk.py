"""One-dimensional arrays in files, for what is larger than the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class DiskArray:
    """An array that grows at its end and is read and written by slices.

    `array[a:b]` reads a copy of that part, `array[a:b] = values` writes it; any other index goes
    through a memory map, for single elements here and there. It lives as long as its file, which
    whoever made the directory removes.
    """

    def __init__(self, path: str | os.PathLike, dtype: type | np.dtype):
        self.path, self.dtype = Path(path), np.dtype(dtype)
        self._file = open(self.path, "w+b", buffering=0)
        self._length = 0
        self._map: np.ndarray | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def shape(self) -> tuple[int]:
        return (self._length,)

    def append(self, values: np.ndarray) -> None:
        """Add `values` at the end."""
        self._write(self._length, values)
        self._length += len(values)
        self._map = None

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """(start, values) of consecutive parts of `size`."""
        for start in range(0, self._length, size):
            yield start, self[start : start + size]

    def __getitem__(self, key):
        if not isinstance(key, slice):
            return self.mapped()[key]
        start, stop, step = key.indices(self._length)
        if step != 1:
            return self.mapped()[key]
        values = np.empty(max(0, stop - start), self.dtype)
        self.read_into(values, start)
        return values

    def read_into(self, values: np.ndarray, start: int) -> None:
        """Fill `values` (contiguous, of this dtype) with what stands from `start` on."""
        view, offset = memoryview(values.view(np.uint8)), start * self.dtype.itemsize
        while len(view):
            done = os.preadv(self._file.fileno(), [view], offset)
            if not done:
                raise OSError(f"{self.path}: shorter than it was written")
            view, offset = view[done:], offset + done

    def __setitem__(self, key: slice, values: np.ndarray) -> None:
        start, stop, _ = key.indices(self._length)
        if stop - start != len(values):
            raise ValueError(f"{len(values)} values for {stop - start} places")
        self._write(start, values)

    def _write(self, start: int, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values, self.dtype)
        view, offset = memoryview(values.view(np.uint8)), start * self.dtype.itemsize
        while len(view):
            done = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[done:], offset + done

    def mapped(self) -> np.ndarray:
        """The whole array, of which only what is looked at is read."""
        if self._map is None:
            if not self._length:
                return np.empty(0, self.dtype)
            self._map = np.memmap(self.path, self.dtype, "r", shape=(self._length,))
        return self._map

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        values = self[:]
        return values if dtype is None else values.astype(dtype, copy=False)

    def remove(self) -> None:
        """Close and delete the file."""
        self._map = None
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __del__(self):
        if hasattr(self, "_file"):
            self._file.close()
