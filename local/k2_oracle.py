"""Makes an environment with the real k2 1.23.4 for comparison, and prints its Python.

    NEVE_K2_PYTHON=$(python local/k2_oracle.py) python -m pytest tests/oracle

It is kept in ${XDG_CACHE_HOME:-~/.cache}/neve/k2-oracle, 2.0 GB, and made only if it is not there
(0.9 GB to download). Where that cannot be done it says why and ends with status 3.

k2's newest wheel in the Python Package Index is for Linux on x86-64, Python 3.11 and torch 1.13.1,
whose build brings CUDA along. On the CPU nothing of CUDA's cuBLAS and cuDNN (1.4 GB) is called, but
torch does not load without files that have their names and functions; such files, with functions
that report failure, are written here instead.
"""

import argparse
import contextlib
import fcntl
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

PIP = "pip==23.2.1"  # newer ones refuse the tag of the wheel
K2 = "k2==1.23.4 --hash=sha256:5b5f709b12b9cd092b583984d0b7d940c9f898101259c998d68d1f4adefa48d4"
PACKAGES = ("torch==1.13.1", "numpy==1.26.4", "graphviz==0.21", "typing_extensions")
STUBS = {"cublas/lib/libcublas.so.11": b"cublas", "cudnn/lib/libcudnn.so.8": b"cudnn"}
UNUSED = ("libtorch_cuda_linalg.so",)  # 0.2 GB, loaded by CUDA's linear algebra alone
UNAVAILABLE = 3  # exit status
CHECK = "import k2; assert k2.ctc_topo(2).num_arcs == 12; print(k2.__dev_version__)"


class Unavailable(Exception):
    """Why there cannot be an oracle here."""


def say(text: str) -> None:
    print(f"k2_oracle: {text}", file=sys.stderr, flush=True)


def place() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "neve" / "k2-oracle"


def works(python: Path) -> bool:
    if not python.exists():
        return False
    try:
        found = subprocess.run([python, "-c", CHECK], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        say(f"{python} takes minutes to import k2")
        return False
    if found.returncode:
        say(f"{python} does not import k2: {found.stderr.strip()[-300:]}")
    return found.returncode == 0


def base_python() -> str:
    """A Python 3.11; Unavailable where k2's wheel cannot be installed."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Unavailable(f"k2's wheel is for Linux on x86-64, this is {platform.platform()}")
    if sys.version_info[:2] == (3, 11):
        return getattr(sys, "_base_executable", sys.executable)
    found = shutil.which("python3.11")
    if not found:
        raise Unavailable("k2's wheel needs Python 3.11 (python3.11 on the PATH)")
    return found


def make(directory: Path, deadline: float) -> None:
    """The environment, made under another name and renamed when k2 can be imported."""
    temporary = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    python = temporary / "bin" / "python"
    requirements = temporary / "k2.txt"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q"]
    pip += ["--no-deps", "--only-binary=:all:", "--no-cache-dir"]

    def run(*command) -> None:
        left = deadline - time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=max(left, 1))
        except subprocess.TimeoutExpired:
            raise Unavailable("it took too long; the next run starts again") from None
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            told = [[x for x in lines if word in x][:1] for word in ("ERROR", "Retrying")]
            raise Unavailable("; ".join(sum(told, []) or lines[-3:])[:600] or f"{command} failed")

    try:
        run(base_python(), "-m", "venv", temporary)
        requirements.write_text(K2 + "\n")
        run(*pip, PIP)
        run(*pip, "--require-hashes", "-r", requirements)  # the small one first
        run(*pip, *PACKAGES)
        (site,) = temporary.glob("lib/python3.11/site-packages")
        for name in UNUSED:
            (site / "torch" / "lib" / name).unlink()
        for name, prefix in STUBS.items():
            (site / "nvidia" / name).parent.mkdir(parents=True)
            (site / "nvidia" / name).write_bytes(
                stub_library(Path(name).name, called(site, prefix))
            )
        if not works(python):
            raise Unavailable("k2 was installed but cannot be imported")
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def called(site: Path, prefix: bytes) -> list[bytes]:
    """The functions named prefix... that torch's libraries speak of."""
    names: set[bytes] = set()
    for library in sorted((site / "torch" / "lib").glob("libtorch*.so")):
        with open(library, "rb") as stream:
            strings = _string_table(stream)
        names.update(re.findall(rb"\0(" + prefix + rb"[A-Z]\w*)(?=\0)", strings))
    return sorted(names)


def _string_table(stream) -> bytes:
    """The section .dynstr of an ELF file."""
    header = stream.read(64)
    (offset,) = struct.unpack_from("<Q", header, 40)
    size, count = struct.unpack_from("<HH", header, 58)
    stream.seek(offset)
    table = stream.read(size * count)
    for at in range(0, len(table), size):
        kind, flags, _, begin, length = struct.unpack_from("<IQQQQ", table, at + 4)
        if kind == 3 and flags & 2:  # SHT_STRTAB that is loaded
            stream.seek(begin)
            return stream.read(length)
    return b""


def stub_library(soname: str, functions: list[bytes]) -> bytes:
    """A shared library for x86-64 Linux (ELF64) whose `functions` all return 1: not initialised.

    All symbols have a version named as the library, as NVIDIA's have. One segment is to read and
    run (hash table, symbols, versions, names, code) and one to write: the dynamic section, which
    the loader fills in.
    """
    names = b"\0" + soname.encode() + b"\0"
    name_at = []
    for function in functions:
        name_at.append(len(names))
        names += function + b"\0"
    count = len(functions) + 1  # symbol 0 is none
    buckets, chains = [0] * max(1, len(functions)), [0] * count
    for number, function in enumerate(functions, 1):
        bucket = _sysv_hash(function) % len(buckets)
        chains[number], buckets[bucket] = buckets[bucket], number
    table = struct.pack(f"<{2 + len(buckets) + count}I", len(buckets), count, *buckets, *chains)
    # version 1 is the library itself, version 2 that of its functions
    hashed = _sysv_hash(soname.encode())
    versions = struct.pack("<HHHHIIIII", 1, 1, 1, 1, hashed, 20, 28, 1, 0)
    versions += struct.pack("<HHHHIIIII", 1, 0, 2, 1, hashed, 20, 0, 1, 0)
    code = b"\xb8\x01\x00\x00\x00\xc3"  # mov eax, 1; ret
    begins, end = [], 64 + 4 * 56  # after the headers
    for size in (len(table), 24 * count, 2 * count, len(versions), len(names), len(code)):
        begins.append(-(-end // 16) * 16)
        end = begins[-1] + size
    table_at, symbols_at, versym_at, versions_at, names_at, code_at = begins
    symbols = bytes(24) + b"".join(
        # global function, default visibility, in some section
        struct.pack("<IBBHQQ", at, 0x12, 0, 1, code_at, len(code))
        for at in name_at
    )
    versym = struct.pack(f"<{count}H", 0, *[2] * len(functions))
    tags = [(14, 1), (4, table_at), (5, names_at), (6, symbols_at), (10, len(names)), (11, 24)]
    tags += [(0x6FFFFFF0, versym_at), (0x6FFFFFFC, versions_at), (0x6FFFFFFD, 2), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    dynamic_at = -(-end // 4096) * 4096
    segments = [  # type, flags, offset = address, size, alignment
        (1, 5, 0, end, 4096),
        (1, 6, dynamic_at, len(dynamic), 4096),
        (2, 6, dynamic_at, len(dynamic), 8),
        (0x6474E551, 6, 0, 0, 16),  # no executable stack
    ]
    image = b"\x7fELF\2\1\1" + bytes(9)
    image += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    for kind, flags, at, size, align in segments:
        image += struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)
    for at, part in zip(begins, (table, symbols, versym, versions, names, code)):
        image = image.ljust(at, b"\0") + part
    return image.ljust(dynamic_at, b"\0") + dynamic


def _sysv_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value & 0xFFFFFFFF


def size_of(directory: Path) -> float:
    """Gigabytes on disk."""
    return sum(x.lstat().st_size for x in directory.rglob("*") if not x.is_dir()) / 1e9


@contextlib.contextmanager
def locked(directory: Path, deadline: float):
    """One process at a time; Unavailable if another one is at it until `deadline`."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(f".{directory.name}.lock"), "w") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable("another process is still making it") from None
                time.sleep(0.5)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=1800, help="seconds to make it in")
    args = parser.parse_args()
    directory, began = place(), time.monotonic()
    python = directory / "bin" / "python"
    try:
        with locked(directory, began + args.timeout):
            if not works(python):
                say(f"making {directory}")
                make(directory, began + args.timeout)
                seconds = time.monotonic() - began
                say(f"made in {seconds:.0f} s, {size_of(directory):.1f} GB")
    except (Unavailable, OSError) as reason:
        say(f"no real k2 to compare with: {reason}")
        return UNAVAILABLE
    print(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
