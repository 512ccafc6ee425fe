"""Say how well an n-gram language model predicts texts, and which words it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from neve.config import load, option
from neve.errors import NeveError
from neve.lang.lines import read_lines
from neve.text.config import TextConfig


@dataclass
class _Root:
    text: TextConfig = option(TextConfig, "normalisation of text")


def add_arguments(parser) -> None:
    """The model, the texts, and the form of the answer."""
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+", help="text, one sentence a line (also .gz)")
    add("--lm", required=True, metavar="ARPA", help="the model (also .gz)")
    add("--ids", action="store_true", help="the first word of each line is an utterance's id")
    add(
        "--normalize",
        action="store_true",
        help="bring the text into the normal form that `neve lm` gives it; --text.KEY VALUE "
        "changes it",
    )
    add("--lang", metavar="DIR", help="take the normal form of this lang directory instead")
    add("--top", type=int, default=20, metavar="N", help="unknown words to name (%(default)s)")
    add("--json", action="store_true", help="print JSON")
    add("--page", metavar="FILE", help="write an HTML page as well")


def run_alone(args, overrides) -> None:
    """Print a line for each file, and one for all if there are several."""
    if overrides and not args.normalize:
        raise NeveError(f"{overrides[0][0]}: give --normalize to bring the text into a normal form")
    if args.lang and args.normalize:
        raise NeveError("--lang and --normalize each give the text a normal form: choose one")
    normal = load(_Root, (), overrides).text if args.normalize else None
    if args.lang:
        from neve.lang import Lang

        normal = Lang.load(args.lang).text
    from neve.lm import read_arpa
    from neve.lm.perplexity import Perplexity, perplexity
    from neve.lm.report import TOTAL, summary, text_report, write_page

    model = read_arpa(args.lm)
    results: dict[str, Perplexity] = {}
    for path in args.files:
        results[path] = perplexity(model, sentences(path, args.ids, normal))
        if not results[path].words:
            raise NeveError(f"{path}: there is not one word in this text")
    if len(results) > 1:
        results[TOTAL] = sum(results.values(), Perplexity())
    if args.page:
        write_page(args.page, f"Perplexity of {args.lm}", results)
    if args.json:
        texts = {name: summary(result, args.top) for name, result in results.items()}
        print(json.dumps({"lm": args.lm, "texts": texts}, ensure_ascii=False, indent=1))
    else:
        print("\n".join(text_report(results, args.top)))


def sentences(path: str, ids: bool, normal: TextConfig | None) -> Iterator[list[str]]:
    """The words of each line of a text."""
    from neve.text import normalize

    for _, line in read_lines(path, "text"):
        if ids:
            line = " ".join(line.split()[1:])
        yield (normalize(line, normal) if normal is not None else line).split()
