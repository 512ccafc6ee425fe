"""From a trained model to hypotheses: searches, word times and confidences.

`CtcRecognizer` decodes batches of features (the best path through a graph, or greedily); `decode`
runs it over the dev and test sets and writes a results file for each.
"""

from neve.decoding.config import DecodingConfig
from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CtcRecognizer": ".recognizer",
        "decode": ".corpus",
        "load_model": ".recognizer",
        "load_packed": ".packed",
    },
)
__all__ += ["DecodingConfig"]
