"""Writing files so that a reader sees either the whole file or none of it."""

import contextlib
import gzip
import io
import os
import secrets
from pathlib import Path

from neve.errors import disk_full


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike, mode: str = "w"):
    """Open `path` for writing; it appears under its name only when all of it is on the disk.

    The text (UTF-8) or bytes (`mode="wb"`) go to a temporary name beside `path`, which is renamed
    when the block ends and removed when it raises. Names that end in `.gz` are compressed, without
    a time stamp, so that the same content gives the same file. Missing parent directories are made.

    Raises NeveError, naming the path, if the disk is full.
    """
    if mode not in ("w", "wt", "wb"):
        raise ValueError(f"atomic_open writes whole files: mode {mode!r} is not w, wt or wb")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as raw:
            with contextlib.ExitStack() as stack:
                stream = raw
                if path.suffix == ".gz":
                    stream = stack.enter_context(
                        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
                    )
                if mode != "wb":
                    stream = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
                yield stream
                stream.flush()
                if mode != "wb":
                    stream.detach()
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        full = disk_full(error, path) if isinstance(error, Exception) else None
        if full is not None:
            raise full from error
        raise
