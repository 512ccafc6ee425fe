"""neve doctor: what it finds, what it says of what is missing."""

import json
import os
import subprocess
import sys
import time

from neve.cli import doctor


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "neve", "doctor", *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_it_says_what_is_there():
    done = run("--no-warm-up")
    assert done.returncode == 0, done.stderr
    assert "neve is ready" in done.stdout
    assert "backend for cpu: cpu (numba's kernels)" in done.stdout


def test_it_answers_in_json_and_compiles_every_kernel():
    done = run("--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == [] and found["kernel_cache_writable"]
    assert found["kernels"]["all"] >= max(
        seconds for name, seconds in found["kernels"].items() if name != "all"
    )


def test_what_is_missing_is_named_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    found = doctor.findings()
    assert found["problems"] == ["no-such-package is missing: pip install no-such-package"]
    assert "no-such-package MISSING" in "\n".join(doctor.lines(found))


def test_an_unknown_backend_is_an_error():
    done = run("--no-warm-up", NEVE_FSA_BACKEND="odd")
    assert done.returncode == 1
    assert "NEVE_FSA_BACKEND: 'odd' is no backend" in done.stderr


def test_it_takes_no_configuration():
    done = run("--training.seed", "1")
    assert done.returncode == 1 and "takes no configuration" in done.stderr


def test_a_cache_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run("--no-warm-up", NUMBA_CACHE_DIR=str(tmp_path / "file"))
    assert done.returncode == 1 and "set NUMBA_CACHE_DIR" in done.stderr


def test_importing_compiles_nothing():
    code = (
        "import sys, neve, neve.fsa, neve.kernels\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules\n"
    )
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.perf_counter() - begin < 30
