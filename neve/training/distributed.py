"""The processes that train together: who they are, and what they tell each other.

Each is started with RANK, WORLD_SIZE and LOCAL_RANK in its environment, as torchrun and `start.py`
do; without them there is one process, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from neve.errors import ConfigError, NeveError


@dataclass(frozen=True)
class Group:
    """The processes as one of them sees them.

    Attributes:
        rank: this process's number, from 0.
        size: how many there are.
        local_rank: its number on its machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leader(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The element-wise sum over the processes, on the device of `values`."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list:
        """What each process gives, in order, known to all."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """The end of the group; every process has to come here."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def this_group() -> Group:
    """This process's place, from its environment."""
    try:
        rank, size, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
    except ValueError as error:
        raise ConfigError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers ({error})") from None
    return Group(rank, size, local)


def join_group(device: str = "auto") -> Group:
    """Meet the other processes, where there are any: gloo on the CPU, nccl on GPUs.

    Afterwards `cuda` means the GPU of this process. A process whose parent is killed ends with it,
    so that none is left behind to write where a new run does.

    Args:
        device: `training.device`.
    """
    group = this_group()
    if group.size == 1 or dist.is_initialized():
        return group
    die_with_parent()
    gpu = torch.cuda.is_available() and device != "cpu"
    if gpu:
        if ":" in device:
            raise ConfigError(
                f"training.device={device} names one GPU for {group.size} processes: give cuda"
            )
        if group.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"there are more processes than GPUs ({torch.cuda.device_count()}) on this machine"
            )
        torch.cuda.set_device(group.local_rank)
    timeout = datetime.timedelta(hours=2)  # the first may validate for long
    try:
        dist.init_process_group("nccl" if gpu else "gloo", timeout=timeout, **meeting(timeout))
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise NeveError(f"the {group.size} processes do not find each other: {reason}") from error
    return group


def meeting(timeout: datetime.timedelta) -> dict:
    """Where to meet, for `init_process_group`, if torchrun does not see to it.

    torchrun keeps one store for all its restarts on a machine, in which a process may find the
    address of one that was killed: each restart gets names of its own there. On several machines
    restarts are counted differently; TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives each a store.
    """
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT")
    if restart is None or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    store = dist.PrefixStore(f"restart-{restart}", store)
    return {"store": store, "rank": rank, "world_size": size}


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process when its parent ends."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return


@contextlib.contextmanager
def others_watched() -> Iterator[None]:
    """Context that turns the loss of another process of the group into a NeveError."""
    try:
        yield
    except RuntimeError as error:
        if not lost_connection(error):
            raise
        reason = re.sub(r"^\[\S*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
        raise NeveError(
            "another process of this training has ended; look at what it said last. The same "
            f"command goes on from the last checkpoint ({reason})"
        ) from error


def lost_connection(error: BaseException) -> bool:
    """Whether `error` says that another process of the group is gone."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")
    kinds = (getattr(dist, "DistError", RuntimeError), RuntimeError)
    return isinstance(error, kinds) and any(sign in str(error) for sign in signs)
