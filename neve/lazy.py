"""Front doors that open only as far as they are used.

A room's `__init__.py` names what others may use; the submodule that holds a name is imported when
the name is first asked for (PEP 562), so that `import neve.<room>` stays quick.
"""

import importlib
import sys
from collections.abc import Callable, Mapping


def lazy_exports(
    module_name: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """The `(__getattr__, __dir__, __all__)` of a module whose names live in submodules.

    `exports` maps each public name to the submodule that defines it, e.g. `{"Fsa": ".fsa"}`:

        __getattr__, __dir__, __all__ = lazy_exports(__name__, {"Fsa": ".fsa"})
    """

    def __getattr__(name: str) -> object:
        if name not in exports:
            raise AttributeError(f"module {module_name!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(exports[name], module_name), name)
        setattr(sys.modules[module_name], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted(set(vars(sys.modules[module_name])) | set(exports))

    return __getattr__, __dir__, sorted(exports)
