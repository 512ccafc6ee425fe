"""Small inputs whose results would have more elements than 32 bits count: clear errors, at once."""

import numpy as np
import pytest

import neve.kernels.product
from neve.errors import NeveError
from neve.fsa import Fsa, intersect
from neve.kernels import Graph, compose_ctc, gather_ragged, remove_epsilon

MANY = 70_000  # its square is more than 2**32


def make(*arcs) -> Graph:
    """A graph of groups of arcs (src, dst, label), of which each may be an array; sorted."""
    groups = [np.stack(np.broadcast_arrays(*group), -1).reshape(-1, 3) for group in arcs]
    src, dst, labels = np.concatenate(groups).T
    return Graph.from_arcs(int(dst.max()) + 1, src, dst, labels, np.zeros(len(src)))


def test_ctc_graph():
    # after each token that enters it, state 1 becomes one with an arc for each token
    tokens = np.arange(1, MANY + 1)
    with pytest.raises(NeveError, match=r"the CTC graph would have 4,9.* 32-bit"):
        compose_ctc(make((0, 1, tokens), (1, 2, tokens), (2, 3, -1)))


def test_epsilon_removal():
    # 1500 states, each entered by 1000 arcs, with epsilons to 1500 others that 1000 arcs leave
    tokens, states = np.arange(1, 1001), np.arange(1500)[:, None]
    first, hub, last = 1 + states, 1501, 1502 + states
    arcs = (0, first, tokens), (first, hub, 0), (hub, last, 0), (last, 3002, tokens)
    graph = make(*arcs, (3002, 3003, -1))
    with pytest.raises(NeveError, match=r"the graph without epsilons would have 2,2.* 32-bit"):
        remove_epsilon(graph)


def test_lists():
    splits, values = np.array([0, MANY]), np.zeros(MANY, np.int32)
    with pytest.raises(NeveError, match=r"auxiliary labels would have 4,9.* 32-bit"):
        gather_ragged(splits, values, np.zeros(MANY, np.int32))
    with pytest.raises(NeveError, match="aux_splits: 2147483648 does not fit in 32 bits"):
        Graph.from_arcs(2, [0], [1], [-1], [0], [], [0, 2**31])


def test_products(monkeypatch):
    # a billion arcs do not fit into the memory of a test: the limit is lower here
    monkeypatch.setattr(neve.kernels.product, "INT32_MAX", 2 * 99)
    loops = Fsa.from_str("0 0 1\n" * 10 + "0 1 -1\n1")
    with pytest.raises(NeveError, match="the product would have more than 99 arcs"):
        intersect(loops, loops)
    monkeypatch.setattr(neve.kernels.product, "INT32_MAX", 2 * 101)
    assert intersect(loops, loops).num_arcs == 101
