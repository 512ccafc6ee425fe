"""The training loop and what belongs to it: optimizers, schedules, checkpoints, averages, curves.

It knows nothing of speech. A task (`Task`) brings model, batches and loss; `train` does the rest,
on one process or several: gradient accumulation and clipping, learning rate, moving average,
checkpoints from which a run goes on as if it had never stopped, and an early, precise word when a
loss is not finite or the memory is full.
"""

from neve.lazy import lazy_exports
from neve.training.config import TrainingConfig

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "BatchLoss": ".task",
        "Progress": ".task",
        "ScaledAdam": ".scaled_adam",
        "Task": ".task",
        "average_checkpoints": ".average",
        "join_group": ".distributed",
        "launch": ".start",
        "load_checkpoint": "neve.tensors",
        "memory_report": ".memory",
        "others_watched": ".distributed",
        "pick_device": "neve.tensors",
        "this_group": ".distributed",
        "train": ".loop",
    },
)
__all__ += ["TrainingConfig"]
