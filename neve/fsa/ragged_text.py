"""Nested lists as text and as flat lists."""

from __future__ import annotations

import re
from typing import Any

from neve.errors import NeveError
from neve.fsa.ragged_shape import RaggedShape


def nested_list(shape: RaggedShape, items: list) -> list:
    """The elements of the last axis as lists of lists."""
    for axis in range(shape.num_axes - 1, 0, -1):
        splits = shape.row_splits(axis).tolist()
        items = [items[a:b] for a, b in zip(splits, splits[1:])]
    return items


def parse_lists(text: str) -> list:
    """Nested lists from text; numbers are parted by spaces or commas."""
    stack: list[list] = [[]]
    for token in re.findall(r"[\[\]]|[^\s,\[\]]+", text):
        if token == "[":
            stack.append([])
        elif token == "]":
            if len(stack) == 1:
                raise NeveError("data: a closing bracket too many")
            done = stack.pop()
            stack[-1].append(done)
        else:
            try:
                number = int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)
            except ValueError:
                raise NeveError(f"data: {token!r} is not a number") from None
            stack[-1].append(number)
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise NeveError("data: one list in brackets is needed, such as [[1 2] [3]]")
    return stack[0][0]


def flatten_lists(lists: Any) -> tuple[list[list[int]], list]:
    """(row splits of each axis, numbers); lists of lists at least, all equally deep."""
    if not isinstance(lists, list | tuple):
        raise NeveError(f"data: lists of lists are needed, not {type(lists).__name__}")
    splits, level = [], list(lists)
    while True:
        are_lists = [isinstance(item, list | tuple) for item in level]
        if splits and not any(are_lists) and (level or len(splits) >= 1):
            break
        if not all(are_lists):
            raise NeveError("data: lists of one depth are needed, at least two deep")
        ends = [0]
        for item in level:
            ends.append(ends[-1] + len(item))
        splits.append(ends)
        level = [element for item in level for element in item]
    return splits, level


def shape_text(shape: RaggedShape) -> str:
    """An x for each element, in brackets with spaces between, as k2 prints shapes."""

    def text(part) -> str:
        return part if isinstance(part, str) else " ".join(["[", *map(text, part), "]"])

    return text(nested_list(shape, ["x"] * shape.numel()))


def lists_text(lists: list, indent: int | None = None) -> str:
    """Lists in brackets, numbers with six digits; with an indent, a line for each innermost one."""
    if not any(isinstance(part, list) for part in lists):
        return f"[{', '.join(map(_number, lists))}]"
    if indent is None:
        return f"[{', '.join(map(lists_text, lists))}]"
    parts = [lists_text(part, indent + 1) for part in lists]
    return "[" + (",\n" + " " * (indent + 1)).join(parts) + "]"


def _number(number: int | float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
