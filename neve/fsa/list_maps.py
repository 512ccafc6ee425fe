"""Automata whose arcs stand for lists of arcs of another: how scores and attributes follow."""

from __future__ import annotations

import numpy as np
import torch

from neve.fsa.arc_attributes import ragged_of
from neve.fsa.fsa import Fsa
from neve.fsa.ragged import RaggedTensor


def from_lists(
    fsa: Fsa,
    num_states: int,
    src: np.ndarray,
    dst: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    arcs: np.ndarray,
) -> Fsa:
    """An automaton whose arc i stands for the arcs `arcs[splits[i]:splits[i+1]]` of `fsa`.

    Scores and float attributes are summed (gradients follow); int attributes become ragged, theirs
    concatenated without the filler.
    """
    device = fsa.device
    count = len(src)
    index = torch.from_numpy(np.asarray(arcs, np.int64)).to(device)
    splits = torch.from_numpy(np.asarray(splits, np.int64)).to(device)
    row = torch.repeat_interleave(torch.arange(count, device=device), torch.diff(splits))

    def summed(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(count, *values.shape[1:]).index_add(0, row, values[index])

    attributes = dict(fsa.other_attributes())
    for name, value in fsa.arc_attributes().items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            attributes[name] = summed(value)
            continue
        if isinstance(value, torch.Tensor):
            filler = fsa.get_filler(name)
            value = ragged_of(value - filler, remove_eps=True)
            value = RaggedTensor(value.shape, value.values + filler)
        gathered = value[index]
        attributes[name] = RaggedTensor.from_splits(gathered.row_splits[splits], gathered.values)
    order = np.argsort(src, kind="stable")
    result = Fsa._make(
        *(torch.from_numpy(np.asarray(x, np.int32)).to(device) for x in (src, dst, labels)),
        summed(fsa.scores),
        torch.tensor([0, num_states]),
        torch.tensor([0, count]),
        attributes,
    )
    if np.array_equal(order, np.arange(count)):
        return result
    index = torch.from_numpy(order).to(device)
    fields = (result.state_splits, result.src[index], result.dst[index], result.arc_splits)
    return result.select(*fields, index)
