"""Whether lexicon and grammar have the same words; what one of them lacks cannot be recognised."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np

from neve.errors import NeveError, named
from neve.kernels import Graph
from neve.lang.lines import read_lines

log = logging.getLogger(__name__)

NAMED = 10  # words that a message names


def check_ids(G: Graph, words: Mapping[str, int], path: str | os.PathLike) -> None:
    """NeveError, naming `path`, the text of a G, and the line, for an id that no word has."""
    known = np.zeros(max(words.values(), default=0) + 2, bool)
    known[[0, *words.values()]] = True
    for labels in (G.labels, G.aux_values):
        strange = np.unique(labels[labels >= 0])
        strange = strange[(strange >= len(known)) | ~known[strange.clip(0, len(known) - 1)]]
        if not len(strange):
            continue
        where = f"{path}: it"  # the text may write the number in another way, as 007
        for number, line in read_lines(path, "G"):
            fields = line.split()
            if len(fields) > 2 and str(strange[0]) in fields[2:4]:
                where = f"{path}:{number}: {line!r}"
                break
        raise NeveError(
            f"{where} has the word id {strange[0]}, which words.txt lacks, as {len(strange)} ids "
            "of this G; were G and lang directory made together? (stages 3 and 4)"
        )


def tell_differences(L: Graph, G: Graph, words: Mapping[str, int], first_disambig: int) -> None:
    """Say in the log how many words lexicon or grammar lack, and which.

    Words that stand for no speech (!SIL, names in angle brackets) are not missed in a grammar.
    """
    names = {number: word for word, number in words.items()}
    spelled, listed = (
        np.unique(labels[(labels > 0) & (labels < first_disambig)])
        for labels in (L.aux_values, G.labels)
    )
    silent = np.setdiff1d(listed, spelled)
    if len(silent):
        log.warning(
            "%d of the %d words of the grammar have no pronunciation, and cannot be recognised: %s",
            len(silent),
            len(listed),
            _named(names, silent),
        )
    unheard = np.setdiff1d(spelled, listed).tolist()
    unheard = [n for n in unheard if not names[n].startswith("<") and names[n] != "!SIL"]
    if unheard:
        log.info(
            "%d of the %d words of the lexicon are not in the grammar, and cannot be recognised: "
            "%s",
            len(unheard),
            len(spelled),
            _named(names, unheard),
        )


def _named(names: Mapping[int, str], numbers) -> str:
    return named([names.get(int(number), f"id {number}") for number in numbers], NAMED)
