"""Graph files: arrays and k2 dictionaries of the same graph."""

import subprocess
import sys

import numpy as np
import pytest

from neve.errors import NeveError
from neve.graphs import build_H, load_graph, save_graph
from neve.kernels import Graph

FIELDS = ("row_splits", "dst", "labels", "scores", "aux_splits", "aux_values")


@pytest.fixture
def graph():
    return Graph.from_arcs(3, [0, 0, 1], [1, 1, 2], [1, 2, -1], [0.5, -1, 0], [4, 5], [0, 2, 2, 2])


def test_arrays_and_dictionary_hold_the_same_graph(tmp_path, graph):
    save_graph(graph, tmp_path)
    for path in (tmp_path, tmp_path / "HLG", tmp_path / "HLG.pt"):
        loaded = load_graph(path)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(loaded, name), getattr(graph, name))


def test_a_directory_of_several_graphs_needs_a_choice(tmp_path, graph):
    save_graph(graph, tmp_path)
    save_graph(build_H(3), tmp_path, "H")
    with pytest.raises(NeveError, match="several graphs"):
        load_graph(tmp_path)
    assert load_graph(tmp_path / "H").max_label == 3


def test_missing_graphs_are_named(tmp_path):
    with pytest.raises(NeveError, match="build the graph again"):
        load_graph(tmp_path)
    with pytest.raises(NeveError, match="HLG.pt: no such file"):
        load_graph(tmp_path / "HLG.pt")


def test_loading_arrays_needs_no_torch(tmp_path, graph):
    save_graph(graph, tmp_path)
    code = (
        "import sys; from neve.graphs import load_graph; "
        f"print(load_graph({str(tmp_path)!r}).num_arcs, 'torch' in sys.modules, "
        "'numba' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["3", "False", "False"], result.stderr
