"""Language models of words.

`estimate` makes an n-gram model from text, with interpolated modified Kneser-Ney smoothing and the
probabilities that KenLM's lmplz computes; `interpolate` mixes models and `entropy_prune` makes them
small; `ArpaLm` scores sentences and texts; `arpa_to_fst` makes the grammar G for decoding graphs;
`build_lm` does all of it for a lang directory.
"""

from neve.lazy import lazy_exports
from neve.lm.config import LmConfig

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "ArpaLm": ".arpa",
        "G2p": ".g2p",
        "Perplexity": ".perplexity",
        "arpa_to_fst": ".grammar",
        "best_weights": ".mixture",
        "build_lm": ".build",
        "entropy_prune": ".pruning",
        "estimate": ".kneser_ney",
        "interpolate": ".mixture",
        "read_arpa": ".arpa_file",
        "write_arpa": ".arpa_file",
    },
)
__getattr__ = _getattr
__all__ = ["LmConfig", *_lazy]
