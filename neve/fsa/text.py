"""Automata as text: k2's form and OpenFst's."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neve.errors import NeveError
from neve.kernels import Graph


class TextArcs(NamedTuple):
    """What a text says: the number of states (the last is final) and columns of arcs.

    `aux` holds a column of ints for each auxiliary label, `ragged` (splits, values) for each list.
    """

    num_states: int
    src: np.ndarray
    dst: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    aux: list[np.ndarray]
    ragged: list[tuple[np.ndarray, np.ndarray]]


def parse_k2_text(
    text: str, num_aux: int = 0, num_ragged: int = 0, where: str | os.PathLike = "text"
) -> TextArcs:
    """Lines "src dst label aux... [list]... [score]", the last line being the final state.

    Each arc has num_aux auxiliary labels and then num_ragged lists such as "[3 5]". Raises
    NeveError with `where` and the line that cannot be read.
    """
    numbers, scores, lists = [], [], []
    final = None
    for number, line in enumerate(text.splitlines(), 1):
        fields = re.findall(r"\[[^\[\]]*\]|[^\s\[\]]+|[\[\]]", line)
        if not fields:
            continue
        try:
            if final is not None:
                raise ValueError
            if len(fields) == 1:
                final = int(fields[0])
                continue
            lists_begin, lists_end = 3 + num_aux, 3 + num_aux + num_ragged
            if not lists_end <= len(fields) <= lists_end + 1:
                raise ValueError
            arc = [int(field) for field in fields[:lists_begin]]
            words = [_list(field) for field in fields[lists_begin:lists_end]]
            score = float(fields[-1]) if len(fields) > lists_end else 0.0
        except ValueError:
            wanted = " ".join(["src dst label", *["aux"] * num_aux, *["[list]"] * num_ragged])
            raise NeveError(
                f"{where}, line {number}: {line!r} is not an arc ({wanted} [score]), nor the final "
                "state (one number, on the last line)"
            ) from None
        numbers.append(arc)
        lists.append(words)
        scores.append(score)
    if final is None and numbers:
        raise NeveError(f"{where}: the last line must be the number of the final state")
    try:
        table = np.array(numbers, np.int64).reshape(-1, 3 + num_aux).T
    except OverflowError:
        raise NeveError(f"{where}: a number does not fit in 32 bits") from None
    if np.any(table[0, 1:] < table[0, :-1]):
        raise NeveError(f"{where}: arcs must be sorted by their first column")
    ragged = []
    for k in range(num_ragged):
        splits = np.cumsum([0, *(len(words[k]) for words in lists)])
        ragged.append((splits, np.array([x for words in lists for x in words[k]], np.int64)))
    columns = (table[0], table[1], table[2], np.array(scores, np.float32))
    return TextArcs(0 if final is None else final + 1, *columns, list(table[3:]), ragged)


def _list(field: str) -> list[int]:
    if len(field) < 2 or field[0] + field[-1] != "[]":
        raise ValueError
    return [int(number) for number in field[1:-1].split()]


def format_k2_text(
    arcs: np.ndarray,
    scores: np.ndarray,
    num_states: int,
    aux: Sequence[np.ndarray] = (),
    ragged: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    openfst: bool = False,
) -> str:
    """What `parse_k2_text` reads, of arcs (A, 3) int: src, dst, label.

    With openfst=True scores are negated and arcs labelled -1 become final states.
    """
    lines = []
    for e, (src, dst, label) in enumerate(arcs.tolist()):
        score = _shortest(-scores[e] if openfst else scores[e])
        if openfst and label == -1:
            lines.append(f"{src} {score}")
            continue
        fields = [src, dst, label, *(int(column[e]) for column in aux)]
        for splits, values in ragged:
            words = values[splits[e] : splits[e + 1]].tolist()
            fields.append(" ".join(map(str, ["[", *words, "]"])))
        lines.append(" ".join(map(str, [*fields, score])))
    if num_states and not openfst:
        lines.append(str(num_states - 1))
    return "".join(line + "\n" for line in lines)


def _shortest(score: np.float32) -> str:
    """The shortest decimal that reads back as the same float32."""
    return np.format_float_positional(score, trim="-") if np.isfinite(score) else str(score)


def parse_openfst_text(text: str, num_aux: int = 1, where: str | os.PathLike = "text") -> TextArcs:
    """OpenFst's lines "src dst ilabel [olabel...] [cost]" and "state [cost]".

    Each arc has num_aux output labels, none in an acceptor. The source of the first line is the
    start. Scores are negated costs; one final state is added, entered by an arc labelled -1 (also
    its output labels) from each state that was final. Raises NeveError with `where` and the line
    that cannot be read.
    """
    width = 3 + num_aux
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
        return TextArcs(0, final, final, final, costs.astype(np.float32), [final] * num_aux, [])
    num_states = int(max(arcs[:, :2].max(initial=0), final.max(initial=0))) + 1
    start = int(numbers[0])
    number = np.arange(num_states + 1)
    number[0], number[start] = start, 0
    keep = final_costs < np.inf
    final, final_costs = final[keep], final_costs[keep]
    minus = np.full(len(final), -1)
    src = number[np.concatenate((arcs[:, 0], final))]
    dst = number[np.concatenate((arcs[:, 1], np.full(len(final), num_states)))]
    labels, *aux = (np.concatenate((column, minus)) for column in arcs.T[2:])
    scores = -np.concatenate((costs, final_costs)).astype(np.float32)
    order = np.argsort(src, kind="stable")
    return TextArcs(
        num_states + 1,
        *(column[order] for column in (src, dst, labels, scores)),
        [column[order] for column in aux],
        [],
    )


def graph_from_openfst_text(
    text: str, acceptor: bool = False, where: str | os.PathLike = "text"
) -> Graph:
    """The graph in OpenFst's text, see `parse_openfst_text`; an acceptor has no olabel column."""
    read = parse_openfst_text(text, 0 if acceptor else 1, where)
    try:
        return Graph.from_arcs(*read[:5], read.aux[0] if read.aux else None)
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
            arc = "src dst label [cost]"
            if width > 3:
                arc = " ".join(["src dst ilabel", *["olabel"] * (width - 3), "[cost]"])
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
