"""The report of stage 1: what a corpus holds and what is wrong with it, for people and programs."""

from __future__ import annotations

import html
import json
from collections import Counter
from pathlib import Path

import numpy as np

from neve.data.checks import Checked
from neve.data.config import DataConfig
from neve.data.corpus import Problem
from neve.files import atomic_open

BARS = 30  # of a histogram
LISTED = 200  # problems of a kind in the HTML report


def summarise(
    checked: dict[str, Checked], problems: list[Problem], config: DataConfig
) -> dict:
    """Plain data about every split and about how splits overlap."""
    splits = {name: describe_split(split) for name, split in checked.items()}
    for name, entry in splits.items():
        entry["dropped"] = sum(p.split == name and p.action == "dropped" for p in problems)
        entry["use"] = [
            use for use in ("train", "dev", "test") if name in getattr(config, use)
        ]
    trained = Counter()
    for name in config.train:
        trained.update(word for cut in checked[name].cuts for word in words_of(cut))
    for name, entry in splits.items():
        if name in config.train:
            continue
        words = Counter(word for cut in checked[name].cuts for word in words_of(cut))
        unseen = {word: count for word, count in words.items() if word not in trained}
        entry["words_unseen_in_training"] = sum(unseen.values())
        entry["most_frequent_unseen_words"] = [
            word for word, _ in sorted(unseen.items(), key=lambda pair: (-pair[1], pair[0]))[:20]
        ]
    speakers = {
        name: {cut.supervisions[0].speaker for cut in split.cuts}
        for name, split in checked.items()
    }
    names = list(checked)
    overlap = {
        f"{one} and {other}": len(speakers[one] & speakers[other])
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    }
    kinds = Counter((problem.action, problem.kind) for problem in problems)
    return {
        "splits": splits,
        "speakers_in_both": overlap,
        "problems": [
            {"action": action, "kind": kind, "count": count}
            for (action, kind), count in sorted(kinds.items())
        ],
    }


def words_of(cut) -> list[str]:
    """Words of a cut's transcript."""
    return cut.supervisions[0].text.split()


def describe_split(split: Checked) -> dict:
    """Plain data about one split."""
    durations = np.array([cut.duration for cut in split.cuts])
    words = Counter(word for cut in split.cuts for word in words_of(cut))
    characters = Counter("".join(cut.supervisions[0].text.replace(" ", "") for cut in split.cuts))
    rates = Counter(recording.sampling_rate for recording in split.recordings)
    speakers = Counter(cut.supervisions[0].speaker for cut in split.cuts)
    entry = {
        "utterances": len(split.cuts),
        "hours": round(float(durations.sum()) / 3600, 5),
        "speakers": len(speakers),
        "words": sum(words.values()),
        "distinct_words": len(words),
        "characters": {name: characters[name] for name in sorted(characters)},
        "sampling_rates": {str(rate): rates[rate] for rate in sorted(rates)},
    }
    if len(durations):
        counts, edges = np.histogram(durations, bins=BARS, range=(0, float(durations.max())))
        entry["duration"] = {
            "shortest": round(float(durations.min()), 3),
            "median": round(float(np.median(durations)), 3),
            "mean": round(float(durations.mean()), 3),
            "longest": round(float(durations.max()), 3),
            "histogram": {
                "edges": [round(float(edge), 4) for edge in edges],
                "counts": [int(count) for count in counts],
            },
        }
    return entry


COLUMNS = (
    ("split", lambda name, entry: name),
    ("utterances", lambda name, entry: f"{entry['utterances']}"),
    ("hours", lambda name, entry: f"{entry['hours']:.2f}"),
    ("speakers", lambda name, entry: f"{entry['speakers']}"),
    ("words", lambda name, entry: f"{entry['words']}"),
    ("distinct", lambda name, entry: f"{entry['distinct_words']}"),
    ("characters", lambda name, entry: f"{len(entry['characters'])}"),
    ("shortest", lambda name, entry: f"{entry['duration']['shortest']:.1f} s"),
    ("median", lambda name, entry: f"{entry['duration']['median']:.1f} s"),
    ("longest", lambda name, entry: f"{entry['duration']['longest']:.1f} s"),
    ("Hz", lambda name, entry: "/".join(entry["sampling_rates"])),
    ("dropped", lambda name, entry: f"{entry['dropped']}"),
)


def table_rows(summary: dict) -> list[list[str]]:
    """Header and one row for each split."""
    rows = [[title for title, _ in COLUMNS]]
    for name, entry in summary["splits"].items():
        rows.append([value(name, entry) for _, value in COLUMNS])
    return rows


def terminal_table(summary: dict) -> str:
    """The splits as an aligned table."""
    rows = table_rows(summary)
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def write_reports(summary: dict, problems: list[Problem], out: Path) -> None:
    """Write problems.txt, report.json and report.html."""
    with atomic_open(out / "problems.txt") as stream:
        for problem in problems:
            stream.write(f"{problem}\n")
    with atomic_open(out / "report.json") as stream:
        json.dump(summary, stream, indent=1, ensure_ascii=False)
        stream.write("\n")
    with atomic_open(out / "report.html") as stream:
        stream.write(html_report(summary, problems))


STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: right }
td:first-child, th:first-child, .left td { text-align: left } th { border-bottom: 2px solid #888 }
td { border-bottom: 1px solid #ddd } rect { fill: #4a7ab0 } text { font-size: 11px; fill: #555 }
figure { display: inline-block; margin: 0 1.5em 1em 0 } summary { cursor: pointer }
"""


def html_report(summary: dict, problems: list[Problem]) -> str:
    """One page without scripts or anything from elsewhere."""
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>Data report</title>",
        f"<style>{STYLE}</style></head><body><h1>Data report</h1>",
        html_table(table_rows(summary)),
        "<h2>Durations</h2>",
    ]
    for name, entry in summary["splits"].items():
        parts.append(
            f"<figure>{histogram(entry['duration'])}<figcaption>{html.escape(name)}</figcaption>"
            "</figure>"
        )
    parts.append("<h2>Overlap and coverage</h2><ul>")
    for pair, count in summary["speakers_in_both"].items():
        parts.append(f"<li>{count} speakers are in both {html.escape(pair)}</li>")
    for name, entry in summary["splits"].items():
        if "words_unseen_in_training" in entry:
            unseen = ", ".join(entry["most_frequent_unseen_words"])
            parts.append(
                f"<li>{entry['words_unseen_in_training']} of {entry['words']} words of"
                f" {html.escape(name)} do not occur in training text"
                f"{': ' + html.escape(unseen) if unseen else ''}</li>"
            )
    parts.append("</ul><h2>Characters</h2>")
    for name, entry in summary["splits"].items():
        listed = " ".join(entry["characters"])
        parts.append(f"<p>{html.escape(name)}: {html.escape(listed)}</p>")
    parts.append("<h2>Problems</h2>" if problems else "<h2>No problems were found</h2>")
    for entry in summary["problems"]:
        found = [p for p in problems if (p.action, p.kind) == (entry["action"], entry["kind"])]
        rows = [["split", "id", "detail"]]
        rows += [[p.split, p.id, p.detail] for p in found[:LISTED]]
        title = f"{entry['action']}: {entry['count']} x {entry['kind']}"
        more = len(found) - LISTED
        parts.append(
            f"<details><summary>{html.escape(title)}</summary>{html_table(rows, 'left')}"
            + (f"<p>and {more} more: see problems.txt</p>" if more > 0 else "")
            + "</details>"
        )
    parts.append("</body></html>\n")
    return "\n".join(parts)


def html_table(rows: list[list[str]], style: str = "") -> str:
    """A table whose first row is its header."""
    lines = [f"<table class='{style}'>"]
    for i, row in enumerate(rows):
        tag = "td" if i else "th"
        lines.append(
            "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
        )
    return "\n".join([*lines, "</table>"])


def histogram(duration: dict, width: int = 300, height: int = 110) -> str:
    """An inline SVG histogram of durations in seconds."""
    counts = duration["histogram"]["counts"]
    most, bar = max(counts), width / len(counts)
    shapes = [
        f"<rect x='{i * bar:.1f}' y='{height * (1 - count / most):.1f}' width='{bar - 1:.1f}'"
        f" height='{height * count / most:.1f}'><title>{count}</title></rect>"
        for i, count in enumerate(counts)
    ]
    return (
        f"<svg width='{width}' height='{height + 16}' role='img'>{''.join(shapes)}"
        f"<text x='0' y='{height + 13}'>0 s</text>"
        f"<text x='{width}' y='{height + 13}' text-anchor='end'>"
        f"{duration['histogram']['edges'][-1]:.1f} s</text></svg>"
    )
