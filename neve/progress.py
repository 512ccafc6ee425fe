"""Progress of long work: what is done, how fast it goes, how long it will take."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
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
    line = StatusLine(every)
    begin = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        if line.due():
            line.show(_line(what, unit, done, total, time.monotonic() - begin))
    if line.shown:
        line.end(_line(what, unit, done, done, time.monotonic() - begin))


class StatusLine:
    """The state of long work, on standard error: on a terminal one line that is kept up to date,
    elsewhere a line every `every` seconds, through `say` if that is given.

    Nothing is due before two seconds have passed.
    """

    def __init__(self, every: float, say: Callable[[str], None] | None = None):
        self.terminal = sys.stderr.isatty()
        self.every, self.say = every, say
        self.shown = False
        self._next = time.monotonic() + (2.0 if self.terminal else max(2.0, every))

    def due(self) -> bool:
        """Whether it is time for `show`."""
        return time.monotonic() >= self._next

    def show(self, text: str) -> None:
        self._next = time.monotonic() + (0.5 if self.terminal else self.every)
        self.shown = True
        if self.terminal:
            self._write(f"\r{text}\x1b[K")
        elif self.say:
            self.say(text)
        else:
            self._write(f"{text}\n")

    def end(self, text: str = "") -> None:
        """Replace the line by its last version; by nothing, if there is none."""
        if self.terminal and self.shown:
            self._write(f"\r{text}\x1b[K" + ("\n" if text else ""))
        elif text:
            self._write(f"{text}\n")
        self.shown = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
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
