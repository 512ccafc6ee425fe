"""Learning curves: the training's `curves.jsonl` as inline SVG.

Each line of `curves.jsonl` is a JSON object with `step`, `epoch`, `split` (`train` or `dev`),
`loss` and `lr`. The charts take their colours from the page they stand in.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from neve.errors import NeveError

Points = list[tuple[float, float]]

_WIDTH, _HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 40


@dataclass(frozen=True)
class Curves:
    """Losses by split and the learning rate, each as (epoch or step, value) in order.

    `unit` says which of the two: epochs, unless there are fewer than three.
    """

    unit: str
    losses: dict[str, Points]
    rates: Points


def read_curves(path: str | Path) -> Curves:
    """Read `curves.jsonl`; several values of one epoch are averaged (the last for the rate).

    After a resumed training an epoch's later lines replace the earlier ones of the same step.
    Values that are not finite are left out. Raises NeveError naming file and line.
    """
    entries: dict[tuple[str, float], dict] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NeveError(f"{path}: the learning curves cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            split, step = str(entry["split"]), float(entry["step"])
            entries[split, step] = {"epoch": float(entry["epoch"]), **_values(entry)}
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # training may be writing this line at the moment
            raise NeveError(
                f"{path}, line {number}: not a line of learning curves ({error}); remove it"
            ) from error
    unit = "epoch" if len({e["epoch"] for e in entries.values()}) > 2 else "step"
    losses: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    rates: dict[float, float] = {}
    for (split, step), entry in sorted(entries.items(), key=lambda item: item[0][1]):
        x = entry["epoch"] if unit == "epoch" else step
        if "loss" in entry:
            losses[split][x].append(entry["loss"])
        if "lr" in entry:
            rates[x] = entry["lr"]
    return Curves(
        unit=unit,
        losses={
            split: [(x, sum(values) / len(values)) for x, values in sorted(points.items())]
            for split, points in losses.items()
        },
        rates=sorted(rates.items()),
    )


def _values(entry: dict) -> dict[str, float]:
    values = {}
    for key in ("loss", "lr"):
        if entry.get(key) is not None and math.isfinite(float(entry[key])):
            values[key] = float(entry[key])
    return values


def line_chart(
    title: str,
    series: dict[str, Points],
    unit: str,
    *,
    log: bool = False,
    zero: bool = True,
    whole: bool = True,
    mark: tuple[float, float] | None = None,
) -> str:
    """An SVG of `{name: points}`; `log` allows a logarithmic scale where the values span much.

    `zero`: the values' axis begins at 0. `whole`: numbers on the other one are whole. `mark`: a
    point that gets a ring, and its value beside it.

    The lines have the classes `line-0`, `line-1`, ... for the page's style sheet to colour.
    """
    series = {name: points for name, points in series.items() if points}
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    if not xs:
        return ""
    logarithmic = log and min(ys) > 0 and max(ys) / min(ys) > 20
    least = min(ys) - (0.15 * (max(ys) - min(ys)) if mark else 0.0)  # room for what is said there
    bottom = min(0.0, least) if zero else least
    ticks = _log_ticks(min(ys), max(ys)) if logarithmic else _ticks(bottom, max(ys))
    scale = math.log10 if logarithmic else float
    low, high = scale(min(ticks[0], min(ys))), scale(max(ticks[-1], max(ys)))
    left, right = min(xs), max(xs)

    def at_x(x: float) -> float:
        share = (x - left) / (right - left) if right > left else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def at_y(y: float) -> float:
        share = (scale(y) - low) / (high - low) if high > low else 0.5
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f'<text class="chart-title" x="{_LEFT}" y="16">{escape(title)}</text>',
    ]
    for tick in ticks:
        y = at_y(tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for tick in _ticks(left, right, whole=whole):
        if left <= tick + 1e-9 and tick <= right + 1e-9:
            parts.append(
                f'<text x="{at_x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
                f'text-anchor="middle">{tick:g}</text>'
            )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{escape(unit)}</text>'
    )
    legend = _WIDTH - _RIGHT
    for index, (name, points) in enumerate(series.items()):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line-{index}" points="{path}"/>')
        if len(points) <= 60:
            parts += [
                f'<circle class="dot-{index}" cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.5">'
                f"<title>{escape(name)}, {escape(unit)} {x:g}: {y:.4g}</title></circle>"
                for x, y in points
            ]
        if len(series) > 1:
            parts.append(
                f'<text class="key-{index}" x="{legend}" y="16" text-anchor="end">'
                f"{escape(name)}</text>"
            )
            legend -= 8 * len(name) + 12
    if mark is not None:
        x, y = at_x(mark[0]), at_y(mark[1])
        anchor = "start" if x < _LEFT + 40 else "end" if x > _WIDTH - 50 else "middle"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" '
            'style="fill:none;stroke:var(--fg);stroke-width:2"/>'
            f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="{anchor}" '
            'style="fill:var(--fg);font-weight:600;paint-order:stroke;stroke:var(--card);'
            f'stroke-width:4px">{mark[0]:g}: {mark[1]:.2f}</text>'
        )
    return "".join(parts) + "</svg>"


def _ticks(low: float, high: float, *, whole: bool = False, count: int = 5) -> Sequence[float]:
    """Round numbers that span low to high."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= count), 10)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> Sequence[float]:
    """Powers of ten from low to high, with 2 and 5 times them where these would be few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [m * 10.0**p for p in powers for m in factors if low <= m * 10.0**p <= high]
        if len(ticks) >= 3:
            break
    return ticks
