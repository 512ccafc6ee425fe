"""Arithmetic of the forward pass: 32 bits, bfloat16, or float16 with a scale of the loss."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from neve.errors import ConfigError

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags.exists():
        return False
    words = set(flags.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16"})


def pick_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16 for `training.precision` on this device."""
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if name not in DTYPES:
        raise ConfigError(f"training.precision={name} is unknown: auto, {', '.join(DTYPES)}")
    return name


class LossScale:
    """The factor by which a float16 loss is multiplied so that small gradients do not vanish.

    After `patience` updates in a row without overflow it doubles; an overflow halves it (dynamic
    loss scaling, Micikevicius et al., 2018, arXiv:1710.03740). In other precisions it is 1.
    """

    smallest = 2.0**-14

    def __init__(self, precision: str, initial: float = 2.0**16, patience: int = 2000):
        self.active = precision == "fp16"
        self.value = initial if self.active else 1.0
        self.patience = patience
        self.steps = 0  # since it last changed

    def good(self) -> None:
        """An update went well."""
        self.steps += 1
        if self.active and self.steps >= self.patience:
            self.value, self.steps = 2.0 * self.value, 0

    def overflow(self) -> bool:
        """Gradients were not finite: whether a smaller scale, from now on, can be the remedy."""
        if not self.active or self.value <= self.smallest:
            return False
        self.value, self.steps = self.value / 2.0, 0
        log.info("float16 overflow: the loss is scaled by %g from now on", self.value)
        return True

    def state_dict(self) -> dict:
        return {"value": self.value, "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        if self.active:
            self.value = state["value"]
