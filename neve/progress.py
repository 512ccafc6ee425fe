"""Progress of long work: what is done, how fast it goes, how long it will take."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(
    iterable: Iterable[Item],
    total: int | None = None,
    what: str = "",
    unit: str = "it",
    every: float = 10.0,
) -> Iterator[Item]:
    """Yield the items of `iterable` and report on standard error how it goes.

    On a terminal one line is kept up to date; otherwise a line is printed every `every` seconds.
    Work that is over within two seconds prints nothing. `total` defaults to `len(iterable)`.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    terminal = sys.stderr.isatty()
    begin = time.monotonic()
    next_report = begin + (2.0 if terminal else max(2.0, every))
    done = 0
    reported = False
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now >= next_report:
            next_report = now + (0.5 if terminal else every)
            reported = True
            line = _line(what, unit, done, total, now - begin)
            sys.stderr.write(f"\r{line}\x1b[K" if terminal else f"{line}\n")
            sys.stderr.flush()
    if reported:
        line = _line(what, unit, done, done, time.monotonic() - begin)
        sys.stderr.write(f"\r{line}\x1b[K\n" if terminal else f"{line}\n")
        sys.stderr.flush()


def _line(what: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    text = f"{what}: " if what else ""
    text += f"{done}" if total is None else f"{done}/{total}"
    text += f" {unit}, {rate:.1f} {unit}/s"
    if total is not None and done < total:
        return f"{text}, {duration((total - done) / rate)} left"
    return f"{text}, took {duration(seconds)}" if done == total else text


def duration(seconds: float) -> str:
    """Seconds as people write them: `8.1 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s"
