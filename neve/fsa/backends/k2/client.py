"""Calls of the real k2, in this process or in one of another interpreter."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from neve.errors import NeveError
from neve.fsa.backends.k2 import worker

TIMEOUT = 600.0  # seconds that an operation may take
HOW = (
    "install k2 beside torch (its own site has a wheel for each version of torch), or name a "
    "Python that has it in NEVE_K2_PYTHON; `python local/k2_oracle.py` makes one"
)


def oracle_python() -> Path:
    """The interpreter that local/k2_oracle.py makes, there or not."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "neve" / "k2-oracle" / "bin" / "python"


def find_python() -> Path | None:
    """The interpreter to ask for k2 outside this process, None if there is none.

    NeveError if NEVE_K2_PYTHON names a file that is not there.
    """
    named = os.environ.get("NEVE_K2_PYTHON")
    if named:
        if not Path(named).exists():
            raise NeveError(f"NEVE_K2_PYTHON: there is no {named}")
        return Path(named)
    made = oracle_python()
    return made if made.exists() else None


def in_process() -> bool:
    """Whether the real k2 can be imported here."""
    try:
        return hasattr(importlib.import_module("k2"), "RaggedTensor")
    except Exception:  # a k2 of another torch raises ImportError, OSError or others
        return False


class LocalK2:
    """k2 in this process."""

    place = "this process"

    def call(self, operation: str, **arguments) -> Any:
        answer = worker.answered([operation, worker.unpacked(worker.packed(arguments))])
        return _value(operation, answer)

    def close(self) -> None:
        pass


class RemoteK2:
    """k2 in a process of `python`, started by the first call; it ends with this one.

    script  the program that serves; operations of the worker by default
    timeout seconds after which a call is given up and the process ended
    """

    def __init__(
        self, python: str | os.PathLike, script: str | os.PathLike = "", timeout: float = TIMEOUT
    ):
        self.place = str(python)
        self._command = [str(python), str(script or worker.__file__)]
        self._timeout = timeout
        self._process: subprocess.Popen | None = None
        self._errors = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def call(self, operation: str, **arguments) -> Any:
        """What the operation returns. NeveError if it fails, dies or hangs."""
        request = worker.packed([operation, arguments])
        process = self._running()
        deadline = time.monotonic() + self._timeout
        try:
            message = memoryview(worker.LENGTH.pack(len(request)) + request)
            while message:
                message = message[process.stdin.write(message) :]
            (length,) = worker.LENGTH.unpack(self._read(worker.LENGTH.size, deadline))
            answer = worker.unpacked(self._read(length, deadline))
        except TimeoutError:
            self.close()
            raise NeveError(f"k2: {operation} took longer than {self._timeout:.0f} s") from None
        except (EOFError, OSError):
            told = self._told()
            self.close()
            raise NeveError(f"k2: {self.place} died in {operation}: {told}") from None
        except BaseException:  # an answer may be on its way, which is no answer to the next call
            self.close()
            raise
        if "error" in answer and answer["error"].startswith("Some bad things happened"):
            answer["error"] = self._told()  # k2's own checks say why on standard error only
        return _value(operation, answer)

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._errors = tempfile.TemporaryFile()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
            )
            os.set_blocking(self._process.stdout.fileno(), False)
        return self._process

    def _read(self, count: int, deadline: float) -> bytes:
        stream, parts = self._process.stdout, []
        while count:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([stream], [], [], wait)[0]:
                raise TimeoutError
            part = stream.read(min(count, 1 << 24))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _told(self) -> str:
        """The last lines that the process wrote to standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        fatal = [line for line in lines if line.startswith("[F]")]
        return " | ".join(fatal[-1:] or lines[-3:]) or "it said nothing"

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, self._errors):
                with contextlib.suppress(OSError):
                    stream.close()


def _value(operation: str, answer: dict) -> Any:
    if "error" in answer:
        raise NeveError(f"k2: {operation}: {answer['kind']}: {answer['error']}")
    return answer["value"]


@functools.cache
def real_k2() -> LocalK2 | RemoteK2:
    """k2 for this process, NeveError that says how to get it where there is none."""
    if not os.environ.get("NEVE_K2_PYTHON") and in_process():
        return LocalK2()
    python = find_python()
    if python is None:
        raise NeveError(f"the backend k2 needs the real k2, which was not found: {HOW}")
    return RemoteK2(python)


def on_cpu(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A backend's function for tensors of any device, computed on the CPU; results go back."""

    @functools.wraps(compute)
    def wrapped(*args, **kwargs):
        from neve.fsa.backends.choice import _moved

        devices = {x.device for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)}
        device = next((x for x in devices if x.type != "cpu"), torch.device("cpu"))
        result = compute(*_moved(args, "cpu"), **_moved(kwargs, "cpu"))
        return result if device.type == "cpu" else _moved(result, device)

    return wrapped
