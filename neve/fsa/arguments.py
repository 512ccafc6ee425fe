"""What several functions ask of tensors that are given to them, said in terms of the arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError


def whole_numbers(values: Tensor, name: str) -> Tensor:
    """A row of whole numbers as int64 on the CPU; NeveError for other tensors."""
    if not isinstance(values, Tensor):
        raise NeveError(f"{name}: a row of whole numbers is needed, not {type(values).__name__}")
    kind = values.dtype
    if values.ndim != 1 or kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise NeveError(
            f"{name}: a row of whole numbers is needed, not {tuple(values.shape)} {kind}"
        )
    return with_data(values, name).cpu().long()


def with_data(values: Tensor, name: str) -> Tensor:
    """`values`; NeveError if they are on a device that holds no numbers."""
    if values.device.type == "meta":
        raise NeveError(f"{name}: on meta, which holds no numbers; cpu or cuda is needed")
    return values


def same_device(name: str, values: Tensor, other: str, device: torch.device) -> None:
    """NeveError unless `values` are where `other` is."""
    if values.device != device:
        raise NeveError(f"{name}: on {values.device}, but {other} is on {device}; move one of them")


def whole_number(value, name: str, least: int) -> int:
    """`value` if it is a whole number of at least `least`, else NeveError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise NeveError(f"{name}: a whole number is needed, not {value!r}")
    if value < least:
        raise NeveError(f"{name}: at least {least} is needed, not {value}")
    return int(value)
