"""Local jobs: order, errors, workers that die, Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest

from neve.errors import NeveError
from neve.pipeline import run_jobs


def test_answers_come_in_order_whatever_nj():
    items = list(range(-20, 0))
    expected = [20 - i for i in range(20)]
    assert list(run_jobs(abs, items, 1)) == expected
    assert list(run_jobs(abs, items, 2)) == expected
    assert list(run_jobs(abs, [], 2)) == []


def test_wrong_nj():
    with pytest.raises(NeveError, match="--nj must be at least 1"):
        list(run_jobs(abs, [1], 0))


@pytest.mark.parametrize("nj", [1, 2])
def test_an_error_in_a_job_is_the_callers(nj):
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_jobs(int, ["1", "x", "3"], nj))


def test_a_dying_worker_is_reported():
    with pytest.raises(NeveError, match="worker process of dying died.*smaller --nj"):
        list(run_jobs(os._exit, [3, 3, 3], 2, what="dying"))


SLEEPERS = """
from neve.pipeline import run_jobs
if __name__ == "__main__":
    pid, sleep = "__import__('os').getpid()", "__import__('time').sleep(600)"
    for answer in run_jobs(eval, [pid] * 8 + [sleep] * 2, 2):
        print(answer, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, how):
    """Whether by Ctrl-C or by kill -9: no worker stays behind."""
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    workers = {int(process.stdout.readline()) for _ in range(8)}
    process.send_signal(how)
    # The workers hold the pipes of standard output: it ends when the last of them has ended.
    process.communicate(timeout=60)
    assert process.returncode != 0
    for worker in workers:
        assert not os.path.exists(f"/proc/{worker}") or "Z" in open(f"/proc/{worker}/stat").read()
