"""Which lists of a ragged tensor are different."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.ragged import RaggedTensor


def unique(src: RaggedTensor) -> tuple[RaggedTensor, RaggedTensor, Tensor]:
    """(different lists, how often each is there, where the first of each was): see its method."""
    lists = src.tolist() if src.num_axes == 3 else [src.tolist()]
    if src.num_axes > 3:
        raise NeveError(f"unique: two or three axes are needed, there are {src.num_axes}")
    kept, repeats, old, place = [], [], [], 0
    for group in lists:
        first: dict[tuple, int] = {}
        counts: dict[tuple, int] = {}
        for row in map(tuple, group):
            first.setdefault(row, place)
            counts[row] = counts.get(row, 0) + 1
            place += 1
        kept.append([list(row) for row in first])
        repeats.append(list(counts.values()))
        old += first.values()
    kept = _of_depth(kept if src.num_axes == 3 else kept[0], src.num_axes, src)
    counts = RaggedTensor(repeats, dtype=torch.int32, device=src.device)
    places = torch.tensor(old, dtype=torch.int32, device=src.device)
    return kept, counts, places


def _of_depth(lists: list, num_axes: int, like: RaggedTensor) -> RaggedTensor:
    """Nested lists as a ragged tensor of so many axes, even if some are empty throughout."""
    splits, level = [], lists
    for _ in range(num_axes - 1):
        ends = [0]
        for item in level:
            ends.append(ends[-1] + len(item))
        splits.append(torch.tensor(ends, device=like.device))
        level = [element for item in level for element in item]
    return RaggedTensor.from_row_splits(
        splits, torch.tensor(level, dtype=like.dtype, device=like.device)
    )
