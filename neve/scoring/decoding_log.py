"""The append-only log of decodings.

Each look at a test set makes its score a little less honest, so each is noted: one JSON object per
line in `exp/decodings.jsonl`, written by the decode verb and only ever added to. RESULTS.md states
the counts.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections import Counter
from pathlib import Path

from neve.errors import NeveError, disk_full


def log_decoding(
    path: str | Path,
    *,
    split: str,
    experiment: str,
    decode_name: str,
    checkpoint: str,
    command: str,
    is_test: bool,
) -> None:
    """Add one line to the log at `path`, which is made if need be.

    The line is written in one piece under a lock, so that decodings which end at the same time do
    not tear each other's lines. Raises NeveError if it cannot be written.
    """
    record = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "split": split,
        "is_test": bool(is_test),
        "experiment": experiment,
        "decode_name": decode_name,
        "checkpoint": str(checkpoint),
        "command": command,
    }
    line = json.dumps(record).encode("ascii") + b"\n"
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # an earlier writer was cut off: keep our line apart from its
            if os.write(descriptor, line) != len(line):
                raise NeveError(
                    f"{path}: the last line could be written only in part; is the disk full? Free "
                    "some space, remove that part of a line and decode again"
                )
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk_full(error, path) or NeveError(
            f"{path}: the decoding cannot be noted ({error.strerror}); make the file writable"
        ) from error


def count_decodings(path: str | Path, *, tests_only: bool = False) -> dict[str, int]:
    """Number of decodings of each split, by name; none at all if there is no log yet.

    Raises NeveError naming the line that is not an entry.
    """
    path = Path(path)
    counts: Counter = Counter()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise NeveError(f"{path}: the log of decodings cannot be read ({error})") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            split, is_test = record["split"], record["is_test"]
            if not isinstance(split, str) or not isinstance(is_test, bool):
                raise TypeError("split must be a string and is_test true or false")
        except (ValueError, KeyError, TypeError) as error:
            raise NeveError(
                f"{path}, line {number}: not an entry of the log of decodings ({error}). The log "
                "is only ever added to; complete or remove this line by hand if a disk was full"
            ) from error
        if is_test or not tests_only:
            counts[split] += 1
    return dict(sorted(counts.items()))
