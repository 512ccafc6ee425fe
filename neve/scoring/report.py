"""The report: one HTML file that needs nothing else, neither scripts nor anything to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from .alignment import Pair
from .analysis import Row, SplitScore
from .config import ScoringConfig
from .curves import Curves, line_chart
from .page import Html, bar, card, table, tag, write_page
from .summary import Summary
from .terms import TermCounts, all_terms
from .writers import interval_text, length_text, most_missed, percent, ranked, share


def write_report(
    path: str | Path,
    scores: Mapping[str, tuple[SplitScore, Summary]],
    config: ScoringConfig,
    *,
    title: str,
    curves: Curves | None = None,
    command: str = "",
) -> None:
    """Write the page on all scored sets, in the order of `scores`.

    `title` heads the page; `command` is what a reader would type to make it again.
    """
    body = [tag("h1", title), _overview(scores)]
    if curves is not None:
        body.append(_learning(curves))
    for number, (score, summary) in enumerate(scores.values()):
        body.append(_split(number, score, summary, config))
    notes = [
        "WER and CER count a substitution, a deletion and an insertion as one error each, over the "
        "words and characters of the reference"
        + (" (spaces between words are characters)." if config.cer_spaces else " (without spaces).")
    ]
    if config.bootstrap_samples:
        notes.append(
            f"Intervals: {100 * config.confidence_level:g} %, bootstrap over "
            f"{config.bootstrap_unit}s with {config.bootstrap_samples} samples."
        )
    footer = tag("p", " ".join(notes))
    if command:
        footer = Html(footer + tag("p", Html("Made by " + tag("code", command))))
    body.append(tag("footer", footer))
    write_page(path, title, body)


def _overview(scores: Mapping[str, tuple[SplitScore, Summary]]) -> Html:
    rows = [
        (
            Html(f'<a href="#set-{number}">{escape(name)}</a>'),
            percent(summary.words.rate),
            interval_text(summary.words_interval),
            summary.words.errors,
            summary.words.reference,
            percent(summary.characters.rate),
            percent(summary.wrong_utterances / max(summary.utterances, 1)),
        )
        for number, (name, (_, summary)) in enumerate(scores.items())
    ]
    return table(["set", "WER %", "interval", "errors", "words", "CER %", "utts wrong %"], rows)


def _learning(curves: Curves) -> Html:
    charts = [
        line_chart("loss", _train_first(curves.losses), curves.unit, log=True),
        line_chart("learning rate", {"learning rate": curves.rates}, curves.unit),
    ]
    if not any(charts):
        return Html()
    return Html(tag("h2", "Training") + tag("div", Html("".join(charts)), "charts"))


def _train_first(losses: Mapping[str, list]) -> dict[str, list]:
    return dict(sorted(losses.items(), key=lambda item: (item[0] != "train", item[0])))


def _split(number: int, score: SplitScore, summary: Summary, config: ScoringConfig) -> Html:
    words, characters = summary.words, summary.characters
    cards = [
        card(
            f"{percent(words.rate)} %",
            "word error rate",
            f"{_some(words.errors, 'error')} in {_some(words.reference, 'word')}",
            _interval_line(summary.words_interval),
            f"{words.substitutions} sub, {words.deletions} del, {words.insertions} ins",
        ),
        card(
            f"{percent(characters.rate)} %",
            "character error rate",
            f"{_some(characters.errors, 'error')} in {_some(characters.reference, 'character')}",
            _interval_line(summary.characters_interval),
            f"{characters.substitutions} sub, {characters.deletions} del, "
            f"{characters.insertions} ins",
        ),
        card(
            f"{percent(summary.wrong_utterances / max(summary.utterances, 1))} %",
            "utterances with an error",
            f"{summary.wrong_utterances} of {summary.utterances}",
        ),
        card(length_text(summary.seconds), "of speech", _some(summary.utterances, "utterance")),
    ]
    if summary.terms:
        total = all_terms(summary.terms)
        cards.append(
            card(
                f"{share(total.recall)} %",
                "recall of the listed terms",
                f"{total.correct} of {total.reference} said",
                f"precision {share(total.precision)} %, {total.hypothesis} recognised",
            )
        )
    parts = [
        Html(f'<h2 id="set-{number}">{escape(score.split)}</h2>'),
        tag("div", Html("".join(cards)), "cards"),
    ]
    if score.skipped:
        parts.append(
            tag("p", f"{len(score.skipped)} utterances without a reference were left out.", "soft")
        )
    if summary.cost is not None:
        parts.append(tag("p", f"Decoding: {summary.cost.line()}.", "soft"))
    if summary.checked:
        parts.append(tag("p", summary.checked + ".", "soft"))
    parts += [_breakdown(name, rows) for name, rows in summary.breakdowns.items()]
    if summary.terms:
        parts.append(_terms(summary.terms))
    parts.append(_confusions(score, config.top_confusions))
    parts.append(_recall(score, config.top_confusions))
    parts.append(_calibration(summary))
    parts.append(_worst(score, config.worst_utterances))
    return Html("\n".join(part for part in parts if part))


def _breakdown(name: str, rows: Sequence[Row], most_rows: int = 500) -> Html:
    title = f"By {name}"
    if len(rows) > 12:
        title += f" ({len(rows)} rows)"
    if len(rows) > most_rows:
        title = f"By {name} ({most_rows} of {len(rows)} rows, those with most errors)"
        rows = sorted(rows, key=lambda row: (-row.words.errors, row.value))[:most_rows]
    most = max((row.words.rate for row in rows), default=0.0)
    cells = table(
        [name, "WER %", "", "errors", "words", "sub", "del", "ins", "CER %", "utts", "speech"],
        [
            (
                row.value,
                percent(row.words.rate),
                bar(row.words.rate / most if most else 0.0),
                row.words.errors,
                row.words.reference,
                row.words.substitutions,
                row.words.deletions,
                row.words.insertions,
                percent(row.characters.rate),
                row.utterances,
                length_text(row.seconds),
            )
            for row in rows
        ],
    )
    if len(rows) > 12:
        return Html(f"<details><summary>{escape(title)}</summary>{cells}</details>")
    return Html(tag("h3", title) + cells)


def _confusions(score: SplitScore, top: int) -> Html:
    substitutions, deletions, insertions = score.confusions()
    tables = [
        ("Substitutions", ["recognised as", "count"],
         [(Html(f"{escape(r)} → {escape(h)}"), n) for (r, h), n in ranked(substitutions)]),
        ("Deletions", ["missed", "count"], ranked(deletions)),
        ("Insertions", ["added", "count"], ranked(insertions)),
    ]  # fmt: skip
    parts = [
        tag("div", Html(tag("h3", _shown(title, rows, top)) + _folded(header, rows[:top])))
        for title, header, rows in tables
        if rows
    ]
    return tag("div", Html("".join(parts)), "columns") if parts else Html()


def _folded(header: Sequence[str], rows: Sequence[Sequence], visible: int = 12) -> Html:
    """A table of which the rows after the first few are folded away."""
    if len(rows) <= visible + 3:
        return table(header, rows)
    rest = table(header, rows[visible:])
    return Html(
        table(header, rows[:visible])
        + f"<details><summary>{len(rows) - visible} more</summary>{rest}</details>"
    )


def _recall(score: SplitScore, top: int) -> Html:
    wrong = [s for s in score.word_statistics() if s.errors]
    if not wrong:
        return Html()
    cells = table(
        ["word", "in reference", "correct", "recall %", "replaced", "missed", "said for other",
         "added"],
        [
            (
                s.word,
                s.reference,
                s.correct,
                "" if s.recall is None else f"{100 * s.recall:.1f}",
                s.substituted,
                s.deleted,
                s.false,
                s.inserted,
            )
            for s in wrong[:top]
        ],
    )  # fmt: skip
    title = escape(_shown("Words with most errors", wrong, top))
    return Html(f"<details><summary>{title}</summary>{cells}</details>")


def _terms(terms: Sequence[TermCounts]) -> Html:
    rows = [
        (t.term, share(t.recall), share(t.precision), t.reference, t.hypothesis, t.correct)
        for t in most_missed(terms)
    ]
    header = ["term", "recall %", "precision %", "said", "recognised", "correct"]
    return Html(tag("h3", f"Terms ({len(terms)} listed)") + _folded(header, rows))


def _calibration(summary: Summary) -> Html:
    told = summary.calibration
    if told is None:
        return Html()
    nce = "undefined (all words are right, or all wrong)" if told.nce is None else f"{told.nce:.3f}"
    cells = table(
        ["confidence", "words", "mean confidence", "correct %"],
        [
            (f"{low:.1f} to {low + 0.1:.1f}", n, f"{mean:.3f}", f"{100 * share:.1f}")
            for low, n, mean, share in told.bins
        ],
    )
    text = f"Normalised cross entropy {nce}; mean calibration error {100 * told.error:.1f} %."
    return Html(tag("h3", "Confidence") + tag("p", text) + cells)


def _worst(score: SplitScore, top: int) -> Html:
    utterances = score.worst(top)
    if not utterances:
        return Html()
    parts = [
        tag("h3", f"Utterances with most errors ({len(utterances)} of {score.wrong_utterances})"),
        Html(
            '<p class="soft"><del>in the reference only</del> <ins>in the hypothesis only</ins></p>'
        ),
    ]
    for u in utterances:
        facts = [
            f"{_some(u.words.errors, 'error')} in {_some(u.words.reference, 'word')}",
            f"{u.duration:.1f} s",
        ]
        if u.speaker is not None:
            facts.append(f"speaker {u.speaker}")
        parts.append(
            Html(
                f'<div class="utt"><small><b>{escape(u.id)}</b> · {escape(" · ".join(facts))}'
                f'</small><p dir="auto">{_aligned(u.pairs)}</p></div>'
            )
        )
    return Html("\n".join(parts))


def _aligned(pairs: Iterable[Pair]) -> Html:
    words = []
    for ref, hyp in pairs:
        if ref == hyp:
            words.append(escape(ref))
        else:
            words.append(
                ("" if ref is None else f"<del>{escape(ref)}</del>")
                + ("" if hyp is None else f"<ins>{escape(hyp)}</ins>")
            )
    return Html(" ".join(words))


def _shown(title: str, rows: Sequence, top: int) -> str:
    return f"{title} ({top} of {len(rows)})" if len(rows) > top else f"{title} ({len(rows)})"


def _some(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _interval_line(interval: tuple[float, float] | None) -> str:
    return f"interval {interval_text(interval)}" if interval else ""


