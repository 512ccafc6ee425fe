"""The array form of graphs: its checks, and its files."""

import numpy as np
import pytest

from neve.errors import NeveError
from neve.kernels import Graph
from neve.kernels.graph import check_size


def small() -> Graph:
    return Graph.from_arcs(
        3, [0, 0, 1, 1], [1, 1, 0, 2], [1, 2, 0, -1], [0.5, -1, -2, 0], [7, 0, 8, 0]
    )


def test_arcs_in_any_order_keep_their_order_within_a_state():
    graph = Graph.from_arcs(
        3,
        [1, 0, 1, 0],
        [2, 1, 0, 1],
        [-1, 5, 4, 3],
        [0, 1, 2, 3],
        [9, 1, 2, 3, 4],
        [0, 1, 3, 3, 5],
    )
    assert graph.labels.tolist() == [5, 3, -1, 4]
    assert graph.scores.tolist() == [1, 3, 0, 2]
    assert graph.src.tolist() == [0, 0, 1, 1]
    assert graph.aux_splits.tolist() == [0, 2, 4, 5, 5]
    assert graph.aux_values.tolist() == [1, 2, 3, 4, 9]


def test_words_of_a_path_come_with_their_positions():
    graph = Graph.from_arcs(
        3, [0, 0, 1], [0, 1, 2], [1, 2, -1], [0, 0, 0], [5, 6, 7, -1], [0, 2, 3, 4]
    )
    words, positions = graph.words([0, 1, 2])
    assert words.tolist() == [5, 6, 7]
    assert positions.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": [0, 0, 1, 3]}, "src: states must be in 0..2"),
        ({"dst": [1, 1, 0, 3]}, "dst: states must be in 0..2"),
        ({"dst": [1, 1, 0, -1]}, "dst: states must be in 0..2"),
        ({"labels": [1, 2, 0, 3]}, "label -1 must be on exactly the arcs"),
        ({"labels": [-1, 2, 0, -1]}, "label -1 must be on exactly the arcs"),
        ({"labels": [1, -2, 0, -1]}, "-2 is less than -1"),
        ({"labels": [1, 2**31, 0, -1]}, "does not fit in 32 bits"),
        ({"labels": [1.5, 2, 0, -1]}, "whole numbers"),
        ({"scores": [0, np.nan, 0, 0]}, "scores: arc 1 is NaN"),
        ({"scores": [0, 0, 0]}, "scores has shape"),
        ({"src": [0, 0, 1, 2]}, "the last state is the final one"),
        ({"aux_splits": [0, 1, 2, 3]}, "aux_splits"),
    ],
)
def test_bad_arcs_are_named(change, message):
    arguments = {
        "num_states": 3,
        "src": [0, 0, 1, 1],
        "dst": [1, 1, 0, 2],
        "labels": [1, 2, 0, -1],
        "scores": [0, 0, 0, 0],
        "aux_labels": [1, 2, 3, 4],
    }
    with pytest.raises(NeveError, match=message.replace("(", r"\(")):
        Graph.from_arcs(**{**arguments, **change})


def test_the_empty_graph_is_legal():
    graph = Graph.from_arcs(0, [], [], [], [])
    assert (graph.num_states, graph.num_arcs, graph.max_label) == (0, 0, 0)


def test_files_map_the_same_arrays(tmp_path):
    graph = small()
    graph.save(tmp_path / "g", made_by="a test")
    loaded = Graph.load(tmp_path / "g")
    for name in ("row_splits", "dst", "labels", "scores", "aux_splits", "aux_values"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(graph, name))
    # writing to a loaded array must not reach the file
    loaded.scores[:] = 9
    assert Graph.load(tmp_path / "g").scores[0] == 0.5


def test_saving_replaces_a_graph_and_leaves_nothing_else(tmp_path):
    small().save(tmp_path / "g")
    Graph.from_arcs(0, [], [], [], []).save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").num_states == 0
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(NeveError, match="nowhere"):
        Graph.load(tmp_path / "nowhere")
    small().save(tmp_path / "g")
    whole = (tmp_path / "g/dst.npy").read_bytes()
    (tmp_path / "g/dst.npy").write_bytes(whole[:-4])
    with pytest.raises(NeveError, match="build the graph again"):
        Graph.load(tmp_path / "g")
    (tmp_path / "g/dst.npy").write_bytes(whole)
    Graph.from_arcs(2, [0], [1], [-1], [0]).save(tmp_path / "other")
    (tmp_path / "g/dst.npy").write_bytes((tmp_path / "other/dst.npy").read_bytes())
    with pytest.raises(NeveError, match="do not belong to graph.json"):
        Graph.load(tmp_path / "g")
    np.save(tmp_path / "g/dst.npy", np.int32([1, 1, 99, 2]))
    with pytest.raises(NeveError, match="dst: states must be in 0..2; build the graph again"):
        Graph.load(tmp_path / "g")
    (tmp_path / "g/graph.json").write_text('{"format": 0}')
    with pytest.raises(NeveError, match="format 0"):
        Graph.load(tmp_path / "g")


def test_sizes_beyond_32_bits_are_refused():
    assert check_size(2**31 - 1, "this") == 2**31 - 1
    with pytest.raises(NeveError, match="that would have 2,147,483,648 elements"):
        check_size(2**31, "that")
