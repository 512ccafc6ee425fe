"""A weighted automaton as plain numpy arrays, and its form on disk.

The conventions are k2's: scores are log-probability-like (larger is better), state 0 is the start,
the last state is the final one and is entered by exactly the arcs labelled -1, label 0 is epsilon.
"""

import dataclasses
import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.files import atomic_open

FORMAT = 1
INT32_MAX = 2**31 - 1


@dataclasses.dataclass
class Graph:
    """An automaton whose arcs lie state by state (compressed sparse rows).

    Of `S` states and `A` arcs:
      row_splits  (S+1,) int32: the arcs that leave state s are row_splits[s] .. row_splits[s+1]-1
      dst         (A,) int32: the state an arc enters
      labels      (A,) int32: what an arc consumes; 0 is epsilon (the blank in a decoding graph)
      scores      (A,) float32
      aux_splits, aux_values  (A+1,), (W,) int32: what an arc emits, a list of any length
    """

    row_splits: np.ndarray
    dst: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    aux_splits: np.ndarray
    aux_values: np.ndarray

    @property
    def num_states(self) -> int:
        return len(self.row_splits) - 1

    @property
    def num_arcs(self) -> int:
        return len(self.dst)

    @property
    def src(self) -> np.ndarray:
        """(A,) int32: the state that each arc leaves."""
        return np.repeat(np.arange(self.num_states, dtype=np.int32), np.diff(self.row_splits))

    @functools.cached_property
    def max_label(self) -> int:
        """The largest label, 0 for a graph without arcs."""
        return int(self.labels.max(initial=0))

    @classmethod
    def from_arcs(cls, num_states, src, dst, labels, scores, aux_labels=None, aux_splits=None):
        """A graph from arcs in any order, which keep their order within a state.

        `aux_labels` is (A,), where 0 emits nothing, or the values of a ragged list whose row splits
        are `aux_splits` (A+1,). Raises NeveError for states, labels or scores out of range.
        """
        if not 0 <= num_states <= INT32_MAX:
            raise NeveError(f"num_states: must be in 0..{INT32_MAX}, it is {num_states}")
        src = as_int32(src, "src")
        num_arcs = len(src)
        if aux_labels is None:
            aux_labels = np.zeros(num_arcs, np.int32)
        aux_labels = as_int32(aux_labels, "aux_labels")
        if aux_splits is None:
            emits = aux_labels != 0
            aux_splits = np.concatenate(([0], np.cumsum(emits)))
            aux_labels = aux_labels[emits]
        aux_splits = as_int32(aux_splits, "aux_splits")
        dst, labels = as_int32(dst, "dst"), as_int32(labels, "labels")
        scores = np.ascontiguousarray(scores, np.float32)
        for name, array in (("dst", dst), ("labels", labels), ("scores", scores)):
            if array.shape != (num_arcs,):
                raise NeveError(f"{name} has shape {array.shape}, src has {num_arcs} arcs")
        if num_arcs and (src.min() < 0 or src.max() >= num_states):
            raise NeveError(f"src: states must be in 0..{num_states - 1}")
        if np.any(src[1:] < src[:-1]):
            order = np.argsort(src, kind="stable")
            src, dst, labels, scores = src[order], dst[order], labels[order], scores[order]
            lengths = np.diff(aux_splits)[order]
            starts = np.repeat(aux_splits[:-1][order], lengths)
            aux_splits = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            within = np.arange(len(starts)) - np.repeat(aux_splits[:-1], lengths)
            aux_labels = aux_labels[starts + within]
        row_splits = np.concatenate(([0], np.cumsum(np.bincount(src, minlength=num_states))))
        graph = cls(row_splits.astype(np.int32), dst, labels, scores, aux_splits, aux_labels)
        graph.check()
        return graph

    def check(self) -> None:
        """Raises NeveError, which names the array, unless the arrays form a graph."""
        num_states, num_arcs = self.num_states, self.num_arcs
        for name, array in (("labels", self.labels), ("scores", self.scores)):
            if array.shape != (num_arcs,):
                raise NeveError(f"{name} has shape {array.shape}, dst has {num_arcs} arcs")
        rows = self.row_splits
        if len(rows) == 0 or rows[0] != 0 or rows[-1] != num_arcs or np.any(np.diff(rows) < 0):
            raise NeveError(f"row_splits must rise from 0 to the {num_arcs} arcs of dst")
        splits = self.aux_splits
        if len(splits) != num_arcs + 1 or splits[0] != 0 or np.any(np.diff(splits) < 0):
            raise NeveError("aux_splits must rise from 0, with one entry more than arcs")
        if splits[-1] != len(self.aux_values):
            raise NeveError(f"aux_splits ends at {splits[-1]}, not {len(self.aux_values)}")
        if num_arcs == 0:
            return
        if self.dst.min() < 0 or self.dst.max() >= num_states:
            raise NeveError(f"dst: states must be in 0..{num_states - 1}")
        if self.labels.min() < -1:
            raise NeveError(f"labels: {self.labels.min()} is less than -1")
        final = self.dst == num_states - 1
        if not np.array_equal(final, self.labels == -1):
            arc = int(np.nonzero(final != (self.labels == -1))[0][0])
            raise NeveError(
                f"labels: arc {arc} has label {self.labels[arc]} and enters state "
                f"{self.dst[arc]}; label -1 must be on exactly the arcs that enter the last state, "
                f"{num_states - 1}"
            )
        if rows[-1] != rows[-2]:
            raise NeveError("the last state is the final one and must have no arcs")
        bad = ~(self.scores < np.inf)
        if bad.any():
            arc = int(np.nonzero(bad)[0][0])
            raise NeveError(f"scores: arc {arc} is {bad_score(self.scores[arc])}")

    def words(self, arcs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the arcs of a path emit: (words, the position in `arcs` that emits each)."""
        arcs = np.asarray(arcs, np.int64)
        begins, ends = self.aux_splits[arcs], self.aux_splits[arcs + 1]
        words, positions = [], []
        for position in np.nonzero(ends > begins)[0]:
            for word in self.aux_values[begins[position] : ends[position]]:
                if word > 0:
                    words.append(word)
                    positions.append(position)
        return np.array(words, np.int32), np.array(positions, np.int32)

    def save(self, directory: str | os.PathLike, **about) -> None:
        """Writes each array as `<name>.npy`, and graph.json, into `directory`, all or nothing.

        `about` (plain values) is kept in graph.json for the reader of the directory.
        """
        directory = Path(directory)
        temporary = directory.with_name(f".{directory.name}.tmp{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            for field in dataclasses.fields(self):
                with atomic_open(temporary / f"{field.name}.npy", "wb") as stream:
                    np.save(stream, getattr(self, field.name))
            facts = {"format": FORMAT, "states": self.num_states, "arcs": self.num_arcs, **about}
            with atomic_open(temporary / "graph.json") as stream:
                json.dump(facts, stream, indent=2)
            shutil.rmtree(directory, ignore_errors=True)
            os.replace(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "Graph":
        """Maps the arrays that `save` wrote into memory, which processes share.

        Raises NeveError if a file is missing, damaged or of another format.
        """
        directory = Path(directory)
        remedy = "build the graph again (stage 5)"
        try:
            facts = json.loads((directory / "graph.json").read_text())
            if facts.get("format") != FORMAT:
                raise NeveError(
                    f"{directory}/graph.json: format {facts.get('format')}, this version of neve "
                    f"reads {FORMAT}; {remedy}"
                )
            # "c": pages are shared between processes until written to, and numba sees the same
            # array type as for arrays made in memory
            arrays = [
                np.asarray(np.load(directory / f"{field.name}.npy", mmap_mode="c"))
                if (directory / f"{field.name}.npy").stat().st_size > 128
                else np.load(directory / f"{field.name}.npy")
                for field in dataclasses.fields(cls)
            ]
        except NeveError:
            raise
        except Exception as error:  # numpy raises many kinds for a damaged header
            raise NeveError(f"{directory}: not a readable graph ({error}); {remedy}") from error
        graph = cls(*arrays)
        if any(array.ndim != 1 for array in arrays) or (
            (graph.num_states, graph.num_arcs) != (facts.get("states"), facts.get("arcs"))
        ):
            raise NeveError(f"{directory}: arrays do not belong to graph.json; {remedy}")
        for field, array in zip(dataclasses.fields(cls), arrays):
            wanted = np.float32 if field.name == "scores" else np.int32
            if array.dtype != wanted:
                raise NeveError(f"{directory}/{field.name}.npy: type {array.dtype}; {remedy}")
        try:
            graph.check()
        except NeveError as error:
            raise NeveError(f"{directory}: {error}; {remedy}") from None
        return graph


def bad_score(score: float) -> str:
    """What to call a score that is none, in an error."""
    return "NaN" if score != score else "+inf"


def as_int32(values, name: str) -> np.ndarray:
    """`values` as contiguous int32; NeveError if a number does not fit."""
    values = np.asarray(values)
    if values.dtype != np.int32 and values.size:
        if values.dtype.kind not in "iu":
            raise NeveError(f"{name}: whole numbers are needed, not {values.dtype}")
        if values.max() > INT32_MAX or values.min() < -INT32_MAX - 1:
            raise NeveError(
                f"{name}: {values.max()} does not fit in 32 bits; the graph is too large, "
                "prune the language model or use a smaller lexicon"
            )
    return np.ascontiguousarray(values, np.int32)


def check_size(count: int, what: str) -> int:
    """`count` if it can be numbered with 32 bits, else NeveError."""
    if count > INT32_MAX:
        raise NeveError(
            f"{what} would have {count:,} elements, more than the {INT32_MAX:,} that 32-bit "
            "numbers can hold; prune the language model or use a smaller lexicon"
        )
    return int(count)
