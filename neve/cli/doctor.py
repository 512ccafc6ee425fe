"""Say what was found on this machine and what the engine will use, and compile its kernels.

The exit status is 0 if neve can be used, 1 if something that it needs is missing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from neve import __version__
from neve.errors import NeveError

NEEDED = ("torch", "numba", "numpy", "scipy", "lhotse", "kaldifst", "kaldialign", "sentencepiece")
OPTIONAL = {
    "triton": "the engine's kernels for CUDA devices: pip install 'neve[cuda]'",
    "k2": "the real k2 as a backend in this process: see k2's own installation page",
}


def add_arguments(parser) -> None:
    """What to leave out, and the form of the answer."""
    parser.add_argument("--no-warm-up", action="store_true", help="do not compile the kernels")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_alone(args, overrides) -> None:
    """Prints the findings; raises NeveError if neve cannot be used."""
    if overrides:
        raise NeveError(f"{overrides[0][0]}: doctor takes no configuration")
    found = findings()
    if not args.no_warm_up and not found["problems"]:
        found["kernels"] = warmed_up(quiet=args.json)
    print(json.dumps(found, indent=2) if args.json else "\n".join(lines(found)))
    if found["problems"]:
        raise NeveError("; ".join(found["problems"]))


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def findings() -> dict:
    """Versions, devices, backends, the kernel cache; `problems` says what makes neve unusable."""
    versions = {name: version(name) for name in (*NEEDED, *OPTIONAL)}
    problems = [f"{name} is missing: pip install {name}" for name in NEEDED if not versions[name]]
    found = {
        "neve": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "versions": versions,
        "problems": problems,
    }
    if problems:
        return found
    import torch

    from neve.kernels.threads import num_threads

    found["threads"] = {"torch": torch.get_num_threads(), "kernels": num_threads()}
    found["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found["torch_cuda"] = torch.version.cuda
    found["backends"] = backends(bool(found["cuda"]), versions)
    found["kernel_cache"], writable = kernel_cache()
    found["kernel_cache_writable"] = writable
    if not writable:
        found["problems"].append(
            f"{found['kernel_cache']}: not writable, so that every start compiles the kernels "
            "anew; set NUMBA_CACHE_DIR to a directory that is"
        )
    return found


def backends(cuda: bool, versions: dict) -> dict[str, str]:
    """What computes for each device, and why."""
    from neve.fsa.backends import backend_name

    chosen = os.environ.get("NEVE_FSA_BACKEND")
    why = "NEVE_FSA_BACKEND says so" if chosen else "numba's kernels"
    result = {"cpu": f"{backend_name('cpu')} ({why})"}
    if not cuda:
        result["cuda"] = "none: torch sees no CUDA device"
    elif versions["triton"] is None:
        result["cuda"] = f"none: triton is missing; {OPTIONAL['triton']}"
    else:
        result["cuda"] = f"{backend_name('cuda')} (Triton's kernels)"
    from neve.fsa.backends.k2.client import find_python, in_process

    other = find_python()
    if in_process():
        result["k2"] = "in this process; not used unless asked for"
    elif other:
        result["k2"] = f"through {other}; not used unless asked for"
    else:
        result["k2"] = "not found; it is not needed"
    return result


def kernel_cache() -> tuple[str, bool]:
    """(where compiled kernels are kept, whether new ones can be)."""
    import neve.kernels

    given = os.environ.get("NUMBA_CACHE_DIR")
    place = Path(given) if given else Path(neve.kernels.__file__).parent / "__pycache__"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return str(place), True
    except OSError:
        return str(place), False


def warmed_up(quiet: bool) -> dict[str, float]:
    """Compiles all kernels; seconds for each group of them."""
    from neve.kernels import warm_up

    times: dict[str, float] = {}

    def report(name: str, seconds: float) -> None:
        times[name] = round(seconds, 3)
        if not quiet:
            print(f"  {name:<36} {seconds:7.2f} s", file=sys.stderr, flush=True)

    if not quiet:
        print("compiling the kernels, or reading them from the cache:", file=sys.stderr)
    begin = time.perf_counter()
    warm_up(report)
    times["all"] = round(time.perf_counter() - begin, 3)
    return times


def lines(found: dict) -> list[str]:
    """The findings for people."""
    result = [f"neve {found['neve']}, Python {found['python']}, {found['machine']}"]
    for name, number in found["versions"].items():
        if number:
            result.append(f"  {name:<14} {number}")
        elif name in OPTIONAL:
            result.append(f"  {name:<14} not installed ({OPTIONAL[name]})")
        else:
            result.append(f"  {name:<14} MISSING")
    if "backends" in found:
        threads = found["threads"]
        result.append(
            f"{found['processors']} processors; {threads['kernels']} threads for kernels, "
            f"{threads['torch']} for torch"
        )
        result.append(f"CUDA devices: {', '.join(found['cuda']) or 'none'}")
        result += [f"backend for {device}: {text}" for device, text in found["backends"].items()]
        writable = "" if found["kernel_cache_writable"] else " (NOT WRITABLE)"
        result.append(f"compiled kernels: {found['kernel_cache']}{writable}")
    if "kernels" in found:
        result.append(f"kernels ready in {found['kernels']['all']:.1f} s")
    result.append("; ".join(found["problems"]) if found["problems"] else "neve is ready")
    return result
