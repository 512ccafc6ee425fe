"""What the recipes' scripts `local/manifests.py` have in common: their options and their output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from neve.data.manifests import write_manifest
from neve.errors import NeveError


def script_main(description: str, prepare: Callable[[Path, Path], None]) -> None:
    """Call `prepare(download, out)` with the directories that the command line names.

    A NeveError or OSError ends the script with its message and exit status 1. `--nj` is taken, as
    `neve prepare` gives it, and not needed.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    add = parser.add_argument
    add("--download", type=Path, default=Path("download"), help="has what stage 0 brought")
    add("--out", type=Path, default=Path("data/manifests"), help="for the manifests")
    add("--nj", type=int, default=1, help="not needed here: it takes seconds")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        prepare(args.download, args.out)
    except (NeveError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def write_source(
    split: str, recordings: Iterable, supervisions: Iterable, out: str | os.PathLike
) -> None:
    """Write the Lhotse recordings and supervisions of a split for stage 1 to check."""
    write_manifest(recordings, Path(out) / f"recordings_{split}.jsonl.gz")
    write_manifest(supervisions, Path(out) / f"supervisions_{split}.jsonl.gz")
