"""Lists on arcs as chains of arcs, and transducers turned round."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.fsa import Fsa
from neve.fsa.ragged import RaggedTensor


def expand_ragged_attributes(
    fsas: Fsa, ret_arc_map: bool = False, ragged_attribute_names: Sequence[str] | None = None
) -> Fsa | tuple[Fsa, Tensor]:
    """Ragged attributes as plain ones: an arc with a list becomes a chain of arcs.

    Score, label and other attributes are on the first arc of a chain, the others have label 0,
    score 0 and fillers; of a final arc the last of the chain has label -1 and attributes -1.
    Without names, all ragged attributes are expanded. With ret_arc_map also the arc (int32) that
    each was, -1 inside chains.
    """
    names = ragged_attribute_names
    if names is None:
        names = [n for n, x in fsas.arc_attributes().items() if isinstance(x, RaggedTensor)]
    if not names:
        arcs = torch.arange(fsas.num_arcs, dtype=torch.int32, device=fsas.device)
        return (fsas, arcs) if ret_arc_map else fsas
    ends = fsas.labels.cpu() == -1
    lists = {}
    for name in names:
        value = getattr(fsas, name)
        if not isinstance(value, RaggedTensor):
            raise NeveError(f"ragged_attribute_names: {name} is not ragged")
        # the -1 of a final arc is put where the chain ends
        rows = torch.repeat_interleave(torch.arange(len(value)), torch.diff(value.row_splits).cpu())
        keep = ~(ends[rows] & (value.values.cpu() == -1))
        lists[name] = value._kept(keep.to(value.device)).to("cpu")
    lengths = torch.stack([torch.diff(value.row_splits) for value in lists.values()]).amax(0).long()
    lengths = torch.where(ends, lengths + 1, lengths.clamp(min=1))
    arcs = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    begins = lengths.cumsum(0) - lengths
    place = torch.arange(len(arcs)) - begins[arcs]
    is_first, is_last = place == 0, place == lengths[arcs] - 1
    # states inside chains come right after the state that the chain leaves, so that what was sorted
    # topologically still is; all numbers here count through all automata
    owner = torch.repeat_interleave(torch.arange(fsas.num_fsas), torch.diff(fsas.arc_splits))[arcs]
    first_state = fsas.state_splits[:-1][owner]
    old_src, old_dst = (x.cpu()[arcs].long() + first_state for x in (fsas.src, fsas.dst))
    inside = (~is_last).long()
    before = torch.zeros(fsas.num_states + 1, dtype=torch.int64)
    before = before.index_add_(0, old_src + 1, inside).cumsum(0)
    number = torch.arange(fsas.num_states) + before[:-1]
    new_state = old_src + 1 + inside.cumsum(0) - inside
    src = torch.where(is_first, number[old_src], new_state - 1)
    dst = torch.where(is_last, number[old_dst], new_state)
    state_splits = fsas.state_splits + before[fsas.state_splits]
    order = torch.argsort(src, stable=True)
    src, dst = (x - state_splits[:-1][owner] for x in (src, dst))
    labels = torch.where(is_first, fsas.labels.cpu()[arcs], 0)
    labels = torch.where(ends[arcs], torch.where(is_last, -1, 0), labels)
    arc_map = torch.where(is_first, arcs, -1)[order].to(fsas.device)
    scores = torch.where(arc_map >= 0, fsas.scores[arc_map], 0.0)
    attributes = {
        name: value for name, value in fsas.attributes_at(arc_map).items() if name not in lists
    }
    for name, value in lists.items():
        splits = value.row_splits.long()
        has = place < torch.diff(splits)[arcs]
        at = (splits[:-1][arcs] + place).clamp(max=max(value.numel() - 1, 0))
        picked = value.values[at] if value.numel() else torch.zeros_like(at, dtype=value.dtype)
        plain = torch.where(has, picked, fsas.get_filler(name))
        plain = torch.where(labels == -1, -1, plain)
        attributes[name] = plain.to(value.dtype)[order].to(fsas.device)
    ends_now = labels[order] == -1
    for name, value in attributes.items():  # final arcs carry -1 in every int attribute
        if isinstance(value, Tensor) and value.dtype == torch.int32 and name not in lists:
            attributes[name] = torch.where(ends_now.to(value.device), -1, value)
    counts = torch.zeros(fsas.num_fsas, dtype=torch.int64).index_add_(
        0, owner, torch.ones_like(owner)
    )
    result = fsas._make(
        *(x[order].to(fsas.device, torch.int32) for x in (src, dst, labels)),
        scores,
        state_splits,
        torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
        attributes,
    )
    return (result, arc_map.to(torch.int32)) if ret_arc_map else result


def invert(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """`labels` and `aux_labels` exchanged; ragged aux_labels are expanded into chains first.

    With ret_arc_map also the arc (int32) that each arc of the result was, -1 inside chains. Raises
    NeveError without aux_labels.
    """
    if "aux_labels" not in fsa.attributes:
        raise NeveError("invert: an automaton without aux_labels has nothing to exchange")
    ragged = isinstance(fsa.aux_labels, RaggedTensor)
    names = ["aux_labels"] if ragged else []
    if ragged:
        result, arc_map = expand_ragged_attributes(fsa, True, names)
    else:
        result = fsa._like(lambda values: values)
        arc_map = torch.arange(fsa.num_arcs, dtype=torch.int32, device=fsa.device)
    labels, aux = result.labels, result.aux_labels
    ends = labels == -1
    result.labels = torch.where(ends, -1, torch.where(aux == -1, 0, aux))
    result.aux_labels = labels
    return (result, arc_map) if ret_arc_map else result
