"""HTML that needs nothing else: the style of all pages, tables, cards; text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from neve.files import atomic_open


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


def write_page(path: str | Path, title: str, body: Iterable[str]) -> None:
    """Write a page of these parts, which are HTML."""
    with atomic_open(path) as f:
        f.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
            f"{tag('title', title)}\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        )
        f.write("\n".join(part for part in body if part))
        f.write("\n</body>\n</html>\n")


def card(figure: str, name: str, *lines: str) -> Html:
    """A figure with its name, and what else is to be said of it."""
    spans = "".join(tag("span", line) for line in (name, *lines) if line)
    return Html(f'<div class="card"><b>{escape(figure)}</b>{spans}</div>')


def bar(share: float) -> Html:
    """A bar of this share of the longest one."""
    return Html(f'<span class="bar" style="width:{5 * min(share, 1.0):.2f}em"></span>')


def table(header: Sequence[str], rows: Sequence[Sequence]) -> Html:
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
    text = str(cell).lstrip("-\N{MINUS SIGN}")  # nothing but a dash: there is no figure
    return isinstance(cell, (int, float)) or not text or text[0].isdigit()


def _text(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value))


def tag(name: str, content: object, css: str = "") -> Html:
    """An element of HTML."""
    attribute = f' class="{css}"' if css else ""
    return Html(f"<{name}{attribute}>{_text(content)}</{name}>")
