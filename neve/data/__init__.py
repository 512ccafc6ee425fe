"""Corpora to batches, on Lhotse: manifests and their checks, features, augmentation, loaders.

`prepare_manifests` reads any corpus (a recipe's own script, Lhotse's recipes, a Kaldi data
directory, a table), checks every utterance and reports; `compute_features` stores features and
augmented copies; `Loader` gives the batches of an epoch. All three give the same result
whatever the number of jobs. `script_main` and `write_source` are for the recipes' own scripts.
"""

from neve.data.config import AugmentConfig, DataConfig
from neve.lazy import lazy_exports

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "prepare_manifests": ".prepare",
        "compute_features": ".features",
        "Loader": ".loader",
        "load_cuts": ".manifests",
        "SpecAugment": ".specaugment",
        "script_main": ".script",
        "write_source": ".script",
        "add_noise": ".augment",
        "reverberate": ".augment",
        "room_response": ".augment",
        "telephone": ".augment",
    },
)
__getattr__ = _getattr
__all__ = ["AugmentConfig", "DataConfig", *_lazy]
