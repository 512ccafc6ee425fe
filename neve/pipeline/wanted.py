"""Which keys of a configuration a stage depends on, and what has changed since it was made."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def select(values: dict, sections: Sequence[str]) -> dict[str, object]:
    """{dotted key: value} of all leaves in `sections`, less those under a "!section"."""
    leaves = dict(flatten(values))
    out = {}
    for key, value in leaves.items():
        if any(under(key, s) for s in sections if not s.startswith("!")) and not any(
            under(key, s[1:]) for s in sections if s.startswith("!")
        ):
            out[key] = value
    return out


def without(values: dict[str, object], keys: Iterable[str]) -> dict[str, object]:
    """`values` less all that lies under one of `keys`."""
    return {key: value for key, value in values.items() if not any(under(key, k) for k in keys)}


def under(key: str, section: str) -> bool:
    """Whether dotted `key` is `section` or lies in it."""
    return key == section or key.startswith(section + ".")


def flatten(values: dict, prefix: str = ""):
    """Pairs of dotted key and value; lists and empty maps are values."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def difference(before: dict, after: dict, inputs: Mapping[str, Path]) -> str:
    """What differs between two descriptions of what an output is made from, for the user."""
    changes = []
    if before.get("version") != after["version"]:
        changes.append("the format of this stage's output is newer")
    old, new = before.get("inputs", {}), after["inputs"]
    for key in new:
        if old.get(key) != new[key]:
            changes.append(f"{inputs[key]} {'changed' if key in old else 'is a new input'}")
    changes += [f"{key} is no longer an input" for key in old if key not in new]
    old, new = before.get("config", {}), after["config"]
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            changes.append(f"{key} was {old.get(key)}, is {new.get(key)}")
    if len(changes) > 4:
        changes[3:] = [f"and {len(changes) - 3} more"]
    return "; ".join(changes) or "its record is of another kind"
