"""The arcs of automata as k2 hands them out: a ragged array of rows of four int32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from neve.fsa.fsa import Fsa
    from neve.fsa.ragged import RaggedShape


class RaggedArc:
    """`values()` (A, 4) int32: source, destination, label, bits of the score; and their shape.

    The axes are [state][arc] of one automaton, [automaton][state][arc] of several.
    """

    def __init__(self, fsa: Fsa):
        self._fsa = fsa

    def values(self) -> torch.Tensor:
        return self._fsa.arcs_as_tensor()

    def num_axes(self) -> int:
        return len(self._fsa.shape)

    def dim0(self) -> int:
        return self._fsa.shape[0]

    def num_elements(self) -> int:
        return self._fsa.num_arcs

    def shape(self) -> RaggedShape:
        from neve.fsa.ragged import RaggedShape

        fsa = self._fsa
        src = torch.from_numpy(fsa.flat_states()[0]).long()
        leaving = torch.bincount(src, minlength=fsa.num_states).cumsum(0)
        splits = [torch.cat((leaving.new_zeros(1), leaving))]
        if self.num_axes() == 3:
            splits.insert(0, fsa.state_splits)
        return RaggedShape.from_row_splits([s.to(fsa.device, torch.int32) for s in splits])

    def row_splits(self, axis: int) -> torch.Tensor:
        return self.shape().row_splits(axis)

    def row_ids(self, axis: int) -> torch.Tensor:
        return self.shape().row_ids(axis)

    def tot_size(self, axis: int) -> int:
        return self.shape().tot_size(axis)
