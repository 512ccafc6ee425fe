"""What is trained: each task binds data, lang, model, losses and validation to the training loop.

`make_task` gives the task of a configuration, `train` trains it. What tasks on speech share is
`SpeechTask`: data, lang, and which utterances cannot be trained on. `train_lm` trains a language
model on text.
"""

from neve.lazy import lazy_exports
from neve.tasks.config import LossConfig

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CtcTask": ".ctc",
        "LmTask": ".lm",
        "SpeechTask": ".speech",
        "make_task": ".start",
        "train": ".start",
        "train_lm": ".lm",
    },
)
__all__ += ["LossConfig"]
