"""What is trained: each task binds data, lang, model, losses and validation to the training loop.

`ctc` is the one there is. A task's `build_model` makes its model from the root configuration, so
that decoding and packing build the same one.
"""

from neve.lazy import lazy_exports
from neve.tasks.config import CtcTaskConfig

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"CtcTask": ".ctc", "build_model": ".ctc", "train": ".ctc"}
)
__all__ += ["CtcTaskConfig"]
