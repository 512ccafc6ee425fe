"""What all rooms that use torch share: choosing a device, reading a file of tensors.

torch is imported when a function is called, not with this module.
"""

from __future__ import annotations

import pickle
from pathlib import Path

from neve.errors import ConfigError, NeveError


def pick_device(name: str):
    """The torch device that `training.device` or `decoding.device` names."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is unknown: auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: this torch finds no GPU; use cpu or auto")
    return device


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint on the CPU; no pickled code is run.

    Raises:
        NeveError: the file is missing, damaged, or no checkpoint.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NeveError(f"{path}: no such checkpoint") from None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise NeveError(
            f"{path}: not a readable checkpoint ({str(error).splitlines()[0]}); remove it to "
            "resume from the epoch before"
        ) from error
