"""Model directories: all that a recogniser needs, in one place that can be moved and copied.

`pack` writes one from a trained experiment: averaged weights, lang, graph, frontend, scales,
configuration and scores. Nothing in it refers to where it came from. `neve.decoding.load_packed`
reads it.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {"pack": ".pack"})
