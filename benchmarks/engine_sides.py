"""What the parts of benchmarks/engine.py share: processes that take turns, medians, rows."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

PEER = Path(__file__).with_name("engine_peer.py")
# path.sh sets these for trainings; whoever uses k2 or torch elsewhere has glibc's own
MALLOC = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
PATH_SH = dict(zip(MALLOC, ("1", "0", "17179869184", "67108864")))


class Side:
    """A process that runs tasks: `kind` is neve, k2, torch or kaldi, `python` its interpreter."""

    def __init__(self, kind: str, python: str, threads: int = 1, keep_memory: bool = False):
        self.kind = kind
        environment = {k: v for k, v in os.environ.items() if k not in MALLOC}
        environment.update(OMP_NUM_THREADS=str(threads), NUMBA_NUM_THREADS=str(threads))
        if keep_memory:
            environment.update(PATH_SH)
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(PEER), kind, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, task: str, **arguments) -> dict:
        """The peer's answer to a task; SystemExit if its process has ended."""
        self.process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.kind}: the process ended during {task}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def alternating(tasks: dict[str, Callable[[], dict]], repeat: int) -> dict[str, dict]:
    """Runs each task once untimed, then all of them in turn, `repeat` times.

    {name: {"wall", "cpu": {part: median seconds}, "value": what was computed,
    "peak": most MB of memory, "before": MB before the first run}}; part "all" is the sum.
    """
    first = {name: task() for name, task in tasks.items()}
    runs: dict[str, list[dict]] = {name: [] for name in tasks}
    for _ in range(repeat):
        for name, task in tasks.items():
            runs[name].append(task())
    found = {}
    for name, answers in runs.items():
        found[name] = {
            "value": first[name]["value"],
            "before": first[name]["before"],
            "peak": max(answer["peak"] for answer in (first[name], *answers)),
        }
        for i, clock in enumerate(("wall", "cpu")):
            times = [{part: t[i] for part, t in answer["parts"].items()} for answer in answers]
            for parts in times:
                parts["all"] = sum(parts.values())
            found[name][clock] = {
                part: statistics.median(parts[part] for parts in times) for part in times[0]
            }
    return found


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty line before it."""
    lines = ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def ms(seconds: float | None) -> str:
    """Milliseconds; nothing for None."""
    return "" if seconds is None else f"{1000 * seconds:.1f}"


def ratio(other: float | None, mine: float) -> str:
    """How many times longer the other takes; nothing for None."""
    return "" if other is None else f"{other / mine:.1f}"
