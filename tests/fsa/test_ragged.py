"""Ragged tensors against plain lists of lists."""

import math

import numpy as np
import pytest
import torch
from random_graphs import cases

from neve.errors import NeveError
from neve.fsa import (
    RaggedShape,
    RaggedTensor,
    index_add,
    index_select,
    ragged,
    simple_ragged_index_select,
)


def random_lists(rng, axes=2):
    count = int(rng.integers(0, 5))
    if axes == 1:
        return [int(x) for x in rng.integers(-3, 4, count)]
    return [random_lists(rng, axes - 1) for _ in range(count)]


def random_ragged(rng, axes=2, dtype=torch.int32):
    lists = random_lists(rng, axes)
    splits, level = [], lists
    for _ in range(axes - 1):
        splits.append(torch.tensor([0, *np.cumsum([len(x) for x in level])]).int())
        level = [y for x in level for y in x]
    return lists, RaggedTensor.from_row_splits(splits, torch.tensor(level, dtype=dtype))


def rows_of(lists, axes):
    for _ in range(axes - 2):
        lists = [y for x in lists for y in x]
    return lists


def test_lists_text_and_tensors_go_around():
    for rng, where in cases():
        axes = int(rng.integers(2, 5))
        lists, one = random_ragged(rng, axes)
        assert one.tolist() == lists, where
        assert one.num_axes == axes and one.numel() == len(one.values), where
        assert one.shape.tot_size(axes - 1) == one.numel(), where
        if lists and one.numel():
            assert RaggedTensor(lists) == one, where
            assert RaggedTensor(str(lists).replace(",", "")) == one, where
            assert RaggedShape(repr(one.shape)) == one.shape, where
        assert RaggedTensor(one.shape, one.values) == one, where
        assert one.to(torch.float64).dtype == torch.float64
    square = RaggedTensor(torch.tensor([[1, 2], [3, 4]]))
    assert square.tolist() == [[1, 2], [3, 4]] and square.dtype == torch.int32
    assert RaggedTensor([[1, 2.5], []]).dtype == torch.float32
    assert RaggedTensor("[[1 2.5] []]").tolist() == [[1, 2.5], []]
    assert RaggedTensor([[1]], torch.float64).dtype == torch.float64
    assert RaggedTensor([]).tolist() == [] and RaggedTensor([[], []]).tolist() == [[], []]


def test_operations_over_the_last_axis():
    for rng, where in cases():
        axes = int(rng.integers(2, 4))
        lists, one = random_ragged(rng, axes, torch.float64)
        rows = rows_of(lists, axes)
        assert one.sum().tolist() == [sum(r) for r in rows], where
        assert one.sum(2).tolist() == [sum(r) + 2 for r in rows], where
        assert one.max(-1).tolist() == [max([-1, *r]) for r in rows], where
        assert one.min(1).tolist() == [min([1, *r]) for r in rows], where
        starts = np.cumsum([0, *(len(r) for r in rows)])
        last = [
            begin + max(i for i, x in enumerate(r) if x == max(r)) if r else -1
            for begin, r in zip(starts, rows)
        ]
        assert one.argmax().tolist() == last, where
        high = [x if r and max(r) >= 1 else -1 for x, r in zip(last, rows)]
        assert one.argmax(1).tolist() == high, where
        sums = [math.log(sum(math.exp(x) for x in [*r, -7])) for r in rows]
        np.testing.assert_allclose(one.logsumexp(-7), sums, rtol=1e-9, err_msg=where)
        sums = [math.log(sum(math.exp(x) for x in r)) if r else -math.inf for r in rows]
        np.testing.assert_allclose(one.logsumexp(), sums, rtol=1e-9, atol=1e-9, err_msg=where)
        logs = [x - total for r, total in zip(rows, sums) for x in r]
        np.testing.assert_allclose(one.normalize(True).values, logs, atol=1e-9, err_msg=where)
        value = torch.arange(len(rows), dtype=torch.float64)
        added = [x - 2 * i for i, r in enumerate(rows) for x in r]
        assert one.add(value, -2).values.tolist() == added, where
        assert one.remove_values_eq(1).values.tolist() == [x for r in rows for x in r if x != 1]
        kept = one.remove_values_leq(0)
        assert rows_of(kept.tolist(), axes) == [[x for x in r if x > 0] for r in rows], where
        assert kept.num_axes == axes
        other = one.clone()
        order = other.sort_(descending=True, need_new2old_indexes=True)
        assert rows_of(other.tolist(), axes) == [sorted(r, reverse=True) for r in rows], where
        assert torch.equal(one.values[order.long()], other.values), where
        if axes == 2:
            width = max(map(len, rows), default=0)
            assert one.pad("constant", 9).tolist() == [r + [9] * (width - len(r)) for r in rows]
            filled = [(r + [(r or [9])[-1]] * width)[:width] for r in rows]
            assert one.pad("replicate", 9).tolist() == filled, where


def test_parts_and_axes():
    for rng, where in cases():
        axes = int(rng.integers(2, 5))
        lists, one = random_ragged(rng, axes)
        picks = rng.integers(-1, len(lists), int(rng.integers(0, 5))) if lists else np.array([-1])
        found, places = one.index(torch.from_numpy(picks), 0, need_value_indexes=True)
        assert found.tolist() == [lists[i] if i >= 0 else [] for i in picks], where
        assert torch.equal(found.values, one.values[places.long()]), where
        for i in range(len(lists)):
            assert one[i].tolist() == lists[i], where
        begin = int(rng.integers(0, len(lists) + 1))
        assert one[begin:].tolist() == lists[begin:], where
        assert one.arange(0, 0, begin).tolist() == lists[:begin], where
        if axes > 2:
            assert one.remove_axis(0).tolist() == [y for x in lists for y in x], where
            assert one.remove_axis(1).tolist() == [[z for y in x for z in y] for x in lists], where
            inner = [y for x in lists for y in x]
            assert one.arange(1, 0, len(inner) // 2).tolist() == inner[: len(inner) // 2], where
            keep = torch.from_numpy(np.nonzero(rng.random(len(inner)) < 0.5)[0])
            kept, n = one.index(keep, 1)[0].tolist(), 0
            for i, group in enumerate(lists):
                wanted = [y for j, y in enumerate(group, n) if j in keep]
                n += len(group)
                assert kept[i] == wanted, where
        assert one.shape.row_ids(1).tolist() == [i for i, x in enumerate(lists) for _ in x], where
        assert one.shape.max_size(1) == max(map(len, lists), default=0), where
        others = [random_ragged(rng, axes) for _ in range(2)]
        joined = RaggedTensor.cat([one, *(other for _, other in others)], axis=0)
        assert joined.tolist() == lists + others[0][0] + others[1][0], where
        twice = ragged.cat([one, one], axis=1)
        assert twice.tolist() == [x + x for x in lists], where


def test_unique_lists():
    for rng, where in cases():
        axes = int(rng.integers(2, 4))
        lists, one = random_ragged(rng, axes)
        found, counts, places = one.unique(True, True)
        groups = lists if axes == 3 else [lists]
        distinct = found.tolist() if axes == 3 else [found.tolist()]
        assert len(distinct) == len(groups), where
        for group, different, repeats in zip(groups, distinct, counts.tolist()):
            assert sorted(map(tuple, different)) == sorted(set(map(tuple, group))), where
            assert [group.count(x) for x in different] == repeats, where
        rows = rows_of(lists, axes)
        flat = [x for group in distinct for x in group]
        assert [rows[i] for i in places.tolist()] == flat, where


def test_indexing_by_a_ragged_tensor():
    src = RaggedTensor([[10, 11], [12, 13.5]])
    found = src.index(RaggedTensor([[0], [1], [0, 0]]))
    assert found.tolist() == [[[10, 11]], [[12, 13.5]], [[10, 11], [10, 11]]]


def test_gradients():
    shape = RaggedTensor([[1, 2, 3], [], [4], [5, 6]]).shape
    values = torch.randn(6, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    for use in (
        lambda r: r.sum(),
        lambda r: r.logsumexp(0.0),
        lambda r: r.logsumexp()[[0, 2, 3]],
        lambda r: ragged.index_and_sum(r.values, RaggedTensor([[0, -1, 0], [], [5, 2]])),
        lambda r: r.max(-9.0),
        lambda r: r.normalize(True).values,
        lambda r: r.normalize(False).values,
        lambda r: r.index(torch.tensor([2, 0, 0]), 0)[0].values,
        lambda r: r.pad("constant", 0.0),
    ):
        assert check(lambda v, use=use: use(RaggedTensor(shape, v)), values)
    index = torch.tensor([2, -1, 2, 0])
    assert check(lambda v: index_select(v, index, 5.0), values)


def test_text_is_as_k2_prints_it():
    lists = RaggedTensor([[[1, 2], []], [[]], [[3], [4, 5]]])
    indent = " " * len("RaggedTensor(")
    lines = ["[[[1, 2],", "  []],", " [[]],", " [[3],", "  [4, 5]]]"]
    assert str(lists) == f"RaggedTensor({f'{chr(10)}{indent}'.join(lines)}, dtype=torch.int32)"
    numbers = RaggedTensor([[1.5, 1e-10, 3.14159265], [1e20, 100000.0, 1234567.0, math.inf]])
    assert numbers.to_str_simple() == (
        "RaggedTensor([[1.5, 1e-10, 3.14159], [1e+20, 100000, 1.23457e+06, inf]], "
        "dtype=torch.float32)"
    )
    assert str(RaggedTensor([])) == "RaggedTensor([], dtype=torch.int32)"
    assert repr(lists.shape) == "[ [ [ x x ] [ ] ] [ [ ] ] [ [ x ] [ x x ] ] ]"
    assert len(repr(RaggedTensor([[1]] * 101))) < 100


def test_lists_of_shapes():
    for rng, where in cases():
        axes = int(rng.integers(3, 5))
        lists, one = random_ragged(rng, axes)
        for i in range(len(lists)):
            assert one.shape[i] == one[i].shape, where
            assert one.shape[i - len(lists)] == one[i].shape, where
        for i in (len(lists), -len(lists) - 1):
            with pytest.raises(NeveError, match="index"):
                one.shape[i]
    with pytest.raises(NeveError, match="two axes"):
        RaggedShape("[[x]]")[0]


def test_sums_of_what_lists_name():
    for rng, where in cases():
        indexes, one = random_ragged(rng)
        indexes = [[i % 8 - 1 for i in row] for row in indexes]
        one.values = one.values % 8 - 1
        src = torch.from_numpy(rng.normal(size=7))
        found = ragged.index(src, one, default_value=5.0)
        assert found.tolist() == [[src[i].item() if i >= 0 else 5 for i in r] for r in indexes]
        sums = [sum(src[i].item() for i in row if i >= 0) for row in indexes]
        np.testing.assert_allclose(ragged.index_and_sum(src, one), sums, atol=1e-12, err_msg=where)


def test_functions_on_indices():
    index = torch.tensor([2, -1, 0], dtype=torch.int32)
    src = torch.tensor([10, 11, 12], dtype=torch.int32)
    assert index_select(src, index, 7).tolist() == [12, 7, 10]
    total = torch.zeros(3)
    index_add(index, torch.tensor([1.0, 2, 3]), total)
    assert total.tolist() == [3, 0, 1]
    lists = RaggedTensor([[0, 1], [1], []])
    numbers = torch.tensor([5, 0, 0], dtype=torch.int32)
    assert simple_ragged_index_select(numbers, lists).tolist() == [5, 0, 0]
    with pytest.raises(NeveError, match="several numbers"):
        simple_ragged_index_select(src, lists)
    shape = ragged.create_ragged_shape2(row_ids=torch.tensor([0, 0, 2]))
    assert shape.row_splits(1).tolist() == [0, 2, 2, 3]
    assert ragged.regular_ragged_shape(2, 3).tot_sizes() == (2, 6)
    two = shape.compose(RaggedShape.regular_ragged_shape(3, 2))
    assert two.num_axes == 3 and two.get_layer(1).numel() == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RaggedTensor([1, 2]), "at least two deep"),
        (lambda: RaggedTensor([[1], 2]), "one depth"),
        (lambda: RaggedTensor([[[1]], [2]]), "one depth"),
        (lambda: RaggedTensor("[[1] [2]"), "one list in brackets"),
        (lambda: RaggedTensor("[[1]] 2"), "one list in brackets"),
        (lambda: RaggedTensor("[[x]]"), "'x' is not a number"),
        (lambda: RaggedTensor("[1]]"), "bracket too many"),
        (lambda: RaggedTensor([[2**40]]), "data: "),
        (lambda: RaggedTensor(torch.zeros(3)), "two axes"),
        (lambda: RaggedTensor([["a"]]), "data: "),
        (lambda: RaggedTensor(RaggedShape("[[x]]"), torch.zeros(2)), "there are 2 values"),
        (lambda: RaggedShape.from_row_splits([]), "at least one axis"),
        (
            lambda: RaggedShape.from_row_splits([torch.tensor([0, 2]), torch.tensor([0, 1])]),
            "row_splits of axis 2",
        ),
        (lambda: RaggedTensor([[1]]).logsumexp(), "floats are needed"),
        (lambda: RaggedTensor([[1]]).pad("odd", 0), "mode"),
        (lambda: RaggedTensor([[1]]).remove_axis(0), "keeps them"),
        (lambda: RaggedTensor([[1]]).index(torch.tensor([1]), 0), "indexes"),
        (lambda: RaggedTensor([[1]]).shape.row_splits(2), "axis: 2"),
        (lambda: ragged.cat([], 0), "at least one"),
        (lambda: ragged.cat([RaggedTensor([[1]]), RaggedTensor([[1.5]])], 0), "differ in dtype"),
        (
            lambda: ragged.cat([RaggedTensor([[1]]), RaggedTensor([[1], [2]])], 1),
            "numbers of lists",
        ),
        (lambda: index_select(torch.zeros(2), torch.tensor([2])), "index"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(NeveError, match=message):
        make()
