"""Runs the tests of backend cuda, each file in a Python of its own.

Whether kernels are interpreted is decided when Triton is imported, so that the interpreter, and a
Python that compiles, each need a fresh process. Where there is a GPU the same tests run on it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FAMILIES = sorted(path.stem for path in HERE.glob("cuda_*.py") if path.stem != "cuda_compiles")

try:
    import triton
    import triton.language
except ModuleNotFoundError:
    triton = None
# torch before 2.6 brings along a triton that is older
usable = triton is not None and hasattr(triton.language, "gather")
needs_triton = pytest.mark.skipif(not usable, reason="triton 3.2 or newer is not installed")


@pytest.mark.skipif(triton is None or usable, reason="triton is new enough, or none")
def test_an_old_triton_is_refused():
    code = (
        "from neve.errors import NeveError\n"
        "try: import neve.fsa.backends.cuda.rnnt\n"
        "except NeveError as error: print(error)"
    )
    assert "is too old" in run("-c", code)


def run(*command, **environment):
    settings = os.environ | environment
    root = str(HERE.parents[2])
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, [root, settings.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *command], env=settings, cwd=root, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output


def pytest_of(family, **environment):
    run("-m", "pytest", "-x", "--tb=short", str(HERE / f"{family}.py"), **environment)


@needs_triton
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_cpu_in_the_interpreter(family):
    pytest_of(family, TRITON_INTERPRET="1", NEVE_TEST_DEVICE="cpu")


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_cpu_on_a_gpu(family):
    pytest_of(family, TRITON_INTERPRET="0", NEVE_TEST_DEVICE="cuda")


@needs_triton
def test_every_kernel_compiles():
    output = run(str(HERE / "cuda_compiles.py"), TRITON_INTERPRET="0")
    kernels = {line.split()[1] for line in output.splitlines() if line.startswith("sm_")}
    for architecture in ("sm_80", "sm_90"):
        assert output.count(architecture) >= len(kernels) >= 4, output


def test_without_triton_says_what_to_install():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import neve.fsa, neve.errors\n"
        "from neve.fsa.backends import kernels\n"
        "try: kernels('rnnt', 'cuda')\n"
        "except neve.errors.NeveError as error: print(error)"
    )
    assert "neve[cuda]" in run("-c", code)


def test_importing_the_engine_does_not_import_triton():
    code = (
        "import sys, neve, neve.fsa\n"
        "neve.fsa.rnnt_loss, neve.fsa.Fsa, neve.fsa.backends.kernels\n"
        "assert 'neve.fsa.backends.cuda.launch' not in sys.modules"
    )
    run("-c", code)


@needs_triton
def test_cpu_tensors_are_refused_without_the_interpreter():
    code = (
        "import torch\n"
        "from neve.fsa.backends.cuda.rnnt import exp_rows\n"
        "from neve.errors import NeveError\n"
        "try: exp_rows(torch.zeros(2, 3))\n"
        "except NeveError as error: print(error)"
    )
    assert "TRITON_INTERPRET" in run("-c", code, TRITON_INTERPRET="0")
