"""From a trained model to hypotheses: searches, word times and confidences.

`Recognizer` decodes batches of features with the method that `decoding.method` names; `decode` runs
it over the dev and test sets and writes a results file for each. The methods are in `methods`, the
searches of transducers in `transducer`, those of CTC in `neve.kernels`.
"""

from neve.decoding.config import DecodingConfig
from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Recognizer": ".recognizer",
        "Scales": ".methods",
        "decode": ".corpus",
        "load_packed": ".packed",
    },
)
__all__ += ["DecodingConfig"]
