"""Checkpoints: one file per epoch with a YAML of the full configuration beside it, and one for the
middle of the epoch under way.

A checkpoint is written to a temporary name and renamed, so a file that exists is whole. They are
read by `neve.tensors.load_checkpoint`.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from neve.config import save as save_config
from neve.errors import NeveError, disk_full
from neve.files import atomic_open
from neve.tensors import load_checkpoint

MIDDLE = "resume.pt"  # of the epoch under way


def checkpoint_path(directory: Path, epoch: int) -> Path:
    return Path(directory) / f"epoch-{epoch}.pt"


def checkpoint_epochs(directory: Path) -> list[int]:
    """The epochs that have a checkpoint in `directory`, ascending."""
    names = (re.fullmatch(r"epoch-(\d+)\.pt", path.name) for path in Path(directory).glob("*.pt"))
    return sorted(int(name[1]) for name in names if name)


def save_file(content: dict, path: Path) -> None:
    """`torch.save`; the file appears under its name when it is whole and on the disk.

    Raises NeveError if it cannot be written; nothing is left of it then, and a file that had this
    name before is as it was.
    """
    try:
        with atomic_open(path, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError, NeveError) as error:
        full = disk_full(error, path) is not None or isinstance(error, NeveError)
        if not full and not isinstance(error, OSError):
            raise
        what = "the disk is full" if full else str(error)
        raise NeveError(
            f"{path}: not written, {what}. Earlier checkpoints are intact; free space (or lower "
            "training.keep_checkpoints) and run again: training goes on from the last of them"
        ) from error


def has_checkpoint(directory: Path) -> bool:
    """Whether there is one that training goes on from."""
    return bool(checkpoint_epochs(directory)) or (Path(directory) / MIDDLE).exists()


def newest_checkpoint(directory: Path) -> tuple[Path, dict] | None:
    """The checkpoint that training goes on from, and its content; None where there is none.

    Raises NeveError if it is damaged.
    """
    epochs = checkpoint_epochs(directory)
    middle = Path(directory) / MIDDLE
    if middle.exists():
        saved = load_checkpoint(middle, "remove it to go on from the last epoch that was finished")
        if saved["epoch"] >= max(epochs, default=0):
            return middle, saved
    if not epochs:
        return None
    path = checkpoint_path(directory, epochs[-1])
    return path, load_checkpoint(path, "remove it to resume from the epoch before")


def save_checkpoint(directory: Path, epoch: int, content: dict, config) -> Path:
    """Write epoch-N.yaml (the configuration) and then epoch-N.pt, which replaces resume.pt."""
    path = checkpoint_path(directory, epoch)
    save_config(config, path.with_suffix(".yaml"))
    save_file(content, path)
    (Path(directory) / MIDDLE).unlink(missing_ok=True)
    return path


def prune_checkpoints(directory: Path, keep: int) -> None:
    """Remove all but the newest `keep` epochs; 0 keeps all."""
    if keep > 0:
        for epoch in checkpoint_epochs(directory)[:-keep]:
            path = checkpoint_path(directory, epoch)
            path.unlink(missing_ok=True)
            path.with_suffix(".yaml").unlink(missing_ok=True)
