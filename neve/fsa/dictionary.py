"""Graph files with the dictionaries of k2.Fsa.as_dict, read and written without k2.

`arcs` is (A, 4) int32: source, destination, label and the bits of the float32 score. A ragged
attribute is in the file as a pickled object of k2's own class; `_K2Ragged` stands in for that class
and is the only thing beside tensors and plain values that may come out of a file.
"""

from __future__ import annotations

import os
import pickle
import types
from pathlib import Path
from typing import Any

import torch

from neve.errors import NeveError, disk_full
from neve.files import atomic_open
from neve.fsa.ragged import RaggedTensor


class _K2Ragged:
    """k2's ragged tensor in a file: the state is (row splits, a placeholder, values)."""

    __module__ = "_k2.ragged"
    __qualname__ = "RaggedTensor"

    def __init__(self, ragged: RaggedTensor | None = None):
        self.ragged = ragged

    def __reduce_ex__(self, protocol):
        state = (self.ragged.row_splits, "row_ids1", self.ragged.values)
        return _new, (type(self),), state

    def __setstate__(self, state):
        if len(state) != 3:
            raise ValueError("only ragged tensors of two axes are supported")
        self.ragged = RaggedTensor.from_splits(state[0], state[2])


_K2Ragged.__name__ = "RaggedTensor"  # torch before 2.5 knows safe classes by this name


def _new(cls):
    return cls.__new__(cls)


# pickle writes a call of this very name as its own instruction for making an object
_new.__name__ = "__newobj__"


class _Pickler(pickle._Pickler):
    """Writes the stand-in under the name of k2's class, whether or not k2 is installed."""

    def save_global(self, obj, name=None):
        if obj is _K2Ragged:
            self.write(pickle.GLOBAL + b"_k2.ragged\nRaggedTensor\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch = {**pickle._Pickler.dispatch, type: lambda self, obj: self.save_global(obj)}


def save_graph_dict(content: dict[str, Any], path: str | os.PathLike) -> None:
    """Writes a dictionary of tensors, `RaggedTensor`s and plain values, for k2.Fsa.from_dict."""
    content = {
        key: _K2Ragged(value) if isinstance(value, RaggedTensor) else value
        for key, value in content.items()
    }
    module = types.SimpleNamespace(__name__="pickle", Pickler=_Pickler, Unpickler=pickle.Unpickler)
    try:
        with atomic_open(path, "wb") as stream:
            torch.save(content, stream, pickle_module=module)
    except RuntimeError as error:
        raise disk_full(error, path) or error from error


def load_graph_dict(path: str | os.PathLike) -> dict[str, Any]:
    """Reads what `save_graph_dict`, or torch.save(k2.Fsa.as_dict()), wrote.

    Raises NeveError if the file is missing, is not such a dictionary, or would need other code to
    be run.
    """
    path = Path(path)
    torch.serialization.add_safe_globals([_K2Ragged])
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NeveError(f"{path}: no such file; run the stage that makes it") from None
    except Exception as error:
        raise NeveError(f"{path}: not a graph file ({str(error)[:200]})") from error
    if not isinstance(content, dict) or not isinstance(content.get("arcs"), torch.Tensor):
        raise NeveError(f"{path}: holds no dictionary with `arcs`; not a k2 graph")
    return {
        key: value.ragged if isinstance(value, _K2Ragged) else value
        for key, value in content.items()
    }
