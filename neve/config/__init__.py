"""The configuration loader: YAML files and a command line into typed dataclasses.

Each room owns the dataclass of its own section and describes every key with `option`; this room
only knows how to load, check, save and describe any of them. A key that does not exist is an error
that names the nearest one that does.
"""

from neve.config.options import option
from neve.lazy import lazy_exports

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "describe": ".options",
        "load": ".loader",
        "save": ".loader",
        "to_dict": ".loader",
    },
)
__getattr__ = _getattr
__all__ = ["option", *_lazy]
