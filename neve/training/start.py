"""Starts the processes of a training on one machine, and starts them again when one was lost.

Each gets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as torchrun would give them.
With several machines torchrun itself, or the cluster's scheduler, starts them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

from neve.errors import NeveError

log = logging.getLogger(__name__)

POLL = 0.1  # seconds
PATIENCE = 10.0  # seconds that a process has to end once it is told to


def launch(command: Sequence[str], processes: int, restarts: int) -> None:
    """Run `command` in several processes until all have ended well.

    A process that is killed (by the machine's want of memory, say) takes the others with it; then
    all are started again, without `--force`, and go on from the last checkpoint.

    Raises:
        SystemExit: one ended with an error of its own, which it has told.
        NeveError: one was lost once more than `restarts` times.
    """
    for attempt in range(restarts + 1):
        codes = run_together(command, processes)
        if not any(codes):
            return
        lost = [rank for rank, code in enumerate(codes) if code < 0]
        if not lost:
            raise SystemExit(max(codes))
        which = ", ".join(f"process {rank} (signal {-codes[rank]})" for rank in lost)
        if attempt < restarts:
            log.warning(
                "%s of this training was lost; all go on from the last checkpoint (%d of %d times)",
                which,
                attempt + 1,
                restarts,
            )
            command = [word for word in command if word != "--force"]
    raise NeveError(
        f"{which} of this training was lost, as {restarts} times before (training.restarts). "
        "Signal 9 mostly means that the machine ran out of memory: see its system log, lower "
        "data.num_workers or data.max_duration. The same command goes on from the last checkpoint"
    )


def run_together(command: Sequence[str], processes: int) -> list[int]:
    """Run `command` in all processes at once; exit statuses, negative for a signal.

    When one fails the others are told to end; their own status counts as 0 then.
    """
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared = {key: str(value) for key, value in shared.items()}
    cores = max(1, len(os.sched_getaffinity(0)) // processes)
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(cores))
    started = []
    try:
        for rank in range(processes):
            environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            started.append(subprocess.Popen(command, env=environment))
        while True:
            codes = [process.poll() for process in started]
            if any(codes) or None not in codes:
                return [code or 0 for code in codes]
            time.sleep(POLL)
    finally:
        end(started)


def end(started: Sequence[subprocess.Popen]) -> None:
    """Let no process be left: first ask, then kill."""
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        if process.poll() is None:
            process.kill()
            process.wait()
