"""One lock for each output directory, held with flock(2).

The kernel frees a lock when its holder ends, however it ends, so there are no stale locks. A stage
that writes a directory holds its lock alone; stages that read the directory share it, so that
nothing is replaced while somebody reads it.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from pathlib import Path

from neve.errors import NeveError, disk_full

_held: set[int] = set()


def lock_path(directory: Path) -> Path:
    """The file that stands for `directory`; beside it, because the directory itself is replaced."""
    return directory.parent / f".{directory.name}.lock"


class DirectoryLock:
    """The lock of one directory: `share` it to read the directory, `own` it to change it."""

    def __init__(self, directory: Path, wait: bool = False):
        self.directory = directory
        self.wait = wait
        self._file: int | None = None
        self._owned = False

    def share(self) -> None:
        """Hold the lock together with other readers; NeveError if somebody changes the directory.

        Does nothing where this user cannot write beside the directory.
        """
        self._acquire(fcntl.LOCK_SH)

    def own(self) -> None:
        """Hold the lock alone; NeveError if anybody else uses the directory."""
        self._acquire(fcntl.LOCK_EX)
        self._owned = True
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": command_line(),
        }
        with contextlib.suppress(OSError):  # on a full disk the lock holds, but says less
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        """Let go of the lock; the lock file stays, because removing it would race."""
        if self._file is not None:
            if self._owned:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, 0)
                self._owned = False
            _held.discard(self._file)
            os.close(self._file)
            self._file = None

    def _acquire(self, kind: int) -> None:
        path = lock_path(self.directory)
        self.release()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if kind == fcntl.LOCK_SH and not os.access(path.parent, os.W_OK):
                return  # what nobody can change is read without a lock
            raise disk_full(error, path) or NeveError(
                f"{path}: cannot be made: {error.strerror}"
            ) from error
        _held.add(self._file)
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not self.wait:
                message = self._busy(path)
                self.release()
                raise NeveError(message) from None
            print(f"waiting: {self._busy(path)}", file=sys.stderr, flush=True)
            fcntl.flock(self._file, kind)
        except OSError as error:
            self.release()
            raise NeveError(
                f"{path}: this file system cannot lock files ({error.strerror}); "
                "put the experiment on one that can"
            ) from error

    def _busy(self, path: Path) -> str:
        holder = {}
        with contextlib.suppress(OSError, ValueError):
            holder = json.loads(path.read_text())
        who = "another run, which reads it"
        if holder and (holder["host"] != socket.gethostname() or alive(holder["pid"])):
            who = (
                f"process {holder['pid']} on {holder['host']} since {holder['since']} "
                f"({holder['command']})"
            )
        return (
            f"{self.directory} is in use by {who}; "
            "wait for it to end, or give --wait to start when it has"
        )


def alive(pid: int) -> bool:
    """Whether there is a process `pid` on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line() -> str:
    """The command that was typed, as far as it is known."""
    name = os.path.basename(sys.argv[0] or "python")
    return " ".join([name, *sys.argv[1:]])


def _forget_in_child() -> None:
    """A forked worker must not keep its parent's locks alive."""
    for file in list(_held):
        with contextlib.suppress(OSError):
            os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
