"""Language models of words.

`estimate` makes an n-gram model from text, with interpolated modified Kneser-Ney smoothing and the
probabilities that KenLM's lmplz computes; `ArpaLm` scores sentences, and reads and writes ARPA
files; `arpa_to_fst` makes the grammar G for decoding graphs; `build_lm` does all of it for a lang
directory.
"""

from neve.lazy import lazy_exports
from neve.lm.config import LmConfig

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "ArpaLm": ".arpa",
        "G2p": ".g2p",
        "Perplexity": ".arpa",
        "arpa_to_fst": ".grammar",
        "build_lm": ".build",
        "estimate": ".kneser_ney",
        "read_arpa": ".arpa_file",
        "write_arpa": ".arpa_file",
    },
)
__getattr__ = _getattr
__all__ = ["LmConfig", *_lazy]
