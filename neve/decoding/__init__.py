"""From a trained model to hypotheses: searches, word times and confidences.

`Recognizer` decodes batches of features with the method that `decoding.method` names; `decode` runs
it over the dev and test sets and writes a results file for each. The names of methods are in
`by_name`, their searches in `methods`, `lattices` and what builds on it, those of transducers in
`transducer`, those of CTC without a graph in `neve.kernels`.
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
