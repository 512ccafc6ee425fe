"""Recipes that tests run: in a copy of the repository that links to this one, by their run.sh."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MADE = shutil.ignore_patterns("download", "data", "exp", "tiny", "__pycache__")


def make(top: Path, *names: str) -> None:
    """The repository in a new directory `top`: these recipes as copies, without what was made in
    them; all else as links."""
    top.mkdir()
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "egs":
            (top / entry.name).symlink_to(entry)
    for name in names:
        shutil.copytree(ROOT / "egs" / name, top / "egs" / name, ignore=MADE)


def run(there: Path, *words: str | Path) -> subprocess.CompletedProcess:
    """run.sh of the recipe in `there`, with conf/tiny.yaml and on one core."""
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,  # the environment that these tests run in
        "NEVE_EXTRAS": "dev",
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    command = [there / "run.sh", "--config", "conf/tiny.yaml", "--nj", "1", "--ngpu", "0", *words]
    return subprocess.run(
        list(map(str, command)),
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@contextlib.contextmanager
def without(path: Path):
    """For a while there is no `path`."""
    away = path.with_name("away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)
