"""Loading, checking and saving a configuration."""

import dataclasses
import difflib
import enum
import os
import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neve.config.options import describe, sections, type_name
from neve.config.ranges import with_ranges
from neve.errors import ConfigError
from neve.files import atomic_open

BASE = "base"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def load(
    cls: type,
    files: Iterable[str | os.PathLike] = (),
    overrides: Iterable[str | tuple[str, object]] = (),
):
    """An instance of dataclass `cls`: its defaults, then YAML `files`, then `overrides`.

    A file may start from others, named relative to itself by a top-level `base`. Overrides are
    ("section.key", value) or "section.key=value"; in keys dashes equal underscores. A value may
    refer to another key: `${section.key}`.

    Raises ConfigError that names the file (or the command line), the key and, for a key that does
    not exist, the nearest one that does.
    """
    try:
        config = OmegaConf.structured(cls)
    except OmegaConfBaseException as error:
        raise ConfigError(f"the defaults of {cls.__name__}: {_reason(error)}") from error
    origin = {}
    for file in files:
        for path, content in _read_files(Path(file), ()):
            config = _merge(config, cls, content, str(path), origin)
    for override in overrides:
        key, value = _split(override)
        content = _nest(cls, key, value)
        config = _merge(config, cls, content, "the command line", origin)
    try:
        instance = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        where = f"{_origin(origin, key)}: {key}: " if key else ""
        raise ConfigError(where + _reason(error)) from error
    _check_choices(instance, "", origin)
    return instance


def to_dict(config) -> dict:
    """A configuration as plain dictionaries, lists, strings, numbers: what YAML can hold."""
    return _plain(config)


def save(config, path: str | os.PathLike) -> None:
    """Write all keys of a configuration as YAML, such that `load` gives it back."""
    with atomic_open(path) as stream:
        yaml.safe_dump(to_dict(config), stream, sort_keys=False, allow_unicode=True)


def _plain(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in _fields(value)}
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _fields(value) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(value)


def _read_files(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, dict]]:
    """The files that `path` is based on, then `path` itself, each with its content."""
    if path.resolve() in above:
        raise ConfigError(f"{path}: `{BASE}` leads back to this file")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml)
    except FileNotFoundError:
        hint = f"; `{BASE}` in {above[-1]} names it, relative to itself" if above else ""
        raise ConfigError(f"{path}: there is no such configuration file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold `section:` with keys and values below it")
    bases = content.pop(BASE, [])
    for base in [bases] if isinstance(bases, str) else bases:
        yield from _read_files(path.parent / base, (*above, path.resolve()))
    yield path, content


class _Yaml(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not a silent choice of the last.

    What has colons is a text (1:3:1 a range), not a number to the base of 60 as in YAML 1.1.
    """

    yaml_implicit_resolvers = {
        first: [
            (tag, re.compile(f"(?!.*:){kind.pattern}", re.X) if tag in _NUMBERS else kind)
            for tag, kind in kinds
        ]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _split(override: str | tuple[str, object]) -> tuple[str, object]:
    if not isinstance(override, str):
        return override
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"the command line: {override!r} is not section.key=value")
    return key, value


def _merge(config, cls: type, content: dict, where: str, origin: dict):
    content = _checked(cls, content, "", where, cls)
    for key in _keys(content, ""):
        origin[key] = where
    try:
        return OmegaConf.merge(config, content)
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        expected = dict((row[0], row[1]) for row in describe(cls)).get(key)
        hint = f" (a value of type {expected} is expected)" if expected else ""
        raise ConfigError(f"{where}: {key}: {_reason(error)}{hint}") from error


def _checked(cls: type, content: object, prefix: str, where: str, root: type) -> dict:
    """`content` with dashes in keys turned to underscores; ConfigError for keys `cls` lacks."""
    if not isinstance(content, dict):
        raise ConfigError(
            f"{where}: {prefix.rstrip('.')} is a section: it takes keys and values, not {content!r}"
        )
    known = sections(cls)
    result = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ConfigError(f"{where}: {_unknown(root, prefix + str(key))}")
        if dataclasses.is_dataclass(known[name][1]):
            value = _checked(known[name][1], value, f"{prefix}{name}.", where, root)
        else:
            try:
                value = with_ranges(known[name][1], value)
            except ValueError as error:
                raise ConfigError(f"{where}: {prefix}{name}: {error}") from None
        result[name] = value
    return result


def _unknown(root: type, key: str) -> str:
    """What to say of a key that does not exist."""
    keys = [row[0] for row in describe(root)]
    wanted = key.replace("-", "_")
    parents = {".".join(known.split(".")[:depth]) for known in keys for depth in (1, 2, 3)}
    near = difflib.get_close_matches(wanted, [*keys, *sorted(parents - set(keys))], 1, 0.5)
    if not near:  # the right name under the wrong section
        leaf = wanted.rpartition(".")[2]
        near = [known for known in keys if known.rpartition(".")[2] == leaf][:1]
    hint = f"; the nearest key is {near[0]}" if near else ""
    return f"there is no key {key}{hint} (`neve config --help` lists all keys)"


def _nest(cls: type, key: str, value: object) -> dict:
    """{"a": {"b": value}} for the override "a.b", a string value parsed by the key's type."""
    names = key.replace("-", "_").split(".")
    kind: object = cls
    for depth, name in enumerate(names):
        if not dataclasses.is_dataclass(kind):
            if typing.get_origin(kind) is dict:  # a map has keys of the user's own
                names = [*names[:depth], ".".join(key.split(".")[depth:])]
                kind = typing.get_args(kind)[1]
                break
            raise ConfigError(f"the command line: {_unknown(cls, key)}")
        known = sections(kind)
        if name not in known:
            raise ConfigError(f"the command line: {_unknown(cls, key)}")
        kind = known[name][1]
    if isinstance(value, str):
        value = _parse(kind, value, key)
    content: object = value
    for name in reversed(names):
        content = {name: content}
    return content


def _parse(kind: object, text: str, key: str) -> object:
    """The value that `text` on a command line stands for, given the type of its key."""
    parts = typing.get_args(kind) if _is_union(kind) else (kind,)
    if type(None) in parts and text.lower() in ("null", "none", ""):
        return None
    if str in parts or "${" in text:
        return text
    containers = [part for part in parts if typing.get_origin(part) in (list, tuple, dict)]
    if not containers and not dataclasses.is_dataclass(kind):
        return text
    try:
        value = yaml.load(text, Loader=_Yaml)
    except yaml.YAMLError as error:
        raise ConfigError(f"the command line: {key}: {text!r} is not valid YAML") from error
    if containers and typing.get_origin(containers[0]) in (list, tuple):
        if value is None:
            return []
        if not isinstance(value, list):
            return [part.strip() for part in text.split(",")]
    if containers and typing.get_origin(containers[0]) is dict and not isinstance(value, dict):
        raise ConfigError(
            f"the command line: {key}: {text!r} is not a {type_name(kind)}; "
            "write {name: value, ...}"
        )
    return value


def _is_union(kind: object) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _keys(content: object, prefix: str) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def _origin(origin: dict, key: str) -> str:
    """Where the value of `key` (or of the list or section it stands in) came from."""
    key = key.partition("[")[0]
    while key:
        if key in origin:
            return origin[key]
        key = key.rpartition(".")[0]
    return "the defaults"


def _reason(error: OmegaConfBaseException) -> str:
    return str(error.msg or error).splitlines()[0]


def _check_choices(value, prefix: str, origin: dict) -> None:
    for name, (field, _) in sections(type(value)).items():
        key, entry = prefix + name, getattr(value, name)
        if dataclasses.is_dataclass(entry):
            _check_choices(entry, f"{key}.", origin)
            continue
        choices = field.metadata.get("choices", ())
        entries = entry if isinstance(entry, list | tuple) else [entry]
        wrong = [one for one in entries if one not in choices]
        if choices and wrong:
            near = difflib.get_close_matches(str(wrong[0]), [str(one) for one in choices], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{_origin(origin, key)}: {key}: {wrong[0]!r} is not one of "
                f"{', '.join(str(one) for one in choices)}{hint}"
            )
