"""Which backend computes for tensors of a device."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from neve.errors import NeveError

BACKENDS = ("cpu", "cuda", "k2")
FAMILIES = ("rnnt", "ctc", "scores", "dense")

_chosen: str | None = None


def _known(name: str, source: str) -> str:
    if name not in BACKENDS:
        raise NeveError(f"{source}: {name!r} is no backend; there are {', '.join(BACKENDS)}")
    return name


def backend_name(device: torch.device | str) -> str:
    """The backend for tensors on `device`: what `use` or NEVE_FSA_BACKEND says, else by the device.

    cpu for the CPU, cuda for a CUDA device. Raises NeveError for other devices and unknown names.
    """
    if _chosen is not None:
        return _chosen
    name = os.environ.get("NEVE_FSA_BACKEND")
    if name:
        return _known(name, "NEVE_FSA_BACKEND")
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise NeveError(f"device {kind}: the engine computes on cpu and cuda; move the tensors")
    return kind


@contextlib.contextmanager
def _until_exit(before: str | None) -> Iterator[None]:
    global _chosen
    try:
        yield
    finally:
        _chosen = before


def use(name: str | None) -> contextlib.AbstractContextManager:
    """Makes `name` ("cpu", "cuda", "k2"; None: by device) the backend from now on.

    As a context manager, `with use("k2"): ...`, only until the block ends.
    """
    global _chosen
    before, _chosen = _chosen, None if name is None else _known(name, "use")
    return _until_exit(before)


def kernels(family: str, device: torch.device | str = "cpu") -> ModuleType:
    """The module with the kernels of `family` for tensors on `device`; cpu's if there is no other.

    Raises NeveError if the chosen backend needs a package that is not installed.
    """
    name = backend_name(device)
    path = f"neve.fsa.backends.{name}.{family}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name not in (path, path.rpartition(".")[0]):
            raise
    return importlib.import_module(f"neve.fsa.backends.cpu.{family}")


def kernel(family: str, function: str, device: torch.device | str) -> Callable[..., Any]:
    """`function` of the family; if the backend lacks it, the CPU's, fed and read over the bus."""
    module = kernels(family, device)
    cpu = importlib.import_module(f"neve.fsa.backends.cpu.{family}")
    if hasattr(module, function) and (module is not cpu or torch.device(device).type == "cpu"):
        return getattr(module, function)
    compute = getattr(cpu, function)
    if torch.device(device).type == "cpu":
        return compute
    return lambda *args, **kwargs: _moved(
        compute(*_moved(args, "cpu"), **_moved(kwargs, "cpu")), device
    )


def _moved(value: Any, device: torch.device | str) -> Any:
    """`value` with all tensors in it on `device`."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, device) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value
