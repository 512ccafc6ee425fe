"""First use and later starts, for benchmarks/engine.py: compilation, imports, first calls."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from engine_sides import table

DOCTOR = "from neve.cli.main import main; main(['doctor', '--json'])"
BEST = """
import numpy as np
from neve.kernels import Graph, one_best
graph = Graph.from_arcs(2, [0, 0], [0, 1], [1, -1], [0, 0], [1, -1])
one_best(graph, np.zeros((1, 2, 3), np.float32), np.array([2]))
"""
LOSS = """
import torch
import neve.fsa as k2
x = torch.zeros(1, 2, 3, requires_grad=True)
dense = k2.DenseFsaVec(x, torch.tensor([[0, 0, 2]], dtype=torch.int32))
k2.ctc_loss(k2.ctc_graph([[1]]), dense).backward()
"""
STARTS = {
    "`import neve.fsa`": "import neve.fsa",
    "`import torch`": "import torch",
    "best paths with `neve.kernels`, without torch": BEST,
    "CTC loss and its gradient, with torch": LOSS,
    "`neve doctor`: all kernels, with torch": DOCTOR,
}


def start(repeat: int) -> list[str]:
    """Seconds per kernel when nothing is compiled; seconds of processes when everything is."""
    with tempfile.TemporaryDirectory() as cache:
        environment = dict(os.environ, NUMBA_CACHE_DIR=cache)
        done = subprocess.run(
            [sys.executable, "-c", DOCTOR], env=environment, capture_output=True, check=True
        )
    kernels = json.loads(done.stdout)["kernels"]
    rows = [[name, f"{seconds:.2f}"] for name, seconds in kernels.items()]
    lines = ["", "What `neve doctor` says of the first use after installation, seconds:"]
    lines += table(["kernel", "compiled in"], rows)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(repeat + 1):
        for name, code in STARTS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            times[name].append(time.perf_counter() - begin)
    rows = [[name, f"{statistics.median(x[1:]):.2f}"] for name, x in times.items()]
    lines += ["", f"Whole processes after that, seconds (wall), medians of {repeat}:"]
    return lines + table(["process", "seconds"], rows)
