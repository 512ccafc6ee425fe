"""The report: one HTML file that needs nothing else, neither scripts nor anything to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from neve.files import atomic_open

from .alignment import Pair
from .analysis import Row, SplitScore
from .config import ScoringConfig
from .curves import Curves, line_chart
from .summary import Summary
from .terms import TermCounts, all_terms
from .writers import interval_text, length_text, most_missed, percent, ranked, share


class Html(str):
    """Text that is HTML already; everything else is escaped on its way into the page."""


_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5b6673;--line:#dde2e8;--card:#f5f7f9;
--a:#1769c2;--b:#c2571a;--bad:#b3261e;--badbg:#fdeceb;--good:#1a6b34;--goodbg:#e6f4ea}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e4e8ec;--soft:#9aa6b2;--line:#323a43;
--card:#1d232a;--a:#6cb0ff;--b:#f2a062;--bad:#ff9a92;--badbg:#43211f;--good:#8fdca6;
--goodbg:#1c3a26}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:64rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:.75rem;border-top:2px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .4rem}
p{margin:.4rem 0}a{color:var(--a)}.soft{color:var(--soft)}
.cards{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));
margin:.75rem 0}
.card{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}
.card b{display:block;font-size:1.5rem;line-height:1.3}
.card span{display:block;color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);
white-space:nowrap;vertical-align:top}
th{color:var(--soft);font-weight:600}.n{text-align:right}
.bar{display:inline-block;height:.65em;background:var(--a);border-radius:2px;min-width:1px}
.columns{display:grid;gap:0 2rem;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));
align-items:start}
.charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr))}
.chart{width:100%;max-width:34rem;background:var(--card);border-radius:.5rem}
.chart text{fill:var(--soft);font-size:12px;font-family:inherit}
.chart .chart-title{fill:var(--fg);font-weight:600}.grid{stroke:var(--line)}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.line-0{stroke:var(--a)}.line-1{stroke:var(--b)}.line-2{stroke:var(--good)}
.dot-0{fill:var(--a)}.dot-1{fill:var(--b)}.dot-2{fill:var(--good)}
.chart .key-0{fill:var(--a);font-weight:600}.chart .key-1{fill:var(--b);font-weight:600}
.chart .key-2{fill:var(--good);font-weight:600}
.utt{margin:.9rem 0;overflow-wrap:anywhere}.utt small{color:var(--soft)}
.utt p{margin:.1rem 0}
del{color:var(--bad);background:var(--badbg);border-radius:.2em;padding:0 .2em}
ins{color:var(--good);background:var(--goodbg);border-radius:.2em;padding:0 .2em;
text-decoration:none;font-weight:600}
@media(max-width:30rem){th,td{padding-right:.5rem}.bar{display:none}}
details{margin:.75rem 0}summary{cursor:pointer;font-weight:600}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.5rem;font-size:.85rem;
overflow-wrap:anywhere}
"""


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
    body = [_tag("h1", title), _overview(scores)]
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
    footer = _tag("p", " ".join(notes))
    if command:
        footer = Html(footer + _tag("p", Html("Made by " + _tag("code", command))))
    body.append(_tag("footer", footer))
    with atomic_open(path) as f:
        f.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
            f"{_tag('title', title)}\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        )
        f.write("\n".join(part for part in body if part))
        f.write("\n</body>\n</html>\n")


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
    return _table(["set", "WER %", "interval", "errors", "words", "CER %", "utts wrong %"], rows)


def _learning(curves: Curves) -> Html:
    charts = [
        line_chart("loss", _train_first(curves.losses), curves.unit, log=True),
        line_chart("learning rate", {"learning rate": curves.rates}, curves.unit),
    ]
    if not any(charts):
        return Html()
    return Html(_tag("h2", "Training") + _tag("div", Html("".join(charts)), "charts"))


def _train_first(losses: Mapping[str, list]) -> dict[str, list]:
    return dict(sorted(losses.items(), key=lambda item: (item[0] != "train", item[0])))


def _split(number: int, score: SplitScore, summary: Summary, config: ScoringConfig) -> Html:
    words, characters = summary.words, summary.characters
    cards = [
        _card(
            f"{percent(words.rate)} %",
            "word error rate",
            f"{_some(words.errors, 'error')} in {_some(words.reference, 'word')}",
            _interval_line(summary.words_interval),
            f"{words.substitutions} sub, {words.deletions} del, {words.insertions} ins",
        ),
        _card(
            f"{percent(characters.rate)} %",
            "character error rate",
            f"{_some(characters.errors, 'error')} in {_some(characters.reference, 'character')}",
            _interval_line(summary.characters_interval),
            f"{characters.substitutions} sub, {characters.deletions} del, "
            f"{characters.insertions} ins",
        ),
        _card(
            f"{percent(summary.wrong_utterances / max(summary.utterances, 1))} %",
            "utterances with an error",
            f"{summary.wrong_utterances} of {summary.utterances}",
        ),
        _card(length_text(summary.seconds), "of speech", _some(summary.utterances, "utterance")),
    ]
    if summary.terms:
        total = all_terms(summary.terms)
        cards.append(
            _card(
                f"{share(total.recall)} %",
                "recall of the listed terms",
                f"{total.correct} of {total.reference} said",
                f"precision {share(total.precision)} %, {total.hypothesis} recognised",
            )
        )
    parts = [
        Html(f'<h2 id="set-{number}">{escape(score.split)}</h2>'),
        _tag("div", Html("".join(cards)), "cards"),
    ]
    if score.skipped:
        parts.append(
            _tag("p", f"{len(score.skipped)} utterances without a reference were left out.", "soft")
        )
    if summary.cost is not None:
        parts.append(_tag("p", f"Decoding: {summary.cost.line()}.", "soft"))
    if summary.checked:
        parts.append(_tag("p", summary.checked + ".", "soft"))
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
    table = _table(
        [name, "WER %", "", "errors", "words", "sub", "del", "ins", "CER %", "utts", "speech"],
        [
            (
                row.value,
                percent(row.words.rate),
                _bar(row.words.rate / most if most else 0.0),
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
        return Html(f"<details><summary>{escape(title)}</summary>{table}</details>")
    return Html(_tag("h3", title) + table)


def _confusions(score: SplitScore, top: int) -> Html:
    substitutions, deletions, insertions = score.confusions()
    tables = [
        ("Substitutions", ["recognised as", "count"],
         [(Html(f"{escape(r)} → {escape(h)}"), n) for (r, h), n in ranked(substitutions)]),
        ("Deletions", ["missed", "count"], ranked(deletions)),
        ("Insertions", ["added", "count"], ranked(insertions)),
    ]  # fmt: skip
    parts = [
        _tag("div", Html(_tag("h3", _shown(title, rows, top)) + _folded(header, rows[:top])))
        for title, header, rows in tables
        if rows
    ]
    return _tag("div", Html("".join(parts)), "columns") if parts else Html()


def _folded(header: Sequence[str], rows: Sequence[Sequence], visible: int = 12) -> Html:
    """A table of which the rows after the first few are folded away."""
    if len(rows) <= visible + 3:
        return _table(header, rows)
    rest = _table(header, rows[visible:])
    return Html(
        _table(header, rows[:visible])
        + f"<details><summary>{len(rows) - visible} more</summary>{rest}</details>"
    )


def _recall(score: SplitScore, top: int) -> Html:
    wrong = [s for s in score.word_statistics() if s.errors]
    if not wrong:
        return Html()
    table = _table(
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
    return Html(f"<details><summary>{title}</summary>{table}</details>")


def _terms(terms: Sequence[TermCounts]) -> Html:
    rows = [
        (t.term, share(t.recall), share(t.precision), t.reference, t.hypothesis, t.correct)
        for t in most_missed(terms)
    ]
    header = ["term", "recall %", "precision %", "said", "recognised", "correct"]
    return Html(_tag("h3", f"Terms ({len(terms)} listed)") + _folded(header, rows))


def _calibration(summary: Summary) -> Html:
    told = summary.calibration
    if told is None:
        return Html()
    nce = "undefined (all words are right, or all wrong)" if told.nce is None else f"{told.nce:.3f}"
    table = _table(
        ["confidence", "words", "mean confidence", "correct %"],
        [
            (f"{low:.1f} to {low + 0.1:.1f}", n, f"{mean:.3f}", f"{100 * share:.1f}")
            for low, n, mean, share in told.bins
        ],
    )
    text = f"Normalised cross entropy {nce}; mean calibration error {100 * told.error:.1f} %."
    return Html(_tag("h3", "Confidence") + _tag("p", text) + table)


def _worst(score: SplitScore, top: int) -> Html:
    utterances = score.worst(top)
    if not utterances:
        return Html()
    parts = [
        _tag("h3", f"Utterances with most errors ({len(utterances)} of {score.wrong_utterances})"),
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


def _card(figure: str, name: str, *lines: str) -> Html:
    spans = "".join(_tag("span", line) for line in (name, *lines) if line)
    return Html(f'<div class="card"><b>{escape(figure)}</b>{spans}</div>')


def _bar(share: float) -> Html:
    return Html(f'<span class="bar" style="width:{5 * min(share, 1.0):.2f}em"></span>')


def _table(header: Sequence[str], rows: Sequence[Sequence]) -> Html:
    """A table; numbers and columns that hold only figures stand to the right."""
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    classes = ["" if any(not _is_figure(cell) for cell in c) else ' class="n"' for c in columns]
    head = "".join(f"<th{c}>{escape(h)}</th>" for h, c in zip(header, classes, strict=True))
    lines = [
        "<tr>"
        + "".join(
            f'<td{c} dir="auto">{_text(cell)}</td>' if not c else f"<td{c}>{_text(cell)}</td>"
            for cell, c in zip(row, classes, strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _is_figure(cell: object) -> bool:
    if isinstance(cell, Html):
        return False
    return isinstance(cell, (int, float)) or not str(cell) or str(cell)[0].isdigit()


def _text(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value))


def _tag(name: str, content: object, css: str = "") -> Html:
    attribute = f' class="{css}"' if css else ""
    return Html(f"<{name}{attribute}>{_text(content)}</{name}>")
