"""Neural networks: encoders, heads, and the models made of them.

Every file here can be read alone. A model takes features (N, T, F) with their lengths (N,) and
knows nothing of corpora, losses or searches. `CtcModel` is built from a `ModelConfig`.
"""

from neve.lazy import lazy_exports
from neve.models.config import ModelConfig

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Conformer": ".conformer",
        "CtcModel": ".ctc",
        "Tdnn": ".tdnn",
        "TdnnLstm": ".tdnn",
        "TransducerModel": ".transducer",
        "Zipformer": ".zipformer",
        "LanguageModel": ".lm",
        "build_encoder": ".ctc",
        "load_lm": ".lm",
        "load_model": ".load",
    },
)
__all__ += ["ModelConfig"]
