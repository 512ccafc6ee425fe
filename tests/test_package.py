"""The wheel: all that the verbs need is in it, and the requirements fit together."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def requirements():
    """{name: line} of every package that setup.py names."""
    found = re.findall(r'"([A-Za-z][\w.-]*>=[\w.]+)"', (ROOT / "setup.py").read_text())
    return {re.split(">=", line)[0]: line for line in found}


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_for_every_python():
    pinned = {}
    for line in pins():
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)(?:; python_version ([<>]=?) \"3\.\d+\")?", line)
        assert match, f"constraints.txt: {line}"
        pinned.setdefault(plain(match[1]), []).append(match[3])
    for name in requirements():
        assert sorted(map(str, pinned[plain(name)])) in (["None"], ["<", ">="]), name


def test_no_pin_depends_on_a_kind_of_build():
    assert "torch" in {line.split("==")[0] for line in pins()}
    assert not [line for line in pins() if "+" in line or "@" in line]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy with what is installed: no network, no compiler."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "neve", place / "neve", ignore=shutil.ignore_patterns("__pycache__"))
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
         "--wheel-dir", place / "out", place],
        capture_output=True, text=True, env={**os.environ, "CC": "false"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (built,) = (place / "out").glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    return built


def test_the_wheel_holds_all_files_of_the_library_and_the_licence(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "neve").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert not [name for name in inside if name.startswith(("tests/", "egs/"))]


def test_the_wheel_works_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for words in (["--version"], ["config"], ["score", "--help"]):
        answer = subprocess.run(
            [sys.executable, "-m", "neve", *words],
            capture_output=True, text=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert answer.returncode == 0 and answer.stdout, answer.stderr
    code = "import neve; print(neve.__file__)"
    where = subprocess.check_output(
        [sys.executable, "-c", code], text=True, cwd=tmp_path, env=environment
    )
    assert where.startswith(str(tmp_path))
