"""The word graph G that a configuration asks for: n-gram or grammar, classes, added words."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.graphs.agreement import check_ids
from neve.graphs.build import build_G
from neve.graphs.classes import Entry, expand_classes, read_classes
from neve.graphs.config import GraphConfig
from neve.graphs.new_words import PHRASES, NewWords, extend_G, relabelled, unigram_state
from neve.kernels import Graph
from neve.lang import SymbolTable
from neve.lang.lines import read_lines
from neve.lm.classes import is_class

Normal = Callable[[str], str]


def make_G(
    lang_dir: str | os.PathLike,
    lm_dir: str | os.PathLike | None,
    config: GraphConfig,
    *,
    normal: Normal | None = None,
    new: NewWords | None = None,
    old_words: str | os.PathLike | None = None,
) -> Graph:
    """G for the words of a lang directory.

    Args:
        lang_dir: its words.txt has the ids of G's words; the extended one if words are added.
        lm_dir: has G.fst.txt, and for classes lm.arpa; not needed if config.grammar is set.
        config: the `graph` section; lm_scale is not heeded.
        normal: gives words of classes and grammars their normal form.
        new: words to add.
        old_words: the words.txt with which G.fst.txt was made, where it is another.

    Raises NeveError for files that are missing or do not fit together, naming them.
    """
    words = SymbolTable.read(Path(lang_dir) / "words.txt")
    added = class_of_added(config, new)
    lines = [] if new is None or added else new.lines
    if config.grammar:
        from neve.graphs.jsgf import read_grammar

        if lines and config.add_words_prob not in ("unk", "0"):
            raise NeveError("graph.grammar: words that are added have no probability of their own")
        grammar = read_grammar(config.grammar, normal=normal)
        class_ids = {name: words.max_id + 1 + i for i, name in enumerate(grammar.classes)}
        G = grammar.graph(words, class_ids)
        lines = []
    elif config.classes or added:
        G, class_ids = _class_G(Path(_needed(lm_dir)) / "lm.arpa", words)
    else:
        path = Path(_needed(lm_dir)) / "G.fst.txt"
        _no_classes(path.with_name("lm.arpa"), words)
        G, class_ids = build_G(path), {}
        if old_words is not None:
            G = relabelled(G, SymbolTable.read(old_words), words)
        else:
            check_ids(G, {word: words[word] for word in words}, path)
    lists: dict[str, list[Entry]] = {}
    if class_ids:
        lists = read_classes(config.classes or None, class_ids, normal, added)
        class_ids = _numbered(G, words, class_ids, lists)
    if lines:
        label = words.max_id + 1 + len(class_ids)
        G, phrases = extend_G(G, words, lines, _probability(config, G, words, lm_dir), label)
        if phrases:
            lists[PHRASES], class_ids = phrases, {**class_ids, PHRASES: label}
    return expand_classes(G, words, class_ids, lists)


def _needed(lm_dir):
    if lm_dir is None:
        raise NeveError("graph.kind HLG or LG needs a language model; build it first (stage 4)")
    return lm_dir


def class_of_added(config: GraphConfig, new: NewWords | None) -> dict[str, list[Entry]]:
    """The added words as entries of the class that config.add_words_prob names, if it does."""
    if new is None or not is_class(config.add_words_prob):
        return {}
    return {config.add_words_prob: new.lines}


def _class_G(arpa: Path, words: SymbolTable) -> tuple[Graph, dict[str, int]]:
    """G of an ARPA file, and the ids that the classes have in it, after those of `words`."""
    from neve.lm import arpa_to_fst

    names = [name for name in arpa_classes(arpa) if name not in words]
    table = SymbolTable()
    for word in words:
        table.add(word, words[word])
    ids = {name: table.add(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="neve") as scratch:
        table.write(Path(scratch) / "words.txt")
        arpa_to_fst(arpa, Path(scratch) / "words.txt", Path(scratch) / "G.fst.txt")
        return build_G(Path(scratch) / "G.fst.txt"), ids


def _numbered(G, words, class_ids, lists) -> dict[str, int]:
    """Ids of all classes: those of G keep theirs, those in lists alone get the next."""
    free = words.max_id + 1 + len(class_ids)
    inner = sorted(set(lists) - set(class_ids))
    return {**class_ids, **{name: free + i for i, name in enumerate(inner)}}


def arpa_classes(arpa: str | os.PathLike) -> list[str]:
    """The classes among the words of an ARPA file, sorted."""
    return sorted(word for word, _ in _unigrams(arpa) if is_class(word))


def _unigrams(arpa: str | os.PathLike):
    """(word, log10 probability) of the 1-grams of an ARPA file."""
    inside = False
    for number, line in read_lines(arpa, "ARPA file (stage 4 makes it)"):
        if line.startswith("\\"):
            if inside:
                return
            inside = line.strip() == "\\1-grams:"
        elif inside:
            fields = line.split()
            try:
                yield fields[1], float(fields[0])
            except (IndexError, ValueError):
                raise NeveError(f"{arpa}:{number}: {line!r} is no 1-gram") from None


def _no_classes(arpa: Path, words: SymbolTable) -> None:
    names = [x for x in arpa_classes(arpa) if x not in words] if arpa.exists() else []
    if names:
        raise NeveError(
            f"{arpa}: the model has the class {names[0]}; name the directory of the lists of its "
            "classes in graph.classes"
        )


def _probability(config: GraphConfig, G: Graph, words: SymbolTable, lm_dir) -> float | str:
    """What config.add_words_prob says: a probability or a word."""
    value = config.add_words_prob
    try:
        return float(value)
    except ValueError:
        if value != "unk":
            return value
    arpa = Path(_needed(lm_dir)) / "lm.arpa"
    if arpa.exists():
        for word, log_prob in _unigrams(arpa):
            if word in ("<unk>", "<UNK>") and log_prob > -99:
                return 10.0**log_prob
    # without it, as likely as the rarest word
    state = unigram_state(G, words["#0"])
    arcs = slice(G.row_splits[state], G.row_splits[state + 1])
    spoken = (G.labels[arcs] > 0) & (G.labels[arcs] < words["#0"])
    if not spoken.any():
        raise NeveError("graph.add_words_prob is unk, but G has no words without context")
    return float(np.exp(G.scores[arcs][spoken].min()))
