"""What a stage notes down about itself: command, versions, git revision, and all it printed."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from neve import __version__
from neve.errors import NeveError
from neve.pipeline.lock import command_line

PACKAGES = ("torch", "lhotse", "numba", "numpy", "kaldifst", "kaldilm", "sentencepiece")


def surroundings(stage: str) -> dict[str, object]:
    """Command line, place, time and versions; packages are looked up, not imported."""
    versions = {"python": platform.python_version(), "neve": __version__}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "stage": stage,
        "command": command_line(),
        "directory": os.getcwd(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions,
        "revision": git_revision(),
    }


def git_revision() -> str | None:
    """The revision that the library was checked out at, "-dirty" if files differ from it."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


class Tee:
    """Copies what is written to standard output and standard error to a log file, until closed.

    Lines that a terminal overwrites in place (progress) are left out.
    """

    def __init__(self, path: Path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._log = open(path, "a", encoding="utf-8")
        except OSError as error:
            raise NeveError(f"{path}: the log cannot be written: {error.strerror}") from error
        self._streams = sys.stdout, sys.stderr
        sys.stdout = _Branch(sys.stdout, self)
        sys.stderr = _Branch(sys.stderr, self)

    def note(self, what: dict | str) -> None:
        """Write something to the log alone."""
        if isinstance(what, dict):
            what = "\n".join(["", *(f"# {key}: {value}" for key, value in what.items()), ""])
        self.write(what)

    def write(self, text: str) -> None:
        """Add to the log; a log on a full disk must not stop what it is a log of."""
        try:
            self._log.write(text)
            self._log.flush()
        except (OSError, ValueError):
            pass

    def close(self) -> None:
        """Give standard output and standard error back."""
        sys.stdout, sys.stderr = self._streams
        try:
            self._log.close()
        except OSError:
            pass


class _Branch:
    """A text stream that also writes to a log."""

    def __init__(self, stream, tee: Tee):
        self._stream = stream
        self._tee = tee

    def write(self, text: str) -> int:
        if not text.startswith("\r"):
            self._tee.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)
