"""What is computed of each list of a ragged tensor: sums, extremes, normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neve.errors import NeveError

if TYPE_CHECKING:
    from neve.fsa.ragged import RaggedTensor


class Reductions:
    """The part of `RaggedTensor` that works on the lists of its last axis; differentiable."""

    def _rows(self) -> tuple[Tensor, int]:
        """(the row of the last axis that each value is in, how many rows there are)."""
        return self.shape.row_ids(self.num_axes - 1).long(), len(self.row_splits) - 1

    def sum(self, initial_value: float = 0) -> Tensor:
        """(rows,): the sum of each list, plus initial_value."""
        rows, count = self._rows()
        return self.values.new_full((count,), initial_value).index_add(0, rows, self.values)

    def _extreme(self, initial_value: float | None, lowest: bool) -> Tensor:
        rows, count = self._rows()
        if initial_value is None:
            info = (torch.finfo if self.dtype.is_floating_point else torch.iinfo)(self.dtype)
            initial_value = info.max if lowest else info.min
        start = self.values.new_full((count,), initial_value)
        return start.scatter_reduce(0, rows, self.values, "amin" if lowest else "amax")

    def max(self, initial_value: float | None = None) -> Tensor:
        """(rows,): the largest of each list and initial_value (by default the dtype's lowest)."""
        return self._extreme(initial_value, lowest=False)

    def min(self, initial_value: float | None = None) -> Tensor:
        """(rows,): the smallest of each list and initial_value (by default the dtype's highest)."""
        return self._extreme(initial_value, lowest=True)

    def argmax(self, initial_value: float | None = None) -> Tensor:
        """(rows,) int32: where in `values` the largest of each list is, the last of equal ones.

        -1 for an empty list, and where all values are less than initial_value.
        """
        rows, count = self._rows()
        best = self.detach().max(initial_value)
        places = torch.arange(len(rows), dtype=torch.int32, device=self.device)
        places = torch.where(self.values.detach() == best[rows], places, -1)
        none = torch.full((count,), -1, dtype=torch.int32, device=self.device)
        return none.scatter_reduce(0, rows, places, "amax")

    def logsumexp(self, initial_value: float = -torch.inf) -> Tensor:
        """(rows,): log-sum-exp of each list and of initial_value. Floats only."""
        rows, count = self._rows()
        self._needs_floats("logsumexp")
        high = self.detach().max(initial_value)
        high = torch.where(high > -torch.inf, high, 0.0)
        sums = torch.exp(initial_value - high)
        sums = sums.index_add(0, rows, torch.exp(self.values - high[rows]))
        empty = sums == 0  # its gradient is 0, not NaN
        return torch.where(empty, -torch.inf, torch.where(empty, 1.0, sums).log() + high)

    def normalize(self, use_log: bool) -> RaggedTensor:
        """Each list minus its log-sum-exp, or divided by its sum (0 counts as epsilon)."""
        rows, _ = self._rows()
        self._needs_floats("normalize")
        if use_log:
            return type(self)(self.shape, self.values - self.logsumexp()[rows])
        sums = self.sum()
        sums = torch.where(sums == 0, torch.finfo(self.dtype).eps, sums)
        return type(self)(self.shape, self.values / sums[rows])

    def _needs_floats(self, what: str) -> None:
        if not self.dtype.is_floating_point:
            raise NeveError(f"{what}: floats are needed, not {self.dtype}")

    def add(self, value: Tensor, alpha: float = 1) -> RaggedTensor:
        """Each list plus alpha times its own element of value (rows,)."""
        rows, count = self._rows()
        if value.shape != (count,):
            raise NeveError(f"value: ({count},) is needed, not {tuple(value.shape)}")
        return type(self)(self.shape, (self.values + alpha * value[rows]).to(self.dtype))
