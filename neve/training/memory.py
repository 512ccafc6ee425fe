"""What a training needs of the memory, by part, and the largest batch that fits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.tensors import pick_device
from neve.training.config import TrainingConfig
from neve.training.distributed import Group
from neve.training.initial import load_initial
from neve.training.precision import pick_precision
from neve.training.task import Progress, Task
from neve.training.trouble import available_memory, gigabytes, out_of_memory
from neve.training.update import Updater

MARGIN = 0.9  # share of what fits that is advised: other batches cut memory into other pieces
GROWN = 1.5  # how much more the second batch of an extrapolation must take than the first
FAR = 16.0  # a line through two batches is followed to so many times the larger of them at most


@dataclass
class Memory:
    """Bytes that an update takes, by part.

    Attributes:
        parameters, gradients, optimizer, average: of the model; they do not depend on the batch.
        activations: what the forward pass keeps for the backward pass.
        peak: most memory taken at once (on the CPU by the whole process), everything included.
    """

    parameters: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    peak: int


class Meter:
    """Measures updates of a task's model, which is trained a little by it."""

    def __init__(self, task: Task, config: TrainingConfig):
        self.task, self.config = task, config
        task.begin_measuring()
        self.device = pick_device(config.device)
        task.model.to(self.device).train()
        load_initial(task.model, config)
        precision = pick_precision(config.precision, self.device)
        self.updater = Updater(task, config, self.device, precision, Group())

    def measure(self, size: float) -> Memory:
        """An update on the largest batch of at most `size` data.

        Raises RuntimeError or NeveError if it does not fit.
        """
        batch = self.task.largest_batch(size)
        self.task.begin_update(Progress(1, 0, 0.0, 0.0))
        self.updater.optimizer.zero_grad(set_to_none=True)
        saved = SavedTensors(self.task.model.parameters())
        with peak_memory(self.device) as peak, saved:
            self.updater.backward(batch)
            self.updater.optimizer.step()
        parameters = list(self.task.model.parameters())
        states = self.updater.optimizer.state.values()
        model = total(self.task.model.state_dict().values())
        return Memory(
            parameters=total(parameters),
            gradients=total(p.grad for p in parameters if p.grad is not None),
            optimizer=total(v for state in states for v in state.values()),
            average=model if self.config.ema_decay else 0,
            activations=saved.bytes,
            peak=peak[0],
        )

    def largest(self, start: float) -> tuple[float, Memory]:
        """The most data in a batch that fits, and what it takes; see `search` and `extrapolate`."""
        if self.device.type == "cuda":
            return search(self.measure, start)
        self.measure(start / 2)  # once, so that what is made at the first use is there
        return extrapolate(self.measure, start, available_memory())


def memory_report(task: Task, config: TrainingConfig) -> str:
    """A table of memory by part, and the advice that follows, for `--find-max-duration`."""
    start = task.batch_size or 1.0
    meter = Meter(task, config)
    size, memory = meter.largest(start)
    parts = [
        ("parameters", memory.parameters),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("moving average", memory.average),
        ("activations", memory.activations),
        ("peak", memory.peak),
    ]
    how = "measured"
    if meter.device.type != "cuda":
        how = f"extrapolated from smaller batches, to {FAR:g} times the larger one at most"
    lines = [f"the largest batch that fits on {meter.device} has {size:g} {task.unit} ({how})", ""]
    lines += [f"  {name:<15}{gigabytes(bytes_):>9}" for name, bytes_ in parts]
    lines += [
        "",
        f"The batch now has up to {start:g}. With a margin of {100 * (1 - MARGIN):.0f} %: "
        f"{MARGIN * size:.0f}.",
        *task.memory_knobs(),
    ]
    return "\n".join(lines)


def search(measure: Callable[[float], Memory], start: float) -> tuple[float, Memory]:
    """The largest size that `measure` can do without running out of memory, within 3 %."""
    good, bad, found = 0.0, None, None
    size = start
    while bad is None or bad - good > 0.03 * bad:
        try:
            found, good = measure(size), size
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            bad = size
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        size = 2 * good if bad is None else (good + bad) / 2
        if size < 1e-3 * start:
            raise NeveError("not even the smallest batch fits: choose a smaller model")
        if size > 1e4 * start:
            break
    return good, found


def extrapolate(
    measure: Callable[[float], Memory], start: float, available: int
) -> tuple[float, Memory]:
    """The same from two batches, where memory has no hard limit.

    What a batch takes is nearly a linear function of its size; `available` bytes are there besides
    what the larger one takes. The first batch has half of `start`, the second at least `start`: its
    size is doubled until its activations are clearly more, for two batches of one utterance are the
    same batch and say nothing of a third. The line is not followed beyond `FAR` times that size.

    Where no batch takes more than the first, which has all the data or as many items as may be
    (data.max_cuts), it is `start`: larger ones are the same.
    """
    size = start
    half, whole = measure(start / 2), measure(size)
    while whole.activations < GROWN * max(1, half.activations):
        if size > 1e4 * start:
            return start, whole
        size *= 2
        whole = measure(size)
    step = size - start / 2
    slope = {
        name: max(0.0, (getattr(whole, name) - getattr(half, name)) / step)
        for name in ("activations", "peak")
    }
    growth = max(*slope.values(), 1.0)
    more = min(available / growth, (FAR - 1) * size)
    scaled = {name: int(getattr(whole, name) + s * more) for name, s in slope.items()}
    return size + more, Memory(**{**vars(whole), **scaled})


class SavedTensors(contextlib.ExitStack):
    """Context that counts the bytes kept for the backward pass, each storage once."""

    def __init__(self, parameters: Iterable[Tensor]):
        super().__init__()
        self.seen = {p.untyped_storage().data_ptr() for p in parameters}
        self.bytes = 0

    def __enter__(self):
        hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor)
        self.enter_context(hooks)
        return self

    def pack(self, tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.seen:
                self.seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
        return tensor


@contextlib.contextmanager
def peak_memory(device: torch.device):
    """Context whose value is a list that gets the bytes taken at most; 0 where unknown."""
    result = [0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield result
        result[0] = torch.cuda.max_memory_allocated(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    yield result
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        result[0] = max(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def total(tensors: Iterable) -> int:
    """Bytes of the tensors among `tensors`."""
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
