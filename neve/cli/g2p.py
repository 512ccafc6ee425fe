"""Pronounce words that the lexicon lacks, by a model of its spellings.

The model is trained on the lexicon, which takes seconds to a minute; --model keeps it in a file for
the next time. The answer is a lexicon: WORD PHONE PHONE ... on each line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from neve.errors import NeveError

USES = ("text",)


def add_arguments(parser) -> None:
    """Words, and where the model comes from."""
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="words, the first of each line; -: standard input")
    add("--lexicon", metavar="FILE", help="WORD PHONE PHONE ... on each line, to learn from")
    add("--model", metavar="FILE", help="written if --lexicon is given, else read")
    add("--nbest", type=int, default=1, metavar="N", help="pronunciations of a word (%(default)s)")
    add("--order", type=int, default=7, metavar="N", help="order of the n-gram (%(default)s)")
    add(
        "--held-out",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="only report the error rates on this share of the words, with a model of the others",
    )


def run(config, args) -> None:
    """Print pronunciations, or error rates."""
    if args.lexicon is None and (args.model is None or args.held_out):
        raise NeveError("--lexicon FILE is needed to learn from (or --model FILE, made earlier)")
    if args.file is None and not args.held_out and not (args.lexicon and args.model):
        raise NeveError("name a file of words, or - for standard input")
    if args.nbest < 1 or args.order < 1:
        raise NeveError("--nbest and --order must be 1 or more")
    from neve.lang import normal_lexicon
    from neve.lm.g2p import G2p, evaluate, hold_out
    from neve.text import normalize

    if args.lexicon is None:
        model = G2p.load(args.model)
    else:
        lexicon, _ = normal_lexicon(args.lexicon, config.text)
        if args.held_out:
            known, unseen = hold_out(lexicon, args.held_out)
            print(evaluate(G2p.train(known, args.order), unseen))
            return
        model = G2p.train(lexicon, args.order)
        if args.model:
            model.save(args.model)
    for number, word in words_of(args.file) if args.file else ():
        normal = normalize(word, config.text)
        if not normal or " " in normal:
            raise NeveError(
                f"{args.file}:{number}: {word!r} is not one word when normalised (section text), "
                f"but {normal!r}"
            )
        try:
            spoken = model(normal, args.nbest)
        except NeveError as error:
            raise NeveError(f"{args.file}:{number}: {error}") from None
        for phones, _ in spoken:
            print(normal, *phones)


def words_of(path: str):
    """(line, first word) of a file, or of standard input."""
    from neve.lang.lines import read_lines

    if path == "-":
        lines = ((n, line) for n, line in enumerate(sys.stdin, start=1) if line.strip())
    else:
        lines = read_lines(Path(path), "file of words")
    for number, line in lines:
        yield number, line.split()[0]
