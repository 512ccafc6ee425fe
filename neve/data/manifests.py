"""Reading and writing Lhotse manifests: whole files, the same bytes for the same content."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from neve.errors import NeveError
from neve.files import atomic_open

TAR_MEMBER = "tar_member"  # how Lhotse calls the storage of features in Shar directories here


def use_libsndfile() -> None:
    """Have Lhotse read all audio with libsndfile.

    Its default calls an external program for NIST SPHERE, which libsndfile reads itself.
    """
    from lhotse.audio.backend import set_current_audio_backend

    set_current_audio_backend("LibsndfileBackend")


def write_manifest(items: Iterable, path: str | os.PathLike) -> None:
    """Write Lhotse recordings, supervisions or cuts as JSON lines (.jsonl or .jsonl.gz)."""
    with atomic_open(path) as stream:
        for item in items:
            stream.write(json.dumps(item.to_dict(), ensure_ascii=False) + "\n")


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, bytes]]:
    """(number, text) of the lines of a file, unpacked if its name ends in .gz.

    Raises NeveError naming the file if it is missing or damaged.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise NeveError(f"{path}: there is no such manifest; run the stage that makes it") from None
    except (OSError, EOFError, zlib.error) as error:
        raise NeveError(
            f"{path}: cannot be read ({error}): run the stage that makes it again"
        ) from error


def read_manifest(path: str | os.PathLike) -> list:
    """The Lhotse recordings, supervisions or cuts in a manifest of JSON lines.

    Raises NeveError naming the file, and the line that is none of these.
    """
    from lhotse.serialization import deserialize_item

    items = []
    for number, line in read_lines(path):
        try:
            items.append(deserialize_item(json.loads(line)))
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            message = f"{path}:{number}: is not a line of a Lhotse manifest: {error!r}"
            raise NeveError(message) from error
    return items


def load_cuts(path: str | os.PathLike) -> list:
    """The Lhotse cuts of a manifest; features are found wherever it has been moved with them."""
    find = FeatureFinder(Path(path).parent)
    return [find(cut) for cut in read_manifest(path)]


class FeatureFinder:
    """Makes cuts refer to features beside their manifest, where there are any.

    A directory of features can then be moved, and read from any working directory.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._found: dict[str, str] = {}

    def __call__(self, cut):
        if cut.has_features:
            if cut.features.storage_type == TAR_MEMBER:
                import neve.data.shar  # noqa: F401  tells Lhotse of this storage
            stored = cut.features.storage_path
            if stored not in self._found:
                beside = self.folder / Path(stored).name
                self._found[stored] = str(beside) if beside.exists() else stored
            cut.features.storage_path = self._found[stored]
        return cut
