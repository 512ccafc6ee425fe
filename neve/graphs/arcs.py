"""Word graphs as columns of arcs, to be put together and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neve.kernels import Graph


class Arcs(NamedTuple):
    """Arcs of a word graph, each with one output or none: columns (A,).

    State 0 is the start, the last of `num_states` the final one, entered by arcs labelled -1 alone.
    """

    num_states: int
    src: np.ndarray
    dst: np.ndarray
    labels: np.ndarray
    outputs: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, graph: Graph) -> Arcs:
        """The arcs of a graph whose arcs emit one word or none."""
        counts = np.diff(graph.aux_splits)
        outputs = np.zeros(graph.num_arcs, np.int64)
        outputs[counts > 0] = graph.aux_values[graph.aux_splits[:-1][counts > 0]]
        columns = (graph.src, graph.dst, graph.labels)
        src, dst, labels = (column.astype(np.int64) for column in columns)
        return cls(graph.num_states, src, dst, labels, outputs, graph.scores.astype(np.float64))

    @classmethod
    def listed(cls, num_states: int, rows: Sequence[tuple[int, int, int, int, float]]) -> Arcs:
        """From rows (source, target, label, output, score)."""
        table = np.array(rows, np.float64).reshape(-1, 5).T
        return cls(num_states, *(column.astype(np.int64) for column in table[:4]), table[4])

    def graph(self) -> Graph:
        """As a graph."""
        return Graph.from_arcs(
            self.num_states, self.src, self.dst, self.labels, self.scores, self.outputs
        )

    def with_rows(
        self, rows: Sequence[tuple[int, int, int, int, float]], more_states: int = 0
    ) -> Arcs:
        """With further arcs. `more_states` states stand before the final one.

        Rows name states by their number before: the new ones are num_states - 1, num_states, ...
        """
        last = self.num_states - 1
        dst = np.where(self.dst == last, last + more_states, self.dst)
        more = Arcs.listed(0, rows)
        return Arcs(
            self.num_states + more_states,
            np.concatenate((self.src, more.src)),
            np.concatenate((dst, more.dst)),
            np.concatenate((self.labels, more.labels)),
            np.concatenate((self.outputs, more.outputs)),
            np.concatenate((self.scores, more.scores)),
        )
