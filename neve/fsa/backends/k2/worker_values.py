"""Automata and ragged arrays of the real k2 as numpy arrays, and back; see worker.py.

A part of the program worker.py: it needs numpy, torch and k2, and nothing of neve.
"""

import numpy as np
import torch


def k2():
    import k2

    return k2


def to_k2(value):
    """Dictionaries of automata become k2's, arrays tensors, in a value of any depth."""
    if isinstance(value, dict) and "arcs" in value:
        return fsa_of(value)
    if isinstance(value, dict) and "values" in value:
        return ragged_of(value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, list):
        return [to_k2(item) for item in value]
    return value


def from_k2(value):
    if isinstance(value, k2().Fsa):
        return dict_of(value)
    if isinstance(value, k2().RaggedTensor):
        return dict_of_ragged(value)
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return [from_k2(item) for item in value]
    return value


def ragged_of(value):
    """{"splits": row splits of each axis, or of the only one, "values"} as a k2 RaggedTensor."""
    splits = value["splits"]
    if isinstance(splits, np.ndarray):
        splits = [splits]
    splits = [torch.from_numpy(np.ascontiguousarray(one, np.int32)) for one in splits]
    values = torch.from_numpy(np.ascontiguousarray(value["values"]))
    shape = k2().ragged.create_ragged_shape2(splits[0], None, -1)
    for one in splits[1:]:
        shape = shape.compose(k2().ragged.create_ragged_shape2(one, None, -1))
    return k2().RaggedTensor(shape, values)


def dict_of_ragged(value):
    axes = range(1, value.num_axes)
    splits = [value.shape.row_splits(axis).numpy().astype(np.int64) for axis in axes]
    return {"splits": splits[0] if len(splits) == 1 else splits, "values": value.values.numpy()}


def fsa_of(value):
    states, splits = (np.asarray(value[key], np.int32) for key in ("states", "splits"))
    arcs = np.ascontiguousarray(value["arcs"], np.int32)
    head = np.array([len(states) - 1, 0], np.int32)
    table = np.concatenate((head, states, splits, arcs.reshape(-1)))
    fsa = k2().Fsa(torch.from_numpy(table))
    for name, attribute in value.get("attributes", {}).items():
        setattr(fsa, name, to_k2(attribute))
    if value["single"]:
        fsa = fsa[0]
    if "filler" in value:
        for name, number in value["filler"].items():
            setattr(fsa, name + "_filler", number)
    return fsa


def dict_of(fsa):
    shape = fsa.arcs.shape()
    if fsa.arcs.num_axes() == 3:
        states = shape.row_splits(1)
        splits = shape.row_splits(2)[states.long()]
    else:
        states = torch.tensor([0, fsa.shape[0]])
        splits = torch.tensor([0, fsa.num_arcs])
    attributes = {
        name: from_k2(attribute)
        for name, attribute in fsa.named_tensor_attr(include_scores=False)
        if isinstance(attribute, (torch.Tensor, k2().RaggedTensor))
    }
    return {
        "arcs": fsa.arcs.values().numpy(),
        "states": states.numpy().astype(np.int64),
        "splits": splits.numpy().astype(np.int64),
        "single": fsa.arcs.num_axes() == 2,
        "attributes": attributes,
    }


def leaf(array):
    return torch.from_numpy(np.array(array)).requires_grad_(True)


def grads_of(total, *leaves):
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return [
        np.zeros(x.shape, np.float32) if g is None else g.numpy() for g, x in zip(grads, leaves)
    ]
