"""What to say when a loss or gradient is not finite, or the memory is full."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from neve.errors import NeveError
from neve.training.config import TrainingConfig
from neve.training.random_state import kept_random_state
from neve.training.sharded import local
from neve.training.task import BatchLoss, Task

NONFINITE_REMEDY = (
    "Look at these first; else lower training.learning_rate or training.clip_norm (with "
    "scaled_adam: training.clip_scale)"
)

HUGE = 1e15  # gradients from here on have squares that overflow in sums of 32 bits


def not_finite(
    task: Task, compute: Callable | None, batches: Sequence, losses: Sequence[BatchLoss]
) -> tuple[bool, str]:
    """What is not finite about an update of one process: loss or gradient, which items, where.

    Args:
        task: what is trained.
        compute: `task.loss` in the arithmetic of the training, to find the module; or None.
        batches, losses: those of the update; the gradients are still in the parameters, and are
            gone afterwards.

    Returns:
        Whether a loss was not finite, and sentences that say so; empty if nothing is wrong here.
    """
    for batch, loss in zip(batches, losses, strict=True):
        if bool(torch.isfinite(loss.total)):
            continue
        bad = [name for name, ok in zip(loss.ids, torch.isfinite(loss.items).tolist()) if not ok]
        if bad:
            message = f"the loss is not finite. Each {task.item} whose own loss is not: "
            message += f"{' '.join(bad)}. "
        else:
            message = "the loss is not finite, but that of every item is; the batch was: "
            message += f"{' '.join(loss.ids)}. "
        return True, message + (where_forward(task.model, compute, batch) if compute else "")
    names = [
        name
        for name, p in task.model.named_parameters()
        if p.grad is not None and not bool(torch.isfinite(local(p.grad)).all())
    ]
    if not names:
        return False, overflowing(task, losses)
    ids = [name for loss in losses for name in loss.ids]
    message = f"the gradient is not finite, but every loss is; the batch was: {' '.join(ids)}. "
    message += f"Parameters with such gradients: {' '.join(names[:8])}. "
    return False, message + (where_backward(task.model, compute, batches) if compute else "")


def overflowing(task: Task, losses: Sequence[BatchLoss]) -> str:
    """A sentence about finite gradients whose norm is infinite; empty where there are none."""
    sizes = {
        name: float(local(p.grad).abs().max())
        for name, p in task.model.named_parameters()
        if p.grad is not None and local(p.grad).numel()
    }
    largest = sorted(sizes, key=sizes.get, reverse=True)[:8]
    if not largest or sizes[largest[0]] < HUGE:
        return ""
    ids = " ".join(name for loss in losses for name in loss.ids)
    found = ", ".join(f"{name} ({sizes[name]:.1g})" for name in largest)
    return f"gradients are so large that their norm is infinite: {found}; the batch was: {ids}. "


def where_forward(model: nn.Module, compute: Callable, batch) -> str:
    """The first module whose output is not finite, found by computing the loss of a batch again."""
    names = {module: name or "the model" for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, inputs, output) -> None:
        if found or all_finite(output):
            return
        kind = f"{names[module]} ({type(module).__name__})"
        if all_finite(inputs):
            found.append(f"The first module whose output is not finite is {kind}. ")
        else:
            found.append(f"What goes into the first such module, {kind}, is not finite already. ")

    with hooked(names, "register_forward_hook", look), torch.no_grad():
        compute(batch)
    return found[0] if found else ""


def where_backward(model: nn.Module, compute: Callable, batches: Sequence) -> str:
    """The module that turns finite gradients into others, found by computing them again."""
    names = {module: name or "the model" for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, grad_inputs, grad_outputs) -> None:
        if not found and all_finite(grad_outputs) and not all_finite(grad_inputs):
            kind = f"{names[module]} ({type(module).__name__})"
            found.append(f"They come out of the backward pass of {kind}. ")

    try:
        with hooked(names, "register_full_backward_hook", look), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the first module's input has no gradient
            for batch in batches:
                compute(batch).total.backward()
    except RuntimeError:  # a module that changes its input in place cannot be looked at so
        return ""
    finally:
        model.zero_grad(set_to_none=True)
    return found[0] if found else ""


@contextlib.contextmanager
def hooked(modules, register: str, hook) -> Iterator[None]:
    """Context in which all modules have a hook; random numbers go on as if it had not been."""
    handles = [getattr(module, register)(hook) for module in modules]
    try:
        with kept_random_state():
            yield
    finally:
        for handle in handles:
            handle.remove()


def all_finite(value) -> bool:
    """Whether no floating point tensor in nested lists, tuples and dictionaries has NaN or +inf.

    -inf is allowed: it is the logarithm of zero.
    """
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool((value < float("inf")).all())
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list | tuple) or all(map(all_finite, value))


@contextlib.contextmanager
def memory_watched(task: Task, batch, config: TrainingConfig, device, step: int) -> Iterator[None]:
    """Context that turns running out of memory into a NeveError that names batch and remedies."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
    else:
        return
    knobs = [*task.memory_knobs()]
    knobs.append(
        f"training.accumulate (now {config.accumulate}): twice as many batches of half the size "
        "give the same updates in about half the memory of activations"
    )
    if config.precision in ("auto", "fp32"):
        knobs.append(
            "training.precision bf16: activations take about half, where the device has it"
        )
    raise NeveError(
        f"out of memory on {device} at step {step}. The batch: "
        f"{task.describe(batch) or 'of unknown size'}. {memory_line(device)}What helps:\n  "
        + "\n  ".join(knobs)
        + "\n`neve train --find-max-duration` measures what fits, and shows what takes the memory. "
        f"Training goes on from the last checkpoint.\n({reason})"
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether torch could not get memory: each device has its own way of saying so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def memory_line(device: torch.device) -> str:
    """What is used and what there is, as a sentence; empty where it is not known."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{gigabytes(total - free)} of its {gigabytes(total)} are used. "
    available = available_memory()
    return f"{gigabytes(available)} of the machine's memory are free. " if available else ""


def available_memory() -> int:
    """Bytes that new work can take on this machine (Linux); 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    limit = Path("/sys/fs/cgroup/memory.max")
    with contextlib.suppress(OSError, ValueError):
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        found.append(max(0, int(limit.read_text()) - used))
    return min(found, default=0)


def gigabytes(count: float) -> str:
    """Bytes as people write them: 3.2 GB, 41 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
