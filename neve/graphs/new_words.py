"""Words and phrases added to a finished lang directory and its G, without training anything.

`read_new_words` reads the list, `extend_lang` writes a new lang directory, in which all old words
and tokens keep their ids, `extend_G` gives the new words and phrases probabilities.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neve.errors import NeveError
from neve.graphs.arcs import Arcs
from neve.graphs.classes import Entry
from neve.kernels import Graph
from neve.lang import (
    Lang,
    LexiconEntry,
    SymbolTable,
    UnknownWordError,
    make_lexicon_fst,
    write_lexicon,
)
from neve.lang.lexicon import DISAMBIG, RESERVED_WORDS, add_disambiguation, read_lexicon
from neve.lang.lines import read_lines
from neve.lang.tokenizers import UNKNOWN
from neve.lm.classes import is_class

log = logging.getLogger(__name__)

PHRASES = "$(added)"  # the class of added phrases, a name that no class of a user has
MUCH = 0.1  # a warning is given where new words have more probability than this together


class NewWords(NamedTuple):
    """What a list of new words says.

    lexicon: pronunciations or spellings to add. lines: the words of each line, one or more.
    """

    lexicon: list[LexiconEntry]
    lines: list[Entry]


def read_new_words(
    path: str | os.PathLike,
    lang: Lang,
    normal: Callable[[str], str] | None = None,
    pronounce: Callable[[str], Sequence[Sequence[str]]] | None = None,
) -> NewWords:
    """Read a list of words and phrases, one a line.

    Phones: `WORD PHONE PHONE ...` adds this pronunciation, also to a word that the lang directory
    has; a line of words none of which (after the first) is a phone is a phrase. Pieces and
    characters: each line is a word or a phrase. Words without a pronunciation get those that
    `pronounce` gives (phones), or are spelled (pieces, characters).

    Args:
        path: the list.
        lang: the lang directory that the words are added to.
        normal: gives a word its normal form.
        pronounce: phones of a word, as often as it has pronunciations; None: a word without a
            pronunciation is an error.

    Raises NeveError with file and line for phones that the model does not have, words that cannot
    be spelled, names that are reserved, and for an empty list.
    """
    tokens = {lang.tokens[index] for index in range(1, lang.num_tokens)} - {UNKNOWN}
    lexicon: dict[LexiconEntry, None] = {}
    lines: list[Entry] = []
    pronounced: set[str] = set()
    wanted: list[tuple[str, str]] = []
    for number, line in read_lines(path, "list of words"):
        where = f"{path}:{number}"
        first, *rest = line.split()
        phones = [field in tokens for field in rest] if lang.kind == "phone" else []
        if any(phones) and not all(phones):
            strange = rest[phones.index(False)]
            raise NeveError(
                f"{where}: {strange} is no phone of {lang.directory / 'tokens.txt'}, but others in "
                f"the line are: write `{first} PHONE PHONE ...`, or one phrase without phones"
            )
        named = [first] if any(phones) else [first, *rest]
        words = " ".join(normal(word) if normal else word for word in named).split()
        for word in words:
            if word in RESERVED_WORDS or DISAMBIG.fullmatch(word) or is_class(word):
                raise NeveError(f"{where}: the name {word} is reserved; remove or rename it")
        if not words:
            raise NeveError(f"{where}: there is no word in {line!r} (section text)")
        if any(phones):
            if len(words) != 1:
                raise NeveError(
                    f"{where}: {first} is {' '.join(words)!r} in normal form (section text), more "
                    "than one word; give the pronunciation of each on a line of its own"
                )
            pronounced.add(words[0])
            lexicon[LexiconEntry(words[0], tuple(rest))] = None
        lines.append(Entry(tuple(words), 1.0, where))
        wanted += [(word, where) for word in words]
    if not lines:
        raise NeveError(f"{path}: is empty; write a word or a phrase on each line")
    known = {entry.word for entry in _entries(lang)}
    for word, where in dict.fromkeys(wanted):
        if word in known or word in pronounced:
            continue
        pronounced.add(word)
        for spelled in _spelled(word, where, lang, pronounce, tokens):
            lexicon[LexiconEntry(word, tuple(spelled))] = None
    unique: dict[tuple[str, ...], Entry] = {}
    for entry in lines:
        unique.setdefault(entry.words, entry)
    return NewWords(list(lexicon), list(unique.values()))


def _spelled(word, where, lang: Lang, pronounce, tokens) -> Sequence[Sequence[str]]:
    if lang.kind != "phone":
        try:
            pieces = [lang.tokens[index] for index in lang.pronunciations(word)[0]]
        except UnknownWordError:
            pieces = [UNKNOWN]
        if UNKNOWN in pieces:
            raise NeveError(
                f"{where}: {word} has a character that the model does not know; spell it otherwise"
            )
        return [pieces]
    if pronounce is None:
        raise NeveError(f"{where}: {word} has no pronunciation; write `{word} PHONE PHONE ...`")
    try:
        spoken = pronounce(word)
    except NeveError as error:
        raise NeveError(f"{where}: {error}") from None
    for phones in spoken:
        strange = [phone for phone in phones if phone not in tokens]
        if strange:
            raise NeveError(
                f"{where}: {word} is pronounced {' '.join(phones)}, but {strange[0]} is no phone "
                f"of {lang.directory / 'tokens.txt'}; take a graph.g2p with the same phones"
            )
    return spoken


def _entries(lang: Lang) -> list[LexiconEntry]:
    return read_lexicon(lang.directory / "lexicon.txt")[0]


def extend_lang(lang: Lang, new: Sequence[LexiconEntry], out: str | os.PathLike) -> Lang:
    """Write the lang directory `out`: that of `lang` with further entries of its lexicon.

    Old words and the tokens that the model knows keep their ids; new words have those after, and
    #0, <s>, </s> and the disambiguation symbols come last again. The old directory is not touched.
    """
    old, out = lang.directory, Path(out)
    if out.resolve() == old.resolve():
        raise NeveError(f"{out}: the extended lang directory cannot be the old one")
    first = lang.words["#0"]
    words = SymbolTable()
    for symbol in lang.words:
        if lang.words[symbol] < first:
            words.add(symbol, lang.words[symbol])
    last = [symbol for symbol in lang.words if lang.words[symbol] >= first]
    for word in dict.fromkeys(entry.word for entry in new):
        if word not in words:
            words.add(word, max(first, words.max_id + 1))
    for symbol in last:
        words.add(symbol, max(first, words.max_id + 1))
    entries = list(dict.fromkeys([*_entries(lang), *new]))
    disambiguated, highest = add_disambiguation(entries)
    tokens = SymbolTable()
    for index in range(lang.num_tokens):
        tokens.add(lang.tokens[index], index)
    had = len([symbol for symbol in lang.tokens if DISAMBIG.fullmatch(symbol)])
    for number in range(max(highest + 1, had)):
        tokens.add(f"#{number}")
    out.mkdir(parents=True, exist_ok=True)
    for name in ("lang.yaml", "bpe.model", "coverage.txt"):
        if (old / name).exists():
            shutil.copyfile(old / name, out / name)
    tokens.write(out / "tokens.txt")
    words.write(out / "words.txt")
    write_lexicon(out / "lexicon.txt", entries)
    write_lexicon(out / "lexicon_disambig.txt", disambiguated)
    for name, rows in (("L", entries), ("L_disambig", disambiguated)):
        fst = make_lexicon_fst(
            rows,
            tokens,
            words,
            silence=lang.silence,
            sil_prob=lang.sil_prob,
            disambig=name == "L_disambig",
        )
        fst.save(out / f"{name}.npz")
        if (old / f"{name}.pt").exists():
            fst.save_pt(out / f"{name}.pt")
    return Lang.load(out)


def relabelled(G: Graph, old: SymbolTable, new: SymbolTable) -> Graph:
    """G with the ids that its words have in another table.

    Raises NeveError for an id that `old` does not have.
    """
    number = np.full(old.max_id + 1, -1, np.int64)
    for symbol in old:
        number[old[symbol]] = new.get(symbol, -1)
    arcs = Arcs.of(G)
    columns = []
    for column in (arcs.labels, arcs.outputs):
        known = (column <= old.max_id) & ((column < 0) | (number[column.clip(0, old.max_id)] >= 0))
        if not known.all():
            raise NeveError(
                f"G has the word id {int(column[~known][0])}, which words.txt lacks; were G and "
                "lang directory made together? (stages 3 and 4)"
            )
        columns.append(np.where(column < 0, column, number[column.clip(0, old.max_id)]))
    return Arcs(arcs.num_states, arcs.src, arcs.dst, *columns, arcs.scores).graph()


def extend_G(
    G: Graph, words: SymbolTable, lines: Sequence[Entry], prob: float | str, phrase_label: int
) -> tuple[Graph, list[Entry]]:
    """(G with the new words, the phrases of several words, which are for the class PHRASES).

    A word that G can say already is left as it is. A new word follows the state without context,
    where backing off ends, and leads back to it.

    Args:
        G: a back-off n-gram, with arcs #0.
        words: the symbol table of the extended lang directory, whose ids G has.
        lines: words and phrases; a phrase of several words is as likely as a word.
        prob: probability of each, in the state without context; 0: they get none; or a word: each
            stands wherever this word stands, as likely as it, also in contexts.
        phrase_label: the id of the class PHRASES in the result.

    Raises NeveError for a G without a state to back off to, and a word that G does not have.
    """
    if prob == 0:
        return G, []
    arcs = Arcs.of(G)
    backoff = unigram_state(G, words["#0"])
    if isinstance(prob, str):
        like = words.get(prob, -1)
        places = np.flatnonzero((arcs.labels == like) & (like > 0))
        if not len(places) or like >= words["#0"]:
            raise NeveError(
                f"graph.add_words_prob is {prob}: the language model has no such word; give a "
                "probability, unk, or a word or $CLASS of it"
            )
        at = places[arcs.src[places] == backoff]
        score = float(arcs.scores[at].max()) if len(at) else float(arcs.scores[places].min())
        copied = [
            (int(arcs.src[i]), int(arcs.dst[i]), float(arcs.scores[i])) for i in places.tolist()
        ]
    else:
        if not 0.0 < prob <= 1.0:
            raise NeveError(f"graph.add_words_prob is {prob}: a probability is between 0 and 1")
        score = math.log(prob)
        copied = [(backoff, backoff, score)]
    has = set(arcs.labels[arcs.src == backoff].tolist())
    single = [words[e.words[0]] for e in lines if len(e.words) == 1]
    fresh = [label for label in dict.fromkeys(single) if label not in has]
    if len(fresh) < len(single):
        log.info("%d of the words are in the language model already", len(single) - len(fresh))
    phrases = [entry for entry in lines if len(entry.words) > 1]
    rows = [(s, d, label, label, x) for label in fresh for s, d, x in copied]
    if phrases:
        rows.append((backoff, backoff, phrase_label, 0, score + math.log(len(phrases))))
    mass = (len(fresh) + len(phrases)) * math.exp(score)
    tell = log.warning if mass > MUCH else log.info
    tell(
        "%d words and %d phrases added; together their probability is %.3g%s",
        len(fresh),
        len(phrases),
        mass,
        ": they may be found where others were said; give a smaller graph.add_words_prob"
        if mass > MUCH
        else "",
    )
    return (arcs.with_rows(rows).graph() if rows else G), phrases


def unigram_state(G: Graph, backoff_label: int) -> int:
    """The state of a back-off n-gram G that has no context: the one where backing off ends.

    Raises NeveError if backing off does not end, or G has words and no such state.
    """
    state, seen = 0, set()
    rows = G.row_splits
    while state not in seen:
        seen.add(state)
        arcs = np.arange(rows[state], rows[state + 1])
        back = arcs[G.labels[arcs] == backoff_label]
        if not len(back):
            loops = np.any(G.dst[arcs] == state)
            if len(seen) == 1 and not loops:
                break  # a grammar, which has no state that all words can follow
            return state
        state = int(G.dst[back[0]])
    raise NeveError(
        "G is no back-off n-gram (#0 leads to no state without context), so words cannot be added "
        "to it; add them to the grammar itself, or make G of an ARPA file (stage 4)"
    )
