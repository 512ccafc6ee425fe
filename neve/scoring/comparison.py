"""Several systems held against the first of them: one table in RESULTS.md, and one page.

What it shows is what the summaries of the scored decodings say, all seeds of a system together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neve.errors import ConfigError
from neve.results import read_results
from neve.text import TextConfig

from .alignment import Counts
from .analysis import SplitScore, score_results
from .bootstrap import compare_systems
from .config import ScoringConfig
from .page import Html, table, tag, write_page
from .results_md import Experiment, markdown_table
from .summary import Summary
from .terms import TermCounts, all_terms
from .writers import interval_text, percent, share


@dataclass(frozen=True)
class Row:
    """One system on one set: `words` and `terms` summed over its seeds, `seeds` how many.

    reduction: of the word error rate, as a share of the first system's; None for the first.
    better: the share of bootstrap samples in which it makes fewer errors than the first, if each
    has one seed.
    """

    name: str
    system: str
    words: Counts
    interval: tuple[float, float] | None
    terms: TermCounts | None
    seeds: int
    reduction: float | None
    better: float | None


def compare(
    config: ScoringConfig, experiments: Sequence[Experiment], text: TextConfig | None = None
) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of `config.compare` for each set that all systems have, and what is still missing.

    Args:
        config: the `scoring` section.
        experiments: all that were scored (`find_experiments`).
        text: the normal form of references with which they were.

    Returns:
        {set: rows}, and the systems of `config.compare` that have not been scored; if there are
        any, there are no rows.

    Raises ConfigError for a system that is not written tag/decoding.
    """
    systems: dict[str, list[Experiment]] = {}
    for name, system in config.compare.items():
        tag, slash, decoding = system.partition("/")
        if not (tag and slash and decoding):
            raise ConfigError(
                f"scoring.compare: {name} is {system!r}; write it as tag/decoding, e.g. ctc/hlg"
            )
        systems[name] = [e for e in experiments if (e.tag, e.decoding) == (tag, decoding)]
    missing = [config.compare[name] for name, found in systems.items() if not found]
    if missing or not systems:
        return {}, missing
    sets = set.intersection(*(set(e.summaries) for members in systems.values() for e in members))
    return {split: _rows(config, systems, split, text) for split in sorted(sets)}, []


def _rows(
    config: ScoringConfig,
    systems: Mapping[str, list[Experiment]],
    split: str,
    text: TextConfig | None,
) -> list[Row]:
    rows: list[Row] = []
    first: SplitScore | None = None
    alone = all(len(members) == 1 for members in systems.values())
    for name, members in systems.items():
        summaries = [member.summaries[split] for member in members]
        words = sum((s.words for s in summaries), Counts())
        better = reduction = None
        scored = _scored(members[0], split, config, text) if alone else None
        if not rows:
            first = scored
        else:
            rate = rows[0].words.rate
            reduction = 1.0 - words.rate / rate if rate else None
            if first is not None and scored is not None:
                better = compare_systems(first, scored, config).probability_of_improvement
        rows.append(
            Row(
                name=name,
                system=config.compare[name],
                words=words,
                interval=summaries[0].words_interval if len(summaries) == 1 else None,
                terms=_terms(summaries),
                seeds=len(members),
                reduction=reduction,
                better=better,
            )
        )
    return rows


def _terms(summaries: Sequence[Summary]) -> TermCounts | None:
    if any(not s.terms for s in summaries):
        return None
    return all_terms(all_terms(s.terms) for s in summaries)


def _scored(
    member: Experiment, split: str, config: ScoringConfig, text: TextConfig | None
) -> SplitScore | None:
    """The utterances of a decoding; None where its results are no longer there."""
    path = Path(member.directory) / f"decode_{member.decoding}" / f"hyps-{split}.jsonl"
    return score_results(split, read_results(path), config, text) if path.exists() else None


def table_of(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and cells of the rows of one set, as text."""
    terms = any(row.terms for row in rows)
    header = ("system", "errors / words", "WER %", "interval", "relative WER reduction %")
    header += ("better in",)
    header += ("terms found", "recall %", "precision %") if terms else ()
    cells = []
    for row in rows:
        cell = (
            row.name,
            f"{row.words.errors} / {row.words.reference}",
            percent(row.words.rate),
            interval_text(row.interval) or "-",
            "-" if row.reduction is None else f"{100 * row.reduction:.1f}",
            "-" if row.better is None else f"{100 * row.better:.1f} %",
        )
        if terms:
            told = row.terms or TermCounts("")
            cell += (
                f"{told.correct} / {told.reference}",
                share(told.recall),
                share(told.precision),
            )
        cells.append(cell)
    return header, cells


def about(rows: Sequence[Row]) -> str:
    """What the columns are, in a sentence or two."""
    text = (
        "Relative WER reduction: how much of the word error rate of the first row, "
        f"{rows[0].name}, is gone; better in: the share of paired bootstrap samples in which the "
        "row has fewer errors."
    )
    if any(row.terms for row in rows):
        text += " Terms: the listed ones, each place where one was said."
    seeds = {row.seeds for row in rows}
    if seeds != {1}:
        text += " Counts are sums over the seeds: " + ", ".join(
            f"{row.name} {row.seeds}" for row in rows
        )
        text += "."
    return text


def markdown(compared: Mapping[str, Sequence[Row]]) -> list[str]:
    """The lines of RESULTS.md: a table for each set."""
    lines = []
    for split, rows in compared.items():
        lines += [f"## Compared on {split}", "", *markdown_table(*table_of(rows)), ""]
        lines += [about(rows), ""]
    return lines


def write_comparison(
    path: str | Path, compared: Mapping[str, Sequence[Row]], *, title: str, command: str = ""
) -> None:
    """The page: a table for each set, and what each row is; `command` made it."""
    body = [tag("h1", title)]
    for split, rows in compared.items():
        reports = [(row.name, row.system) for row in rows]
        body += [
            tag("h2", split),
            table(*table_of(rows)),
            tag("p", about(rows), "soft"),
            tag("h3", "Rows"),
            table(["system", "tag/decoding"], reports),
        ]
    if command:
        body.append(tag("footer", Html("Made by " + tag("code", command))))
    write_page(path, title, body)
