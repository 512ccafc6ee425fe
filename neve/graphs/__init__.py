"""Decoding graphs: H (CTC topology), L (lexicon), G (n-gram), composed to HLG or HL.

`build_graph` makes what a configuration asks for from a lang directory and a G, `save_graph` writes
it as HLG.pt and as arrays beside it, `load_graph` reads either. Graphs are `neve.kernels.Graph`.
`make_G` adds words, classes and grammars of commands; `BiasingGraph` favours listed phrases.
"""

from neve.graphs.config import GraphConfig
from neve.lazy import lazy_exports

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "BiasingGraph": ".biasing",
        "bias_lattice": ".bias_lattice",
        "build_G": ".build",
        "build_H": ".build",
        "build_HL": ".build",
        "build_L": ".build",
        "build_LG": ".build",
        "build_graph": ".build",
        "expand_classes": ".classes",
        "extend_G": ".new_words",
        "extend_lang": ".new_words",
        "load_graph": ".files",
        "make_G": ".word_graph",
        "read_classes": ".classes",
        "read_grammar": ".jsgf",
        "read_new_words": ".new_words",
        "read_phrases": ".biasing",
        "save_graph": ".files",
        "spoken_words": ".build",
        "token_biasing": ".biasing",
        "word_biasing": ".biasing",
    },
)
__all__ = ["GraphConfig", *_lazy]
