"""Comparison with the real k2: random cases, new in every run, through both engines.

The real k2 is found as the backend k2 finds it (NEVE_K2_PYTHON, or what local/k2_oracle.py made);
without it these tests are skipped. NEVE_ORACLE_SECONDS is what all of them together may take (70
without it, but never more than 2 each), and NEVE_TEST_SEED fixes the cases. The largest differences
are printed at the end of the run, and written to the file that NEVE_ORACLE_REPORT names.
"""

import os
import time

import numpy as np
import pytest
import torch

from neve.errors import NeveError

SECONDS = os.environ.get("NEVE_ORACLE_SECONDS")
SEED = int(os.environ.get("NEVE_TEST_SEED") or int.from_bytes(os.urandom(4), "little"))
# What k2 1.23.4 does not have, so that it is not compared here
LACKING = (
    "HAT, rnnt losses without symbols or with fewer frames than symbols, the least s_range for long"
    " texts, allow_partial, gradients of determinize, closure of ragged attributes, online decoding"
    " that goes on from states which cannot end, automata of one arc, reading the lists it writes"
)
_rows: list[tuple[str, int, list]] = []
_about: list[str] = []


class Comparison:
    """One operation through both engines, as many cases as there is time for."""

    def __init__(self, operation: str, k2, seconds: float):
        self.operation, self.k2, self.seconds = operation, k2, seconds
        self.count, self.worst = 0, {}
        self._where = ""

    def cases(self, least: int = 5, most: int = 1000):
        """A generator for each case, until the time is over (the first case is not counted)."""
        end = None
        for number in range(most):
            if number >= least and time.monotonic() > end:
                break
            self._where = f"{self.operation}: NEVE_TEST_SEED={SEED}, case {number}"
            self.count += 1
            yield np.random.default_rng([SEED, number])
            end = end or time.monotonic() + self.seconds

    def call(self, operation: str, **arguments):
        return self.k2.call(operation, **arguments)

    def close(self, what: str, ours, theirs, limit: float, relative: bool = False) -> None:
        """The largest difference is at most `limit`, of values above 1 relative if asked."""
        ours, theirs = array(ours), array(theirs)
        assert ours.shape == theirs.shape, (
            f"{self._where}: {what} {ours.shape}, k2's {theirs.shape}"
        )
        both = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))  # infinities too
        with np.errstate(invalid="ignore"):
            gap = np.where(both, 0, np.abs(ours - theirs))
            gap = gap / np.maximum(1, np.abs(theirs)) if relative else gap
        gap = float(np.nan_to_num(gap, nan=np.inf).max(initial=0))
        worst, _ = self.worst.get(what, (0.0, limit))
        self.worst[what] = max(gap, worst), limit
        assert gap <= limit, f"{self._where}: {what} differs by {gap}\n{ours}\nk2: {theirs}"

    def same(self, what: str, ours, theirs) -> None:
        """Equal in every element: arrays, or plain values."""
        if isinstance(ours, np.ndarray | torch.Tensor):
            ours, theirs = array(ours), array(theirs)
            equal = ours.shape == theirs.shape and bool(np.array_equal(ours, theirs))
        else:
            equal = ours == theirs
        self.worst.setdefault(what, (0.0, 0.0))
        if not equal:
            self.worst[what] = float("inf"), 0.0
        assert equal, f"{self._where}: {what}\n{ours}\nk2: {theirs}"


def array(values) -> np.ndarray:
    values = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return np.asarray(values, np.float64)


@pytest.fixture(scope="session")
def k2():
    from neve.fsa.backends.k2.client import real_k2

    try:
        engine = real_k2()
        about = engine.call("about")
    except NeveError as reason:
        pytest.skip(f"no real k2: {reason}")
    _about.append("k2 {k2}, torch {torch}, Python {python}".format(**about))
    yield engine
    engine.close()


@pytest.fixture
def comparison(request, k2):
    torch.manual_seed(SEED)
    count = sum("comparison" in item.fixturenames for item in request.session.items)
    seconds = float(SECONDS) / count if SECONDS else min(2, 70 / count)
    found = Comparison(request.node.name.removeprefix("test_"), k2, seconds)
    yield found
    _rows.append((found.operation, found.count, sorted(found.worst.items())))


def table() -> list[str]:
    lines = [f"the engine against the real k2 ({', '.join(_about)}), NEVE_TEST_SEED={SEED}"]
    lines.append(f"{'operation':44} {'cases':>6}  largest difference (limit) of each result")
    for operation, count, worst in _rows:
        results = ", ".join(
            f"{what} {gap:.1e} ({limit:.0e})" if limit else f"{what} {'equal' if not gap else 'NO'}"
            for what, (gap, limit) in worst
        )
        lines.append(f"{operation:44} {count:6}  {results}")
    return [*lines, f"not compared, since k2 1.23.4 does not have it: {LACKING}"]


def pytest_terminal_summary(terminalreporter):
    if not _rows:
        return
    terminalreporter.section("comparison with k2")
    for line in table():
        terminalreporter.write_line(line)
    report = os.environ.get("NEVE_ORACLE_REPORT")
    if report:
        with open(report, "w", encoding="utf-8") as stream:
            stream.write("\n".join(table()) + "\n")
