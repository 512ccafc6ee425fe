"""RaggedTensor's operations and indexing by ragged tensors, against the real k2."""

import numpy as np
import pytest
import torch

import neve.fsa as fsa
from neve.fsa import ragged

FLOATS = (np.float32, np.float64)
METHODS = {
    "sum": lambda rng, one: [],
    "max": lambda rng, one: [-100],
    "min": lambda rng, one: [100],
    "argmax": lambda rng, one: [],
    "logsumexp": lambda rng, one: [],
    "normalize": lambda rng, one: [bool(rng.random() < 0.5)],
    "remove_axis": lambda rng, one: [int(rng.integers(0, 2))],
    "remove_values_eq": lambda rng, one: [int(rng.integers(-3, 4))],
    "remove_values_leq": lambda rng, one: [int(rng.integers(-3, 4))],
    "pad": lambda rng, one: [str(rng.choice(["constant", "replicate"])), 7],
    "add": lambda rng, one: [rng.integers(-3, 4, len(one.row_splits) - 1).astype(kind(one)), 2],
    "arange": lambda rng, one: [0, *within(rng, one.dim0)],
}
ONLY_FLOATS = ("logsumexp", "normalize")


def within(rng, count):
    begin = int(rng.integers(0, count))
    return [begin, int(rng.integers(begin + 1, count + 1))]


def kind(one):
    return one.values.numpy().dtype


def splits(rng, rows):
    return np.concatenate(([0], np.cumsum(rng.integers(0, 4, rows)))).astype(np.int32)


def random_ragged(rng, axes=2, dtypes=(np.int32, *FLOATS)):
    """2 or 3 axes of a few small values; some lists are empty."""
    found = [splits(rng, int(rng.integers(1, 6)))]
    for _ in range(axes - 2):
        found.append(splits(rng, int(found[-1][-1])))
    dtype = dtypes[rng.integers(len(dtypes))]
    values = rng.integers(-4, 5, found[-1][-1]).astype(dtype)
    if dtype != np.int32:
        values += (rng.normal(size=len(values)) / 4).astype(dtype)
    tensors = [torch.from_numpy(x) for x in found]
    return fsa.RaggedTensor.from_row_splits(tensors, torch.from_numpy(values))


def travelling(one):
    levels = [one.shape.row_splits(axis).numpy() for axis in range(1, one.num_axes)]
    return {"splits": levels, "values": one.values.numpy()}


def compare(comparison, what, ours, theirs, limit=1e-5):
    if isinstance(ours, fsa.RaggedTensor):
        levels = theirs["splits"]
        levels = [levels] if isinstance(levels, np.ndarray) else levels
        for axis, wanted in enumerate(levels, 1):
            comparison.same("row splits", ours.shape.row_splits(axis), wanted)
        ours, theirs = ours.values, theirs["values"]
    comparison.close(what, ours, theirs, limit)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_ragged(comparison, method):
    for rng in comparison.cases(most=300):
        axes = {"remove_axis": 3, "pad": 2, "arange": 2}.get(method) or int(rng.integers(2, 4))
        one = random_ragged(rng, axes, FLOATS if method in ONLY_FLOATS else (np.int32, *FLOATS))
        if method == "arange" and not one.numel():
            continue  # 1.23.4 fails
        arguments = METHODS[method](rng, one)
        if method == "normalize":  # sums of 0 make no sense
            one = fsa.RaggedTensor(one.shape, one.values.abs() + 0.1)
        theirs = comparison.call(
            "ragged", values=travelling(one), method=method, arguments=arguments
        )
        ours = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments]
        compare(comparison, "values", getattr(one, method)(*ours), theirs)


@pytest.mark.parametrize("method", ["sum", "normalize"])
def test_ragged_gradients(comparison, method):
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, 2, FLOATS)
        if not one.numel():
            continue
        arguments = [True] if method == "normalize" else []
        theirs = comparison.call(
            "ragged_gradient", values=travelling(one), method=method, arguments=arguments
        )
        one.requires_grad_(True)
        found = getattr(one, method)(*arguments)
        found = found.values if isinstance(found, fsa.RaggedTensor) else found
        ((found**2).sum() / 2).backward()
        comparison.close("d values", one.grad, theirs, 1e-4)


@pytest.mark.parametrize("descending", [False, True])
def test_ragged_sort(comparison, descending):
    """Of equal values either may come first."""
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, int(rng.integers(2, 4)))
        before = one.values.clone()
        arguments = {"values": travelling(one), "method": "sort_", "arguments": [descending, True]}
        theirs = comparison.call("ragged", **arguments)
        order = one.sort_(descending, True)
        comparison.same("values", one.values, before[torch.from_numpy(theirs).long()])
        comparison.same("new2old", one.values, before[order.long()])


def test_ragged_unique(comparison):
    """k2 orders lists by hash, so that they are compared as sets of each row."""
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, 3, (np.int32,))
        one = fsa.RaggedTensor(one.shape, one.values.clamp(0, 1))
        theirs = comparison.call(
            "ragged", values=travelling(one), method="unique", arguments=[True, True]
        )
        lists, counts, _ = one.unique(need_num_repeats=True, need_new2old_indexes=True)
        wanted = fsa.RaggedTensor.from_row_splits(
            [torch.from_numpy(x) for x in theirs[0]["splits"]],
            torch.from_numpy(theirs[0]["values"]),
        )
        repeats = fsa.RaggedTensor.from_splits(
            torch.from_numpy(theirs[1]["splits"]), torch.from_numpy(theirs[1]["values"])
        )
        pairs = [
            [sorted(zip(map(tuple, row), count)) for row, count in zip(x.tolist(), y.tolist())]
            for x, y in ((lists, counts), (wanted, repeats))
        ]
        comparison.same("lists and their number", *pairs)


def test_ragged_index(comparison):
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, int(rng.integers(2, 4)))
        index = rng.integers(0, one.dim0, rng.integers(1, 6)).astype(np.int32)
        values = {"values": travelling(one), "method": "index"}
        theirs = comparison.call("ragged", arguments=[index, 0, True], **values)
        found, places = one.index(torch.from_numpy(index), 0, True)
        compare(comparison, "values", found, theirs[0])
        comparison.same("value indexes", places, theirs[1])
        lists = random_ragged(rng, 2, (np.int32,))
        lists = fsa.RaggedTensor(lists.shape, lists.values % one.dim0)
        theirs = comparison.call("ragged", arguments=[travelling(lists)], **values)
        compare(comparison, "by ragged", one.index(lists), theirs)


@pytest.mark.parametrize("axis", [0, 1])
def test_ragged_cat(comparison, axis):
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, 2, (np.int32,))
        other = one
        while other is one or (axis == 1 and other.dim0 != one.dim0):
            other = random_ragged(rng, 2, (np.int32,))
        sides = [travelling(one), travelling(other)]
        theirs = comparison.call("ragged_function", function="cat", arguments=[sides, axis])
        compare(comparison, "values", ragged.cat([one, other], axis), theirs)


def test_index_by_ragged(comparison):
    for rng in comparison.cases(most=300):
        one = random_ragged(rng, 2, (np.int32,))
        src = rng.normal(size=6).astype(np.float32)
        index = fsa.RaggedTensor(one.shape, one.values.clamp(min=-1))
        arguments = [src, travelling(index)]
        tensors = (torch.from_numpy(src), index)
        for function in ("index", "index_and_sum"):
            theirs = comparison.call("ragged_function", function=function, arguments=arguments)
            compare(comparison, function, getattr(ragged, function)(*tensors), theirs)


def test_index_select_and_add(comparison):
    for rng in comparison.cases(most=300):
        src = rng.normal(size=(6, 2)[: rng.integers(1, 3)]).astype(np.float32)
        index = rng.integers(-1, 6, rng.integers(1, 9)).astype(np.int32)
        if src.ndim == 1:
            theirs = comparison.call("index_select", arguments=[src, index, 3.0])
            ours = fsa.index_select(torch.from_numpy(src), torch.from_numpy(index), 3.0)
        else:
            theirs = comparison.call("index_select", arguments=[src, index])
            ours = fsa.index_select(torch.from_numpy(src), torch.from_numpy(index))
        comparison.close("index_select", ours, theirs, 0)
