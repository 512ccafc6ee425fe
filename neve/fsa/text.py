"""Automata as text: k2's form and OpenFst's."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.kernels import Graph


def graph_from_k2_text(text: str, acceptor: bool = True, where: str = "text") -> Graph:
    """A graph from lines "src dst label [aux] [score]", the last line being the final state.

    With acceptor=False each arc has an auxiliary label, a number or a list such as "[3 5]". Raises
    NeveError with `where` and the line that cannot be read.
    """
    src, dst, labels, scores, aux = [], [], [], [], []
    final = None
    for number, line in enumerate(text.splitlines(), 1):
        head, bracket, rest = line.partition("[")
        emitted, _, tail = rest.partition("]")
        fields = head.split()
        if not fields:
            continue
        try:
            if final is not None:
                raise ValueError
            if len(fields) == 1 and not bracket:
                final = int(fields[0])
                continue
            wanted = 3 if acceptor or bracket else 4
            numbers = [int(field) for field in fields[:wanted]]
            rest = fields[wanted:] + tail.split()
            if len(numbers) < wanted or len(rest) > 1 or (bracket and acceptor):
                raise ValueError
            score = float(rest[0]) if rest else 0.0
            words = [int(word) for word in emitted.split()]
        except ValueError:
            wanted = "src dst label [score]" if acceptor else "src dst label aux [score]"
            raise NeveError(
                f"{where}, line {number}: {line!r} is not an arc ({wanted}), nor the final state "
                "(one number, on the last line)"
            ) from None
        src.append(numbers[0])
        dst.append(numbers[1])
        labels.append(numbers[2])
        scores.append(score)
        aux.append(words if bracket else [n for n in numbers[3:] if n != 0])
    if final is None:
        if src:
            raise NeveError(f"{where}: the last line must be the number of the final state")
        return _graph(0, src, dst, labels, scores, aux)
    if any(b < a for a, b in zip(src, src[1:])):
        raise NeveError(f"{where}: arcs must be sorted by their first column")
    try:
        return _graph(final + 1, src, dst, labels, scores, aux)
    except NeveError as error:
        raise NeveError(f"{where}: {error}") from None


def _graph(num_states, src, dst, labels, scores, aux) -> Graph:
    splits = np.cumsum([0, *(len(words) for words in aux)])
    values = np.array([word for words in aux for word in words], np.int64)
    arcs = [np.array(column, np.int64) for column in (src, dst, labels)]
    return Graph.from_arcs(num_states, *arcs, scores, values, splits)


def graph_to_k2_text(graph: Graph, acceptor: bool = True) -> str:
    """What `graph_from_k2_text` reads; lists of auxiliary labels where any has several."""
    ragged = not acceptor and np.diff(graph.aux_splits).max(initial=0) > 1
    lines = []
    splits = graph.aux_splits
    for arc, src in enumerate(graph.src):
        fields = [src, graph.dst[arc], graph.labels[arc]]
        if not acceptor:
            words = graph.aux_values[splits[arc] : splits[arc + 1]]
            fields.append(f"[{' '.join(map(str, words))}]" if ragged else (*words, 0)[0])
        lines.append(" ".join(map(str, [*fields, _shortest(graph.scores[arc])])))
    if graph.num_states:
        lines.append(str(graph.num_states - 1))
    return "".join(line + "\n" for line in lines)


def _shortest(score: np.float32) -> str:
    """The shortest decimal that reads back as the same float32."""
    return np.format_float_positional(score, trim="-") if np.isfinite(score) else str(score)


def graph_from_openfst_text(
    text: str, acceptor: bool = False, where: str | os.PathLike = "text"
) -> Graph:
    """A graph from OpenFst's lines "src dst ilabel olabel [cost]" and "state [cost]".

    An acceptor has no olabel column. The source of the first line is the start. Scores are negated
    costs; one final state is added, entered by an arc labelled -1 from each state that was final.
    Raises NeveError with `where` and the line that cannot be read.
    """
    width = 3 if acceptor else 4
    lines = text.split("\n")
    counts = np.array([len(line.split()) for line in lines])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # older numpy warns of what is no number
            numbers = np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning):
        raise NeveError(_first_bad_line(lines, width, where)) from None
    begins = np.concatenate(([0], np.cumsum(counts)))
    is_arc = (counts == width) | (counts == width + 1)
    is_end = (counts == 1) | (counts == 2)
    if begins[-1] != len(numbers) or not np.all(is_arc | is_end | (counts == 0)):
        raise NeveError(_first_bad_line(lines, width, where))
    columns = begins[:-1][is_arc][:, None] + np.arange(width)
    arcs = numbers[columns]
    costs = _last_or_zero(numbers, begins, is_arc & (counts == width + 1), is_arc)
    final = numbers[begins[:-1][is_end]]
    final_costs = _last_or_zero(numbers, begins, is_end & (counts == 2), is_end)
    whole = all(np.all((x >= 0) & (x == np.rint(x)) & (x < 2**31)) for x in (arcs, final))
    if not whole or np.isnan(costs).any() or np.isnan(final_costs).any():
        raise NeveError(_first_bad_line(lines, width, where))
    arcs, final = arcs.astype(np.int64), final.astype(np.int64)
    if len(numbers) == 0:
        return Graph.from_arcs(0, final, final, final, costs)
    num_states = int(max(arcs[:, :2].max(initial=0), final.max(initial=0))) + 1
    start = int(numbers[0])
    number = np.arange(num_states + 1)
    number[0], number[start] = start, 0
    keep = final_costs < np.inf
    final, final_costs = final[keep], final_costs[keep]
    minus = np.full(len(final), -1)
    src = number[np.concatenate((arcs[:, 0], final))]
    dst = number[np.concatenate((arcs[:, 1], np.full(len(final), num_states)))]
    labels = np.concatenate((arcs[:, 2], minus))
    aux = np.concatenate((arcs[:, -1] if not acceptor else np.zeros(len(arcs), int), minus))
    scores = -np.concatenate((costs, final_costs))
    try:
        return Graph.from_arcs(num_states + 1, src, dst, labels, scores, aux)
    except NeveError as error:
        raise NeveError(f"{where}: {error}") from None


def _last_or_zero(numbers, begins, has_cost, lines) -> np.ndarray:
    """The last number of each of `lines` that has a cost, 0 for the others."""
    costs = np.zeros(len(has_cost))
    costs[has_cost] = numbers[begins[1:][has_cost] - 1]
    return costs[lines]


def _first_bad_line(lines: list[str], width: int, where) -> str:
    for number, line in enumerate(lines, 1):
        row = line.split()
        try:
            good = len(row) in (0, 1, 2, width, width + 1)
            integers = row[:1] if len(row) < 3 else row[:width]
            numbers = [int(field) for field in integers]
            costs = [float(field) for field in row[len(integers) :]]
            good = good and all(0 <= n < 2**31 for n in numbers)
            good = good and not any(cost != cost for cost in costs)
        except ValueError:
            good = False
        if not good:
            arc = "src dst label [cost]" if width == 3 else "src dst ilabel olabel [cost]"
            return (
                f"{where}, line {number}: {line!r} is neither an arc ({arc}) nor a final state "
                "(state [cost])"
            )
    return f"{where}: not a text of numbers"


def read_text(path: str | os.PathLike) -> str:
    """The text of a file; NeveError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise NeveError(f"{path}: {error.strerror}; run the stage that makes it") from None
    except UnicodeDecodeError:
        raise NeveError(f"{path}: not a text file") from None
