"""Whatever is read, the answer is an automaton, a ragged tensor or a NeveError: never a crash."""

import contextlib
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.fsa import Fsa, Graph, RaggedTensor, load_fsa, save_graph_dict, trivial_graph

many = settings(max_examples=200, deadline=None)
refused = contextlib.suppress(NeveError)

# numbers between these would be legal states, and as many of them would fill the memory
whole = st.integers(-3, 9) | st.sampled_from([300, 2**31, -(2**31) - 1, 2**63, 10**30])
odd = st.sampled_from([None, "x", True, float("nan"), float("inf"), 1e300, (), b"1", 1j])
tokens = whole.map(str) | st.sampled_from(
    ["[", "]", "[ 1 2 ]", "[]", "-1", "nan", "inf", "1e2", "0.5", "1_0", "x", "٣", "\n", "\n", "\n"]
)
short = st.text("[]0123 .-x,\n", max_size=40).map(lambda text: re.sub(r"\d{4,}", "7", text))
texts = st.lists(tokens, max_size=30).map(" ".join) | short


@many
@given(st.recursive(whole | st.floats() | odd, st.lists, max_leaves=12))
def test_any_lists(data):
    with refused:
        found = RaggedTensor(data)
        assert found.numel() == len(found.values)
        if found.dtype == torch.int32:
            assert RaggedTensor(str(found.tolist())).values.tolist() == found.values.tolist()


@many
@given(texts)
def test_any_text_of_lists(text):
    with refused:
        assert RaggedTensor(text).num_axes >= 2


@many
@given(
    st.lists(st.lists(st.integers(-2, 6), max_size=5), max_size=3),
    st.integers(0, 6),
    st.sampled_from([torch.int32, torch.int64, torch.float32, torch.float64, torch.bool]),
    st.sampled_from([torch.int32, torch.int64, torch.float32]),
)
def test_any_splits(splits, count, dtype, splits_dtype):
    with refused:
        splits = [torch.tensor(row, dtype=splits_dtype) for row in splits]
        found = RaggedTensor.from_row_splits(splits, torch.zeros(count, dtype=dtype))
        assert len(found.tolist()) == found.dim0


@many
@given(texts, st.sampled_from([None, False, True]), st.sampled_from([None, 0, 1, 2]), st.booleans())
def test_any_text_of_automata(text, acceptor, num_aux, openfst):
    with refused:
        Fsa.from_str(text, acceptor, num_aux, openfst=openfst).to_graph()


arcs = st.lists(st.tuples(*[st.integers(-2, 4)] * 3, st.integers(-(2**31), 2**31 - 1)), max_size=6)


@many
@given(arcs, st.none() | st.integers(-2, 6), st.lists(st.integers(-5, 5), max_size=6))
def test_any_arcs(rows, num_states, aux):
    rows = sorted(rows) if len(aux) % 2 else rows
    table = torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)
    with refused:
        Fsa(table, torch.tensor(aux, dtype=torch.int32), num_states).to_graph()
    with refused:
        Fsa.from_dict({"arcs": table, "aux_labels": torch.tensor(aux)}).to_graph()


@many
@given(st.lists(st.integers(-2, 9), max_size=24), st.integers(0, 3), arcs)
def test_any_packed_automata(numbers, count, rows):
    packed = torch.tensor(numbers, dtype=torch.int32)
    with refused:
        Fsa.from_dict({"arcs": packed}).to_graph()
    heads = [count, 0, *sorted(numbers)[: 2 * (count + 1)], *(x for row in rows for x in row)]
    with refused:
        [fsa.to_graph() for fsa in Fsa.from_dict({"arcs": torch.tensor(heads).int()})]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    fsa = trivial_graph(3)
    fsa.words = RaggedTensor([[1, 2], [], [3], [-1]])
    save_graph_dict(fsa.as_dict(), folder / "graph.pt")
    fsa.to_graph().save(folder / "graph")
    return folder


changes = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4)


def damaged(data, changes, length):
    data = bytearray(data[: max(0, len(data) - length)])
    for place, byte in changes:
        if data:
            data[place % len(data)] = byte
    return bytes(data)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@many
@given(changes, st.sampled_from([0, 0, 0, 1, 100]))
def test_any_damage_to_a_file(written, changes, length):
    path = written / "damaged.pt"
    path.write_bytes(damaged((written / "graph.pt").read_bytes(), changes, length))
    with refused:
        load_fsa(path).to_graph()


@many
@given(st.integers(0, 6), changes, st.sampled_from([0, 0, 0, 1, 100]))
def test_any_damage_to_a_folder(written, number, changes, length):
    files = sorted((written / "graph").iterdir())
    folder = written / "damaged"
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(files):
        data = path.read_bytes()
        data = damaged(data, changes, length) if i == number % len(files) else data
        (folder / path.name).write_bytes(data)
    with refused:
        graph = Graph.load(folder)
        assert graph.dst.dtype == np.int32


def test_a_good_one_is_no_error(written):
    assert load_fsa(written / "graph.pt").words.tolist() == [[1, 2], [], [3], [-1]]
    assert Graph.load(written / "graph").num_arcs == 4
