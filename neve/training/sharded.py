"""Parameters spread over the processes: each keeps a part of all weights, gradients and states.

Fully sharded data parallelism (Zhao et al., 2023, arXiv:2304.11277), as torch's `fully_shard` does
it. The parameters are distributed tensors then; what is here hides that from the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from neve.errors import ConfigError
from neve.training.distributed import Group


def shard(module: nn.Module, device: torch.device, group: Group) -> list[Tensor]:
    """Spread the parameters of `module` over the processes, in place.

    Layers (the entries of module lists) are whole only while they compute; what is outside of them
    from the forward to the backward pass. `module.validate` computes like its `forward`.

    Returns:
        The parameters that stay whole everywhere, those without dimensions: their gradients are
        still to be summed.
    """
    try:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError:
        raise ConfigError(
            f"training.parallel fsdp needs torch 2.6 or newer, this is {torch.__version__}"
        ) from None
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(device.type, (group.size,))
    scalars = [p for p in module.parameters() if p.ndim == 0]
    options = {"ignored_params": set(scalars)} if scalars else {}
    for part in layers(module):
        fully_shard(part, mesh=mesh, **options)
    fully_shard(module, mesh=mesh, **options)
    register_fsdp_forward_method(module, "validate")
    return scalars


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """The entries of module lists that have parameters, inner ones before those around them."""
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    for entries in reversed(lists):
        for entry in entries:
            if any(p.ndim for p in entry.parameters()):
                yield entry


def is_sharded(tensor: object) -> bool:
    """Whether it is spread over the processes."""
    return isinstance(tensor, Tensor) and hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that is spread; else the tensor itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole(value, keep: bool = True):
    """Nested dictionaries and lists with all tensors whole; every process has to come here.

    With `keep` false what was spread is None: for the processes that do not need it.
    """
    if is_sharded(value):
        full = value.full_tensor()
        return full.cpu() if keep else None
    if isinstance(value, dict):
        return {key: whole(inner, keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner, keep) for inner in value]
    return value


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, spread as `like` is; the same if that is whole."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import DTensor, Replicate

    mesh = like.device_mesh
    value = value.to(device=like.device, dtype=like.dtype)
    same = DTensor.from_local(value, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return same.redistribute(mesh, like.placements)


def spread_as(rows: Tensor, like: Tensor) -> Tensor:
    """A tensor spread as `like` is whose part here is `rows`, which it shares."""
    if not is_sharded(like):
        return rows
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        rows,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
