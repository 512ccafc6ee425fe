"""Name the first package that neve needs and this Python lacks; exit status 1 if there is one.

Usage: missing.py [EXTRA,EXTRA...]. Python's standard library only: it runs before anything is
installed.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def missing(extras):
    """The name of a distribution that is not installed, or None."""
    for name in required(extras):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return name
    return None


def required(extras):
    """Names of the distributions in setup.py that are needed with `extras`, and neve itself."""
    lists = {}

    def setup(**keywords):
        lists.update(keywords)

    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    source = re.sub(r"^from setuptools import .*$", "", source, flags=re.M)
    names = {"__file__": str(ROOT / "setup.py"), "setup": setup, "find_packages": lambda **_: []}
    exec(compile(source, "setup.py", "exec"), names)
    requirements = list(lists["install_requires"])
    for extra in extras:
        requirements += lists["extras_require"].get(extra, [])
    return ["neve", *(re.match(r"[\w.-]+", requirement)[0] for requirement in requirements)]


if __name__ == "__main__":
    name = missing([extra for extra in "".join(sys.argv[1:2]).split(",") if extra])
    if name:
        print(f"{name} is not installed")
        sys.exit(1)
