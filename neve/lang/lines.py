"""Reading text files line by line, with errors that name file and line."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from neve.errors import NeveError


def read_lines(path: str | os.PathLike, what: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) for each line that is not blank; .gz is read too.

    `what` says what the file is, for the message when it cannot be read. Raises NeveError for a
    missing file, for bytes that are not UTF-8 and for a truncated .gz.
    """
    path = Path(path)
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.decode("utf-8").rstrip("\r\n")
                if number == 1:
                    line = line.removeprefix("\ufeff")
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise NeveError(f"{path}: there is no such {what}") from None
    except UnicodeDecodeError as error:
        raise NeveError(f"{path}:{number}: is not UTF-8 text ({error.reason})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NeveError(
            f"{path}: broken or truncated after line {number} ({error}); make it again"
        ) from error
    except OSError as error:
        raise NeveError(f"{path}: this {what} cannot be read: {error}") from error
