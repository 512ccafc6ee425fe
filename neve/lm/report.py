"""Perplexities of several texts as a table, as data, and as a page."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping

from neve.files import atomic_open
from neve.lm.perplexity import Perplexity

TOTAL = "all"  # the name of all texts together

STYLE = """:root{color-scheme:light dark}
body{margin:0 auto;padding:1rem;max-width:56rem;font:16px/1.5 system-ui,sans-serif}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .9rem .2rem 0;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}"""


def summary(result: Perplexity, most: int = 20) -> dict:
    """The figures of one text as plain data; shares are of the words, or of what is predicted."""
    predicted = max(1, result.predicted)
    return {
        "sentences": result.sentences,
        "words": result.words,
        "oov": result.oov,
        "oov_rate": result.oov / max(1, result.words),
        "log10_prob": result.log_prob,
        "perplexity": None if math.isnan(result.value) else result.value,
        "hits": [count / predicted for count in result.hits],
        "most_frequent_oov": [
            [word, count]
            for word, count in sorted(result.unknown.items(), key=lambda pair: (-pair[1], pair[0]))
        ][:most],
    }


def rows(results: Mapping[str, Perplexity]) -> list[list[str]]:
    """The table: a head, a line for each text."""
    order = max((len(result.hits) for result in results.values()), default=0)
    head = ["text", "sentences", "words", "OOV", "OOV %", "perplexity"]
    table = [[*head, *(f"{n}-gram %" for n in range(1, order + 1))]]
    for name, result in results.items():
        figures = summary(result)
        value = figures["perplexity"]
        table.append(
            [
                name,
                f"{result.sentences}",
                f"{result.words}",
                f"{result.oov}",
                f"{100 * figures['oov_rate']:.2f}",
                "-" if value is None else f"{value:.2f}",
                *(f"{100 * share:.1f}" for share in figures["hits"]),
            ]
        )
    return table


def text_report(results: Mapping[str, Perplexity], most: int = 20) -> list[str]:
    """The table and the most frequent OOV words, for a terminal."""
    table = rows(results)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in table
    ]
    texts = [result for name, result in results.items() if name != TOTAL]
    unknown = summary(sum(texts, Perplexity()), most)["most_frequent_oov"]
    if unknown:
        words = ", ".join(f"{word} {count}" for word, count in unknown)
        lines += ["", f"words that the model does not know, the most frequent: {words}"]
    return lines


def write_page(
    path: str | os.PathLike, title: str, results: Mapping[str, Perplexity], most: int = 50
) -> None:
    """The same as an HTML page that needs nothing else."""

    def table(content: list[list[str]]) -> str:
        lines = []
        for number, row in enumerate(content):
            cell = "td" if number else "th"
            cells = "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in row)
            lines.append(f"<tr>{cells}</tr>")
        return "<table>" + "\n".join(lines) + "</table>"

    parts = [f"<h1>{html.escape(title)}</h1>", table(rows(results))]
    parts.append(
        "<p>Perplexity is per word and sentence end, without the words that the model does not know"
        " (OOV). The last columns say which part of them an n-gram of that order predicted.</p>"
    )
    for name, result in results.items():
        unknown = summary(result, most)["most_frequent_oov"]
        if unknown:
            parts.append(f"<h2>OOV words of {html.escape(name)}</h2>")
            parts.append(table([["word", "count"], *([word, str(n)] for word, n in unknown)]))
    with atomic_open(path) as stream:
        stream.write(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
            f"</title><style>{STYLE}</style>\n" + "\n".join(parts) + "</html>\n"
        )
