"""Ranges in lists of numbers: `0.1:1.0:0.1` is 0.1, 0.2, ... 1.0 (start:stop:step)."""

from __future__ import annotations

import re
import typing
from decimal import Decimal

MOST = 10_000  # numbers in a range

_NUMBER = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*"
_RANGE = re.compile(f"({_NUMBER}):({_NUMBER}):({_NUMBER})")


def with_ranges(kind: object, value: object) -> object:
    """`value` with the ranges in it written out, if `kind` is a list of numbers.

    A range stands alone or among the numbers of the list. It ends with `stop` if the steps meet
    it, before it otherwise; they go down if `step` is negative.

    Raises ValueError for what has a colon and is not such a range.
    """
    if typing.get_origin(kind) is not list or typing.get_args(kind)[0] not in (float, int):
        return value
    entries = value if isinstance(value, list) else [value]
    if not any(isinstance(entry, str) and ":" in entry and "${" not in entry for entry in entries):
        return value
    numbers: list[object] = []
    for entry in entries:
        if isinstance(entry, str) and ":" in entry and "${" not in entry:
            found = _numbers(entry)
            if typing.get_args(kind)[0] is int and any(number % 1 for number in found):
                raise ValueError(f"the range {entry!r} has numbers that are not whole")
            numbers += [typing.get_args(kind)[0](number) for number in found]
        else:
            numbers.append(entry)
    return numbers


def _numbers(text: str) -> list[Decimal]:
    match = _RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a range start:stop:step, such as 0.1:1.0:0.1")
    start, stop, step = (Decimal(part.strip()) for part in match.groups())
    if not step or (stop - start) / step < 0:
        raise ValueError(f"the range {text!r} does not lead from {start} to {stop}")
    count = int((stop - start) / step) + 1
    if count > MOST:
        raise ValueError(f"the range {text!r} has {count} numbers; {MOST} is the most")
    return [start + i * step for i in range(count)]
