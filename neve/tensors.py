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


def load_checkpoint(path: Path, remedy: str = "make it again, or copy it again") -> dict:
    """Read a checkpoint on the CPU; no pickled code is run.

    Args:
        path: epoch-N.pt, averaged.pt or a packed model.pt.
        remedy: what the message about a damaged file advises.

    Raises:
        NeveError: the file is missing, damaged, or no checkpoint.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NeveError(f"{path}: no such checkpoint") from None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise NeveError(
            f"{path}: not a readable checkpoint ({str(error).partition(chr(10))[0]}); {remedy}"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise NeveError(f"{path}: not a checkpoint, there are no weights of a model in it")
    return content
