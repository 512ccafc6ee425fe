"""Automata as the arrays that the worker of the real k2 takes and returns, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.ragged import RaggedTensor


def arcs_of(src: Tensor, dst: Tensor, labels: Tensor, scores: Tensor) -> np.ndarray:
    """(A, 4) int32, the scores as bits of float32."""
    bits = scores.detach().float().contiguous().view(torch.int32)
    columns = [column.to(torch.int32) for column in (src, dst, labels, bits)]
    return torch.stack(columns, dim=1).cpu().numpy()


def automata(arcs: np.ndarray, states, splits, attributes=None, single=False) -> dict[str, Any]:
    """The dictionary in which automata travel; see the worker."""
    return {
        "arcs": arcs,
        "states": np.asarray(states, np.int64),
        "splits": np.asarray(splits, np.int64),
        "single": single,
        "attributes": attributes or {},
    }


def from_fsa(fsas: Fsa, *names: str) -> dict[str, Any]:
    """An Fsa or FsaVec with its attributes `names` (all that follow arcs, if there is none)."""
    attributes = {}
    for name, value in fsas.arc_attributes().items():
        if names and name not in names:
            continue
        attributes[name] = (
            {"splits": value.shape.row_splits(1).cpu().numpy(), "values": value.values.numpy()}
            if isinstance(value, RaggedTensor)
            else value.detach().cpu().numpy()
        )
    return automata(
        arcs_of(fsas.src, fsas.dst, fsas.labels, fsas.scores),
        fsas.state_splits,
        fsas.arc_splits,
        attributes,
        not isinstance(fsas, FsaVec),
    )


def to_fsa(value: dict[str, Any]) -> Fsa:
    """The Fsa or FsaVec that travelled."""
    arcs = torch.from_numpy(value["arcs"].copy())
    src, dst, labels, bits = (column.clone() for column in arcs.unbind(1))
    splits = (torch.from_numpy(np.array(value[key])).long() for key in ("states", "splits"))
    kind = Fsa if value["single"] else FsaVec
    fsas = kind._make(src, dst, labels, bits.view(torch.float32), *splits, {})
    for name, attribute in value["attributes"].items():
        if isinstance(attribute, dict):
            splits = torch.from_numpy(np.asarray(attribute["splits"], np.int32))
            values = torch.from_numpy(np.array(attribute["values"], np.int32))
            setattr(fsas, name, RaggedTensor.from_splits(splits, values))
        else:
            setattr(fsas, name, torch.from_numpy(np.array(attribute)))
    return fsas
