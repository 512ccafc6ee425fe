"""The training loop and what belongs to it: schedule, checkpoints, averages, learning curves.

It knows nothing of speech. A task (`Task`) brings model, batches and loss; `train` does the rest:
gradient clipping, learning rate, moving average, checkpoints with resume, and an early, precise
word when a loss is not finite.
"""

from neve.lazy import lazy_exports
from neve.training.config import TrainingConfig

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "BatchLoss": ".task",
        "Task": ".task",
        "average_checkpoints": ".average",
        "load_checkpoint": "neve.tensors",
        "pick_device": "neve.tensors",
        "train": ".loop",
    },
)
__all__ += ["TrainingConfig"]
