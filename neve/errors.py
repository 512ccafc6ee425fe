"""Errors that are meant for the user rather than for a developer.

Anything that a user can cause and repair raises one of these; the command line prints the message
alone, without a traceback, and exits with status 1. A good message names the file, line or key that
is wrong and says what to do about it.
"""

import errno
import os
import shutil
from collections.abc import Sequence


class NeveError(Exception):
    """Something the user can repair; the message says where it is and how."""


class ConfigError(NeveError):
    """A configuration file or command line that cannot be understood."""


def named(names: Sequence[str], most: int = 20) -> str:
    """The first of many names, for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def disk_full(error: BaseException | None, path: str | os.PathLike) -> NeveError | None:
    """The NeveError to raise instead of `error` if a full disk or quota caused it, else None.

    Looks through the chain of causes, and, because some libraries report a failed write as a plain
    RuntimeError, at the room that is left on the file system of `path`.
    """
    seen = set()
    full = False
    current = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno in (errno.ENOSPC, errno.EDQUOT):
            full = True
        if isinstance(current, RuntimeError | OSError) and free_bytes(path) < 65536:
            full = True
        current = current.__cause__ or current.__context__
    if not full:
        return None
    return NeveError(
        f"{path}: no space is left on this disk. Nothing that was finished before is lost; "
        "free some space (or move the output to another disk) and run the same command again."
    )


def free_bytes(path: str | os.PathLike) -> int:
    """Bytes that are free on the file system that holds `path`, or would hold it."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free
