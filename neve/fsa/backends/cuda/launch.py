"""Triton, and how its kernels are started: on the device of their tensors.

Sizes that change from batch to batch are not to be specialised upon (do_not_specialize), or Triton
compiles a kernel again for each combination of those that are 1 or multiples of 16.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch
from torch import Tensor

from neve.errors import NeveError

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError as error:
    raise NeveError(
        "triton is not installed, and the engine computes with it on CUDA devices: "
        "pip install 'neve[cuda]'"
    ) from error
if not hasattr(tl, "gather"):  # since Triton 3.2
    raise NeveError(
        f"triton {triton.__version__} is too old for the engine, which needs 3.2; torch 2.6 and "
        "newer bring that along"
    )

__all__ = ["power_of_two", "start", "tl", "triton", "warps"]


def _interpreted() -> bool:
    """Whether kernels run in Triton's interpreter; it is decided when they are imported."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on")


def _on_device(device: torch.device) -> contextlib.AbstractContextManager:
    if device.type == "cuda":
        return torch.cuda.device(device)
    if not _interpreted():
        raise NeveError(
            f"backend cuda: tensors on {device} are none of its; move them to a CUDA device, or "
            "set TRITON_INTERPRET=1 before Python starts to run its kernels without one"
        )
    return contextlib.nullcontext()


def start(kernel: Any, grid: int, *args: Any, **meta: Any) -> None:
    """Starts `grid` programs of `kernel` on the device of its tensors; none if grid is 0."""
    if grid == 0:
        return
    device = next(x.device for x in args if isinstance(x, Tensor))
    with _on_device(device):
        kernel[(grid,)](*args, **meta)


def power_of_two(count: int, least: int = 1, most: int = 1 << 30) -> int:
    """The smallest power of two that is not below count, in least..most."""
    return max(least, min(most, triton.next_power_of_2(max(count, 1))))


def warps(lanes: int, lanes_per_warp: int = 128) -> int:
    """Warps for a program of so many lanes: up to 16, a power of two."""
    return power_of_two(lanes // lanes_per_warp, 1, 16)
