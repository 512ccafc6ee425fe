"""How the unknown word is spoken in a decoding graph: as an n-gram of the lexicon's tokens says.

The n-gram (phones, pieces or characters of the words of the lexicon) takes the place of a
pronunciation, beside the one that the unknown word has in the lexicon, which training uses. It
begins and ends with a disambiguation symbol of its own and backs off with a third, so that lexicon
and grammar stay determinisable; `build_LG` removes them as it does #0. (Kaldi's
utils/lang/make_unk_lm.sh has the same for its graphs; Bazzi and Glass, "Modeling out-of-vocabulary
words for robust speech recognition", ICSLP 2000.)
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.graphs.arcs import Arcs
from neve.kernels import Graph
from neve.lang import Lang, SymbolTable
from neve.lang.tokenizers import SPECIAL

log = logging.getLogger(__name__)

END = -1
FALLBACK = (0.5, 1.0, 1.5)  # discounts where a small lexicon does not give them

Row = tuple[int, int, int, int, float]


def with_unknown(L: Graph, G: Graph, lang: Lang, score: float = 0.0) -> Graph:
    """The lexicon with disambiguation symbols, in which the unknown word is also any tokens.

    Args:
        L, G: lexicon and grammar, over the tokens and words of `lang`.
        lang: its unk_model is tokens.
        score: added whenever the unknown word is said in this way.

    Raises NeveError for an L without a loop of #0 or without the unknown word.
    """
    arcs = Arcs.of(L)
    unknown = lang.words[lang.unk_word]
    if not (G.labels == unknown).any():
        log.warning(
            "lang.unk_model: %s is not in the grammar, so that unknown words will not be found; "
            "with the n-gram of stage 4 run that again",
            lang.unk_word,
        )
        return L
    between, ends = _places(arcs, lang, unknown)
    model = token_model(lang)
    free = max(int(L.labels.max()), lang.tokens.max_id) + 1
    begin, backoff, finish = free, free + 1, free + 2
    rows, count = at_least(model, 1 if lang.kind == "bpe" else 2)
    first = arcs.num_states - 1
    added: list[Row] = [(between, first, begin, unknown, score)]
    for src, dst, label, _, weight in rows:
        if label != END:
            label = backoff if label == 0 else label
            added.append((first + src, first + dst, label, 0, weight))
        else:
            added += [(first + src, to, finish, 0, weight + leaving) for to, leaving in ends]
    log.info("%s is spoken as %d arcs between %d states", lang.unk_word, len(added), count)
    return arcs.with_rows(added, count).graph()


def _places(arcs: Arcs, lang: Lang, unknown: int) -> tuple[int, list[tuple[int, float]]]:
    """The state between words, and where the unknown word's own pronunciation ends, with scores."""
    loops = (arcs.labels == lang.tokens["#0"]) & (arcs.src == arcs.dst)
    own = np.flatnonzero(arcs.outputs == unknown)
    if not loops.any() or not len(own):
        what = "no loop of #0" if not loops.any() else f"no word {lang.unk_word}"
        raise NeveError(f"L has {what}; make the lang directory again (stage 3)")
    between = int(arcs.src[loops][0])
    ends: dict[int, float] = {}
    waiting = [(int(arcs.dst[arc]), float(arcs.scores[arc])) for arc in own]
    while waiting:
        state, score = waiting.pop()
        leaving = np.flatnonzero(arcs.src == state)
        if state != between and len(leaving) and (arcs.labels[leaving] >= lang.num_tokens).all():
            waiting += [(int(arcs.dst[i]), score + float(arcs.scores[i])) for i in leaving]
        else:
            ends[state] = score
    return between, sorted(ends.items())


def token_model(lang: Lang) -> Arcs:
    """The n-gram of the tokens of the lexicon's words: state 0 begins; label 0 backs off.

    Pieces that no word has are in it too; they share the probability of what is unseen.
    """
    from neve.lm import arpa_to_fst, estimate, write_arpa

    # a token is a word of this model, under a name that has no meaning in a language model
    spellings = [
        [f"t{index}" for index in ids]
        for word in lang.vocabulary
        for ids in lang.pronunciations(word)
    ]
    if not spellings:
        raise NeveError(f"{lang.directory}: lang.unk_model needs words in the lexicon")
    more = [] if lang.kind == "phone" else [f"t{n}" for n in range(len(SPECIAL), lang.num_tokens)]
    model = estimate(spellings, lang.unk_order, more, discount_fallback=FALLBACK)
    tokens = sorted({*more, *(name for names in spellings for name in names)})
    table = SymbolTable(["<eps>", *tokens, "#0", "<s>", "</s>"])
    with tempfile.TemporaryDirectory(prefix="neve") as scratch:
        place = Path(scratch)
        write_arpa(model, place / "lm.arpa")
        table.write(place / "words.txt")
        arpa_to_fst(place / "lm.arpa", place / "words.txt", place / "G.fst.txt", model=model)
        from neve.graphs.build import build_G

        arcs = Arcs.of(build_G(place / "G.fst.txt"))
    ids = np.array([0, *(int(name[1:]) for name in tokens), 0, END])  # #0 is 0; -1 stays
    labels = np.where(arcs.labels < 0, END, ids[arcs.labels.clip(0)])
    return arcs._replace(labels=labels, outputs=0 * labels)


def at_least(model: Arcs, least: int) -> tuple[list[Row], int]:
    """(rows, number of states) of the automaton without sequences of fewer tokens than `least`.

    Rows with label -1 end it; their target has no meaning.
    """
    order = np.argsort(model.src, kind="stable")
    columns = (model.dst, model.labels, model.scores)
    dst, labels, scores = (column[order].tolist() for column in columns)
    splits = np.searchsorted(model.src[order], np.arange(model.num_states + 1)).tolist()
    numbers = {(0, 0): 0}
    waiting, rows = [(0, 0)], []
    while waiting:
        state, read = waiting.pop()
        here = numbers[state, read]
        for arc in range(splits[state], splits[state + 1]):
            label = labels[arc]
            if label == END:
                if read == least:
                    rows.append((here, 0, END, 0, scores[arc]))
                continue
            after = (dst[arc], min(least, read + (label > 0)))
            if after not in numbers:
                numbers[after] = len(numbers)
                waiting.append(after)
            rows.append((here, numbers[after], label, 0, scores[arc]))
    return rows, len(numbers)
