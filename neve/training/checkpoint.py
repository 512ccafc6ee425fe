"""Checkpoints: one file per epoch with a YAML of the full configuration beside it.

A checkpoint is written to a temporary name and renamed, so a file that exists is whole. They are
read by `neve.tensors.load_checkpoint`.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import torch

from neve.config import save as save_config
from neve.errors import NeveError


def checkpoint_path(directory: Path, epoch: int) -> Path:
    return Path(directory) / f"epoch-{epoch}.pt"


def checkpoint_epochs(directory: Path) -> list[int]:
    """The epochs that have a checkpoint in `directory`, ascending."""
    names = (re.fullmatch(r"epoch-(\d+)\.pt", path.name) for path in Path(directory).glob("*.pt"))
    return sorted(int(name[1]) for name in names if name)


def save_file(content: dict, path: Path) -> None:
    """`torch.save` to a temporary name, then rename; a failure leaves no trace."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error)
        if full or isinstance(error, OSError):
            what = "the disk is full" if full else str(error)
            raise NeveError(
                f"{path}: not written, {what}. Earlier checkpoints are intact; free space (or "
                "lower training.keep_checkpoints) and run again: training resumes at the last epoch"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(directory: Path, epoch: int, content: dict, config) -> Path:
    """Write epoch-N.yaml (the configuration) and then epoch-N.pt."""
    path = checkpoint_path(directory, epoch)
    save_config(config, path.with_suffix(".yaml"))
    save_file(content, path)
    return path


def prune_checkpoints(directory: Path, keep: int) -> None:
    """Remove all but the newest `keep` epochs; 0 keeps all."""
    if keep > 0:
        for epoch in checkpoint_epochs(directory)[:-keep]:
            path = checkpoint_path(directory, epoch)
            path.unlink(missing_ok=True)
            path.with_suffix(".yaml").unlink(missing_ok=True)
