"""The page of a choice of scales: word error rates of all that was tried on the dev sets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from neve.errors import NeveError

from .curves import line_chart
from .page import Html, card, table, tag, write_page
from .writers import percent

OUTCOME = ("errors", "words", "wer", "chosen")
MOST_ROWS = 25  # of the table of trials
WRITTEN = 12  # columns of a heat map in whose cells the rate is written

Trial = dict[str, float]


def write_sweep_page(sweep: str | Path, page: str | Path, title: str = "Scales") -> None:
    """Write the page of a `sweep.json`, as `neve decode` writes it where scales are chosen.

    Raises NeveError naming a file that is not one.
    """
    sets, trials, scales = read_sweep(sweep)
    (chosen,) = [trial for trial in trials if trial["chosen"]]
    least = min(trial["errors"] for trial in trials)
    body = [
        tag("h1", title),
        tag("p", f"{len(trials)} choices of scales, tried on {', '.join(sets)}.", "soft"),
        tag("div", Html("".join(_cards(trials, chosen, scales))), "cards"),
    ]
    if scales:
        charts = "".join(_curve(trials, chosen, scales, name) for name in scales)
        body += [tag("h2", "Each scale"), tag("div", Html(charts), "charts")]
        if len(scales) > 1:
            body.append(
                tag(
                    "p",
                    "Two lines: the word error rate with the other scales as they were chosen, and "
                    "with the best of them for each value.",
                    "soft",
                )
            )
    for across, down in itertools.combinations(scales, 2):
        body += [
            tag("h2", f"{_words(down)} and {_words(across)}"),
            heat_map(trials, chosen, across, down),
        ]
    ranked = sorted(trials, key=lambda trial: trial["errors"])
    equal = sum(trial["errors"] == least for trial in trials)
    body += [
        tag("h2", "All that was tried" if len(trials) <= MOST_ROWS else f"The best {MOST_ROWS}"),
        table(
            [*(_words(name) for name in scales), "errors", "WER %", ""],
            [
                (
                    *(_number(trial[name]) for name in scales),
                    int(trial["errors"]),
                    percent(trial["errors"] / max(1, trial["words"])),
                    Html("<b>chosen</b>") if trial is chosen else "",
                )
                for trial in ranked[:MOST_ROWS]
            ],
        ),
        tag(
            "footer",
            "Of equally few errors the first that was tried is chosen"
            + (f" ({equal} choices have {int(least)} errors)." if equal > 1 else ".")
            + " A rate on the sets that the scales were chosen on is a little too good.",
        ),
    ]
    write_page(page, title, body)


def read_sweep(path: str | Path) -> tuple[list[str], list[Trial], list[str]]:
    """Sets, trials, and the names of the scales that have several values."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        sets = [str(name) for name in content["sets"]]
        trials = [
            {name: float(value) for name, value in trial.items()} for trial in content["trials"]
        ]
        names = [name for name in trials[0] if name not in OUTCOME]
        scales = [name for name in names if len({trial[name] for trial in trials}) > 1]
        if sum(trial["chosen"] for trial in trials) != 1 or not all(
            {*names, *OUTCOME} == set(trial) for trial in trials
        ):
            raise ValueError("trials of different kinds, or not one that was chosen")
    except OSError as error:
        raise NeveError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise NeveError(f"{path}: not a table of trials ({error}); decode again") from error
    return sets, trials, scales


def _cards(trials: Sequence[Trial], chosen: Trial, scales: Sequence[str]):
    errors, words = int(chosen["errors"]), int(chosen["words"])
    worst = max(trial["errors"] for trial in trials)
    yield card(
        f"{percent(errors / max(1, words))} %",
        "word error rate as chosen",
        f"{errors} errors in {words} words",
        f"the worst choice: {percent(worst / max(1, words))} %",
    )
    for name in scales:
        values = sorted({trial[name] for trial in trials})
        edge = "at the edge: widen the range" if chosen[name] in (values[0], values[-1]) else ""
        yield card(f"{chosen[name]:g}", _words(name), f"of {values[0]:g} to {values[-1]:g}", edge)


def _curve(trials: Sequence[Trial], chosen: Trial, scales: Sequence[str], name: str) -> str:
    """Word error rate against one scale."""
    others = [other for other in scales if other != name]
    along, best = {}, {}
    for trial in trials:
        rate = 100 * trial["errors"] / max(1, trial["words"])
        best[trial[name]] = min(rate, best.get(trial[name], rate))
        if all(trial[other] == chosen[other] for other in others):
            along[trial[name]] = rate
    series = {"others as chosen" if others else "WER %": sorted(along.items())}
    if others:
        series["best of others"] = sorted(best.items())
    return line_chart(
        "WER %",
        series,
        _words(name),
        zero=False,
        whole=False,
        mark=(chosen[name], along[chosen[name]]),
    )


def heat_map(trials: Sequence[Trial], chosen: Trial, across: str, down: str) -> Html:
    """An SVG of the word error rate over two scales, the best of all others for each cell."""
    rates: dict[tuple[float, float], float] = {}
    for trial in trials:
        cell, rate = (trial[across], trial[down]), 100 * trial["errors"] / max(1, trial["words"])
        rates[cell] = min(rate, rates.get(cell, rate))
    columns, rows = (sorted({cell[i] for cell in rates}) for i in (0, 1))
    low, high = min(rates.values()), max(rates.values())
    width = max(14, min(56, 560 // len(columns)))
    height = max(14, min(30, 420 // len(rows)))
    left, top = 60, 12
    right, bottom = left + width * len(columns), top + height * len(rows)
    parts = [
        f'<svg class="chart" style="max-width:{1.3 * (right + 12):.0f}px" '
        f'viewBox="0 0 {right + 12} {bottom + 48}" role="img" '
        f'aria-label="WER %: {escape(_words(down))} and {escape(_words(across))}">'
    ]
    for (x, y), rate in sorted(rates.items()):
        at_x = left + width * columns.index(x)
        at_y = bottom - height * (rows.index(y) + 1)
        share = (high - rate) / (high - low) if high > low else 1.0
        parts.append(
            f'<rect x="{at_x}" y="{at_y}" width="{width - 1}" height="{height - 1}" '
            f'style="fill:var(--a);fill-opacity:{0.05 + 0.5 * share**2:.3f}">'
            f"<title>{escape(_words(across))} {x:g}, {escape(_words(down))} {y:g}: "
            f"{rate:.2f} %</title></rect>"
        )
        if len(columns) <= WRITTEN and height >= 16:
            parts.append(
                f'<text x="{at_x + (width - 1) / 2}" y="{at_y + height / 2 + 4}" '
                f'text-anchor="middle" style="fill:var(--fg)">{rate:.2f}</text>'
            )
    at_x = left + width * columns.index(chosen[across])
    at_y = bottom - height * (rows.index(chosen[down]) + 1)
    parts.append(
        f'<rect x="{at_x}" y="{at_y}" width="{width - 1}" height="{height - 1}" '
        'style="fill:none;stroke:var(--b);stroke-width:3"/>'
    )
    step = max(1, -(-36 // width))  # labels that do not touch
    for number, x in enumerate(columns):
        if number % step == 0:
            parts.append(
                f'<text x="{left + width * (number + 0.5)}" y="{bottom + 16}" '
                f'text-anchor="middle">{x:g}</text>'
            )
    for number, y in enumerate(rows):
        parts.append(
            f'<text x="{left - 6}" y="{bottom - height * (number + 0.5) + 4}" '
            f'text-anchor="end">{y:g}</text>'
        )
    parts.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 36}" text-anchor="middle">'
        f"{escape(_words(across))}</text>"
        f'<text transform="translate(14 {(top + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(_words(down))}</text></svg>"
    )
    note = (
        f"WER %, from {low:.2f} to {high:.2f}: the stronger the colour the fewer errors. The frame"
    )
    return Html("".join(parts) + tag("p", f"{note} is what was chosen.", "soft"))


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 6)


def _words(name: str) -> str:
    return name.replace("_", " ")
