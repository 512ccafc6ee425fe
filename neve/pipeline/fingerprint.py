"""Digests of files, directories and values: what tells whether a stage's inputs have changed."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from neve.progress import progress

MARKER = ".stage.json"  # in an output: it is complete, and what it was made from
CONFIG = "config.yaml"  # in an output: the full configuration

# In a directory that a stage finished, a file above this size (bytes) is taken to be what that
# stage wrote, if its size is; anything smaller, and all that users bring, is read in full.
LARGE = 32 << 20


def digest_of(value: object) -> str:
    """The digest of plain data: strings, numbers, lists and dictionaries."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class FileDigests:
    """Digests of files' contents; one whose path, size, times and inode are known is not reread.

    `known` is what `table` of an earlier run was: {path: [size, mtime_ns, inode, digest]}.
    """

    def __init__(self, known: dict[str, list] | None = None):
        self.known = known or {}
        self.table: dict[str, list] = {}

    def path(self, path: Path) -> str:
        """The digest of a file's content, or of all names and contents of a directory's files.

        Hidden files and compiled Python are left out, and in what a stage made also its logs, its
        configuration and the directories of other stages in it.
        """
        if path.is_dir():
            return self._directory(path)
        return self._file(path)

    def _directory(self, path: Path) -> str:
        marker = read_json(path / MARKER)
        files = list(_visible_files(path, made=marker is not None))
        entries = []
        for file in progress(files, what=f"reading {path}", unit="files"):
            size = file.stat().st_size
            if marker and size > LARGE:
                content = [size, marker.get("fingerprint")]
            else:
                content = self._file(file)
            entries.append([str(file.relative_to(path)), content])
        return digest_of(entries)

    def _file(self, path: Path) -> str:
        status = path.stat()
        key = [status.st_size, status.st_mtime_ns, status.st_ino]
        name = str(path.resolve())
        if self.known.get(name, [])[:3] == key:
            digest = self.known[name][3]
        else:
            digest = _content_digest(path)
        self.table[name] = [*key, digest]
        return digest


def _content_digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as stream:
        head = stream.read(10)
        if head[:2] == b"\x1f\x8b":  # gzip: bytes 4 to 7 are the time of compression
            head = head[:4] + bytes(4) + head[8:]
        digest.update(head)
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _visible_files(top: Path, made: bool) -> Iterator[Path]:
    for folder, folders, files in os.walk(top, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name != "__pycache__"
            and not (made and (name == "log" or (here / name / MARKER).exists()))
        )
        for name in sorted(files):
            if name.startswith(".") or (made and (name == CONFIG or name.endswith(".log"))):
                continue
            yield here / name


def read_json(path: Path) -> dict | None:
    """The dictionary in a file, None if the file is missing or is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
