"""Rows of tensors at indices of which -1 stands for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import same_device, whole_numbers

if TYPE_CHECKING:
    from neve.fsa.ragged import RaggedTensor


def index_select(src: Tensor, index: Tensor, default_value: float = 0) -> Tensor:
    """src[index] of src (N,) or (N, C) and index (M,) int; default_value where the index is -1.

    Differentiable with respect to src.
    """
    whole_numbers(index, "index")
    same_device("index", index, "src", src.device)
    if len(index) and (int(index.max()) >= len(src) or int(index.min()) < -1):
        raise NeveError(f"index: must be in -1..{len(src) - 1}")
    if len(src) == 0:
        return src.new_full((len(index), *src.shape[1:]), default_value)
    present = (index >= 0).reshape(-1, *[1] * (src.ndim - 1))
    return torch.where(present, src[index.long()], src.new_tensor(default_value))


def index_add(index: Tensor, value: Tensor, in_out: Tensor) -> None:
    """Adds value[i] to in_out[index[i]] in place, but for those with index -1."""
    places = whole_numbers(index, "index")
    for name, other in (("index", index), ("value", value)):
        same_device(name, other, "in_out", in_out.device)
    if value.shape != (len(index), *in_out.shape[1:]):
        raise NeveError(f"value: {tuple(value.shape)} for {len(index)} numbers of index")
    if len(places) and not -1 <= int(places.min()) <= int(places.max()) < len(in_out):
        raise NeveError(f"index: must be in -1..{len(in_out) - 1}")
    keep = index >= 0
    in_out.index_add_(0, index[keep].long(), value[keep])


def simple_ragged_index_select(src: Tensor, indexes: RaggedTensor) -> Tensor:
    """(lists,): of src (N,) int the one that a list of indexes names and that is not 0; else 0."""
    rows, count = indexes.shape.row_ids(1).long(), indexes.dim0
    found = src[indexes.values.long()]
    keep = found != 0
    if len(rows[keep]) != len(torch.unique(rows[keep])):
        raise NeveError("indexes: a list names several numbers that are not 0")
    return src.new_zeros(count).index_put((rows[keep],), found[keep])
