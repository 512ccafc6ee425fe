"""Losses of benchmarks/engine.py: RNN-T without the joiner, and CTC."""

from functools import partial

from engine_sides import Side, alternating, ms, ratio, table

SIZES = {
    "rnnt": [dict(B=8, T=200, S=40, C=500, R=5), dict(B=4, T=400, S=80, C=5000, R=5)],
    "ctc": [
        dict(B=16, T=400, S=60, C=500),
        dict(B=8, T=500, S=150, C=71),
        dict(B=4, T=400, S=80, C=5000),
    ],
}
KINDS = {"rnnt": ("neve", "k2"), "ctc": ("neve", "k2", "torch")}
# threads, path.sh's settings of malloc
SETTINGS = {"1 thread": (1, False), "2 threads": (2, False), "1 thread, path.sh": (1, True)}


def losses(task: str, pythons: dict[str, str], repeat: int) -> list[str]:
    """The table of `task`, rnnt or ctc: milliseconds, forward and backward, and memory."""
    kinds = [kind for kind in KINDS[task] if kind in pythons]
    rows, values = [], []
    for setting, (threads, keep) in SETTINGS.items():
        sides = {kind: Side(kind, pythons[kind], threads, keep) for kind in kinds}
        for size in SIZES[task]:
            found = alternating({k: partial(s.run, task, **size) for k, s in sides.items()}, repeat)
            name = " ".join(f"{key}{number}" for key, number in size.items())
            wall = {kind: answer["wall"] for kind, answer in found.items()}
            parts = list(wall["neve"]) if task == "rnnt" and setting == "1 thread" else ["all"]
            for part in parts:
                times = [wall[kind][part] for kind in kinds]
                memory = [f"{found[k]['peak'] - found[k]['before']:.0f}" for k in kinds]
                row = [f"{name}, {setting}", *([part] if task == "rnnt" else [])]
                row += [ms(seconds) for seconds in times]
                row += [ratio(seconds, times[0]) for seconds in times[1:]]
                rows.append(row + [" / ".join(memory) if part == "all" else ""])
            print(rows[-1], flush=True)
            if setting == "1 thread":
                values.append(f"{name}: " + ", ".join(f"{k} {found[k]['value']}" for k in kinds))
        for side in sides.values():
            side.__exit__()
    title = {"rnnt": "RNN-T loss without the joiner", "ctc": "CTC loss"}[task]
    head = ["size", *(["part"] if task == "rnnt" else []), *kinds]
    head += [f"{kind} / neve" for kind in kinds[1:]] + [f"MB: {' / '.join(kinds)}"]
    lines = ["", f"{title}, forward and backward, milliseconds, medians of {repeat}:"]
    return lines + table(head, rows) + ["", "Values: " + "; ".join(values) + "."]
