"""Progress reports, and front doors that open lazily."""

import io
import sys
import types

import pytest

from neve.lazy import lazy_exports
from neve.progress import duration, progress


def work(monkeypatch, items, seconds, **options):
    """Items that go through `progress` at `seconds` each; a clock stands in for the time."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    done = []
    for item in progress(items, what="work", **options):
        done.append(item)
        now[0] += seconds
    return done


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_short_work_is_silent(monkeypatch, capsys):
    assert work(monkeypatch, range(10), 0.1) == list(range(10))
    assert capsys.readouterr().err == ""


def test_lines_with_rate_and_time_left(monkeypatch, capsys):
    assert work(monkeypatch, iter(range(100)), 1.0, total=100, unit="files", every=30) == [
        *range(100)
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "work: 30/100 files, 1.0 files/s, 1 min 10 s left"
    assert lines[-1] == "work: 100/100 files, 1.0 files/s, took 1 min 40 s"


def test_an_unknown_total_has_no_time_left(monkeypatch, capsys):
    work(monkeypatch, iter(range(40)), 1.0, every=30)
    assert capsys.readouterr().err.splitlines()[0] == "work: 30 it, 1.0 it/s"


def test_a_terminal_has_one_line(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    work(monkeypatch, range(10), 1.0)
    text = screen.getvalue()
    assert text.count("\n") == 1 and text.count("\r") > 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 0 s"), (192, "3 min 12 s"),
     (3599.7, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lazy_names_come_from_their_submodules(monkeypatch):
    door = types.ModuleType("door")
    inside = types.ModuleType("door.inside")
    inside.thing = object()
    monkeypatch.setitem(sys.modules, "door", door)
    monkeypatch.setitem(sys.modules, "door.inside", inside)
    door.__path__ = []
    getter, lister, names = lazy_exports("door", {"thing": ".inside", "other": ".absent"})
    assert names == ["other", "thing"] and "thing" in lister()
    assert getter("thing") is inside.thing
    assert door.thing is inside.thing  # kept, so that it is looked up once
    with pytest.raises(AttributeError, match="module 'door' has no attribute 'nothing'"):
        getter("nothing")
    with pytest.raises(ModuleNotFoundError):
        getter("other")
