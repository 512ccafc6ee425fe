"""Keys of a configuration: how a dataclass declares them and how they are described to a user."""

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence


def option(default, help: str, choices: Sequence = ()):
    """A dataclass field with its default, its meaning and, where there are few, its legal values.

    Mutable defaults (lists, dictionaries, instances of other dataclasses) are copied for each
    instance; a dataclass type as default makes a nested section.
    """
    metadata = {"help": help, "choices": tuple(choices)}
    if dataclasses.is_dataclass(default) and isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict | set) or dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def describe(cls: type) -> list[tuple[str, str, object, str]]:
    """Every key of dataclass `cls` as (dotted key, type, default, meaning), in order."""
    rows = []
    for key, field, kind in _leaves(cls, ""):
        default = field.default
        if default is dataclasses.MISSING:
            default = None
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
        name = type_name(kind)
        choices = field.metadata.get("choices", ())
        if choices:
            name = "|".join(str(choice) for choice in choices)
        rows.append((key, name, default, field.metadata.get("help", "")))
    return rows


def sections(cls: type) -> dict[str, tuple[dataclasses.Field, object]]:
    """The fields of dataclass `cls` with their types, annotations resolved."""
    hints = typing.get_type_hints(cls)
    return {field.name: (field, hints[field.name]) for field in dataclasses.fields(cls)}


def type_name(kind: object) -> str:
    """A type as a user reads it: `int`, `list of str`, `int or null`."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in arguments)
    if kind is type(None):
        return "null"
    if origin is typing.Literal:
        return "|".join(str(value) for value in arguments)
    if origin is dict:
        return f"map of {type_name(arguments[0])} to {type_name(arguments[1])}"
    if origin in (list, tuple, set):
        inner = [type_name(part) for part in arguments if part is not ...]
        return f"{origin.__name__} of {', '.join(dict.fromkeys(inner))}"
    return getattr(kind, "__name__", str(kind)).lower()


def _leaves(cls: type, prefix: str) -> Iterator[tuple[str, dataclasses.Field, object]]:
    for name, (field, kind) in sections(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field, kind
