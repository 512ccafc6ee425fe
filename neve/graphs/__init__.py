"""Decoding graphs: H (CTC topology), L (lexicon), G (n-gram), composed to HLG or HL.

`build_graph` makes what a configuration asks for from a lang directory and a G, `save_graph` writes
it as HLG.pt and as arrays beside it, `load_graph` reads either. Graphs are `neve.kernels.Graph`.
"""

from neve.graphs.config import GraphConfig
from neve.lazy import lazy_exports

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "build_G": ".build",
        "build_H": ".build",
        "build_HL": ".build",
        "build_HLG": ".build",
        "build_L": ".build",
        "build_LG": ".build",
        "build_graph": ".build",
        "load_graph": ".files",
        "save_graph": ".files",
    },
)
__all__ = ["GraphConfig", *_lazy]
