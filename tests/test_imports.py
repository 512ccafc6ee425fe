"""Which room may import which: the plan's table as data, held against the source."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parent.parent / "neve"

# Modules at the top of the library that every room may use.
LIGHT = {"config", "costs", "errors", "files", "lazy", "progress", "results", "tensors", ""}

GROUND = {"text", "pipeline", "frontend", "data", "lang", "lm", "kernels", "fsa", "graphs"}

# room -> rooms it may import, beside itself and the light modules
MAY_IMPORT = {
    "config": set(),
    "text": set(),
    "pipeline": set(),
    "frontend": set(),
    "data": {"text", "frontend", "pipeline"},
    "lang": {"text"},
    "lm": {"lang", "text"},
    "kernels": set(),
    "fsa": {"kernels", "lang"},
    "graphs": {"fsa", "lang", "lm", "kernels"},
    "models": {"kernels"},
    "training": set(),
    "tasks": GROUND | {"models", "training", "decoding"},
    "decoding": {"fsa", "graphs", "models", "lm", "lang", "kernels"},
    "scoring": {"text"},
    "export": {"models", "lang"},
    "runtime": {"frontend", "kernels", "lang"},
    "serving": {"runtime", "decoding"},
    "transcribe": {"runtime", "decoding", "frontend", "lang"},
    "cli": None,  # everything
}

# Third-party packages whose import takes long: no room may import them on the way to its
# configuration, which is what a front door and `config.py` are for.
HEAVY = {"torch", "lhotse", "numba", "sentencepiece", "scipy", "kaldifst", "kaldilm", "kaldialign"}


def imported(path):
    """Yield (line, module) for every import in a file, at whatever level of the code."""
    package = path.relative_to(LIBRARY.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield node.lineno, module
            for alias in node.names:  # `from neve import lang`
                if module == "neve":
                    yield node.lineno, f"neve.{alias.name}"


def rooms_imported(path):
    for line, module in imported(path):
        if module.split(".")[0] == "neve":
            yield line, (module.split(".") + [""])[1]


def rooms():
    return sorted(p.name for p in LIBRARY.iterdir() if (p / "__init__.py").exists())


def test_every_room_is_in_the_table():
    assert set(rooms()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_what_it_may(room):
    allowed = MAY_IMPORT[room]
    wrong = []
    for path in sorted((LIBRARY / room).rglob("*.py")):
        for line, other in rooms_imported(path):
            known = other in LIGHT or other == room or other.startswith("__")
            if not known and allowed is not None and other not in allowed:
                wrong.append(f"{path.relative_to(LIBRARY.parent)}:{line} imports neve.{other}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.stem)
def test_light_modules_import_no_room(path):
    if path.stem == "__main__":
        pytest.skip("the door of the command line")
    wrong = [room for _, room in rooms_imported(path) if room not in LIGHT]
    assert not wrong


def test_the_check_sees_imports_inside_functions_and_relative_ones(tmp_path, monkeypatch):
    source = "def f():\n    from neve.lang import Lang\n\nfrom ..data import Loader\n"
    room = tmp_path / "neve" / "models"
    room.mkdir(parents=True)
    (room / "x.py").write_text(source)
    monkeypatch.setitem(globals(), "LIBRARY", tmp_path / "neve")
    assert sorted(rooms_imported(room / "x.py")) == [(2, "lang"), (4, "data")]


@pytest.mark.parametrize("room", rooms())
def test_a_front_door_is_light_and_says_what_the_room_is_for(room):
    door = LIBRARY / room / "__init__.py"
    doc = ast.get_docstring(ast.parse(door.read_text(encoding="utf-8")))
    assert doc and len(doc.splitlines()) >= 3
    for path in (door, LIBRARY / room / "config.py"):
        if path.exists():
            found = {module.split(".")[0] for _, module in imported(path)}
            assert not found & HEAVY, f"{path} imports {found & HEAVY}"
