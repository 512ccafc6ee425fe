"""Classes in a language model: `$NAME` stands for any entry of a weighted list of phrases.

The list of `$NAME` is the file class_name.txt: a phrase on each line and, after a tab, perhaps a
weight (1 by default). Weights are made probabilities: they are 1 in sum. Phrases may have classes
in them, but not themselves.

In the graph G each arc of a class is replaced by the automaton of its list (`replace_fsa`). Arcs of
one class to the same state share one copy. The words of a list may stand elsewhere in G too, so
that one sequence of words has many paths; for G to stay determinisable, a symbol of the class is
read before the list and another one after it, which `build_LG` removes as it does #0.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neve.errors import NeveError
from neve.fsa import Fsa, FsaVec, replace_fsa
from neve.graphs.arcs import Arcs
from neve.kernels import Graph
from neve.lang import SymbolTable
from neve.lang.lines import read_lines
from neve.lm.classes import is_class, normal_words

log = logging.getLogger(__name__)

NAMED = 20  # how many words an error message names


class Entry(NamedTuple):
    """A phrase of a class; `where` is its file and line."""

    words: tuple[str, ...]
    weight: float
    where: str


def class_file(name: str) -> str:
    """The name of the file of a class: class_name.txt for $NAME."""
    return f"class_{name.removeprefix('$').lower()}.txt"


def read_class(path: str | os.PathLike, normal: Callable[[str], str] | None = None) -> list[Entry]:
    """The entries of a class file; `normal` gives the words their normal form.

    Without a tab, a last field that is a number is a weight if there is something before it; a
    phrase that ends in a number is written with a tab and a weight. Raises NeveError with file and
    line for weights that are not positive, and if there is no entry.
    """
    entries = []
    for number, line in read_lines(path, "list of a class"):
        where = f"{path}:{number}"
        phrase, tab, weight = line.partition("\t")
        if not tab:
            before, _, last = line.strip().rpartition(" ")
            if before and _is_number(last):
                phrase, weight = before, last
        value = float(weight) if _is_number(weight) else math.nan if weight.strip() else 1.0
        if not 0.0 < value < math.inf:
            raise NeveError(f"{where}: the weight {weight.strip()!r} is not a number above 0")
        words = normal_words(phrase, normal)
        if not words:
            raise NeveError(f"{where}: there is no word in {line!r} (section text)")
        entries.append(Entry(tuple(words), value, where))
    if not entries:
        raise NeveError(f"{path}: is empty; a class needs a phrase on each line")
    return entries


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", text.strip()) is not None


def read_classes(
    directory: str | os.PathLike | None,
    wanted: Iterable[str],
    normal: Callable[[str], str] | None = None,
    given: Mapping[str, Sequence[Entry]] | None = None,
) -> dict[str, list[Entry]]:
    """The lists of the classes in `wanted`, and of those that their phrases name.

    `given` are further entries of classes. Raises NeveError for a class without a file, and for
    classes that contain themselves, naming the chain.
    """
    given = given or {}
    found: dict[str, list[Entry]] = {}
    waiting = [(name, "the language model") for name in wanted]
    while waiting:
        name, user = waiting.pop()
        if name in found:
            continue
        path = Path(directory or ".") / class_file(name)
        exists = directory is not None and path.exists()
        if not exists and name not in given:
            raise NeveError(
                f"{path}: there is no such list, but {user} has the class {name}; write a phrase "
                "of it on each line, or name the directory of the lists in graph.classes"
            )
        entries = read_class(path, normal) if exists else []
        found[name] = [*entries, *given.get(name, ())]
        waiting += [(w, e.where) for e in found[name] for w in e.words if is_class(w)]
    ordered(found)
    return found


def ordered(classes: Mapping[str, Sequence[Entry]]) -> list[str]:
    """The classes in an order in which each comes after those in its phrases.

    Raises NeveError that names the chain if a class contains itself.
    """
    done: list[str] = []
    finished: set[str] = set()
    for first in sorted(classes):
        stack: list[tuple[str, list[tuple[str, str]]]] = []

        def enter(name, stack=stack):
            inner = {w: e.where for e in classes[name] for w in e.words if is_class(w)}
            stack.append((name, sorted(inner.items())))

        if first not in finished:
            enter(first)
        while stack:
            name, inner = stack[-1]
            if not inner:
                stack.pop()
                if name not in finished:
                    finished.add(name)
                    done.append(name)
                continue
            other, where = inner.pop()
            chain = [name for name, _ in stack]
            if other in chain:
                loop = " -> ".join([*chain[chain.index(other) :], other])
                raise NeveError(f"{where}: a class must not contain itself: {loop}")
            if other not in finished:
                enter(other)
    return done


def expand_classes(
    G: Graph,
    words: SymbolTable,
    class_ids: Mapping[str, int],
    classes: Mapping[str, Sequence[Entry]],
) -> Graph:
    """G with each arc of a class replaced by its list.

    Args:
        G: a word graph; arcs labelled class_ids[name] stand for a class.
        words: the words of the lists, as in words.txt; their ids are below all of class_ids.
        class_ids: consecutive ids of all classes.
        classes: their lists.

    Labels of the result that are above those of `class_ids` are the symbols before and after lists;
    they are disambiguation symbols. Raises NeveError that names file and line for words that
    `words` lacks.
    """
    if not class_ids:
        return G
    _check_words(classes, words)
    first = min(class_ids.values())
    if sorted(class_ids.values()) != list(range(first, first + len(class_ids))):
        raise ValueError("class_ids must be consecutive numbers")
    ends = first + len(class_ids)  # the symbol after a list; then those before them
    automata: dict[str, Fsa] = {}
    nothing = Fsa.from_graph(Arcs.listed(2, [(0, 1, -1, -1, 0.0)]).graph())
    names = sorted(class_ids, key=class_ids.__getitem__)

    def replaced(graph: Graph) -> Graph:
        graph = _shared(graph, class_ids, ends)
        if not np.any((graph.labels >= first) & (graph.labels < ends)):
            return graph
        lists = FsaVec([automata.get(name, nothing) for name in names])
        return replace_fsa(lists, Fsa.from_graph(graph), first).to_graph()

    for name in ordered(classes):
        if name in class_ids:
            graph = replaced(_trie(classes[name], words, class_ids, ends))
            automata[name] = Fsa.from_graph(graph)
            log.info("%d phrases of %s: %d arcs", len(classes[name]), name, graph.num_arcs)
    return replaced(G)


def _check_words(classes: Mapping[str, Sequence[Entry]], words: SymbolTable) -> None:
    missing = [
        f"{entry.where}: {word}"
        for entries in classes.values()
        for entry in entries
        for word in entry.words
        if not is_class(word) and (word not in words or words[word] >= words["#0"])
    ]
    if missing:
        more = f"\n... and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise NeveError(
            "words of classes that are not in the lexicon:\n"
            + "\n".join(missing[:NAMED])
            + more
            + "\nadd them with pronunciations (`neve graph --add-words FILE --add-words-prob 0`), "
            "or remove the lines"
        )


def _trie(
    entries: Sequence[Entry], words: SymbolTable, class_ids: Mapping[str, int], end: int
) -> Graph:
    """The phrases of a class, those that begin alike sharing states; after each the label `end`."""
    total = sum(entry.weight for entry in entries)
    states: dict[tuple[int, int], int] = {}
    weights: dict[int, float] = {}
    rows: list[tuple[int, int, int, int, float]] = []
    free = 1
    for entry in entries:
        state = 0
        for word in entry.words:
            label = class_ids[word] if is_class(word) else words[word]
            if (state, label) not in states:
                states[state, label] = free
                rows.append((state, free, label, 0 if is_class(word) else label, 0.0))
                free += 1
            state = states[state, label]
        weights[state] = weights.get(state, 0.0) + entry.weight
    rows += [(state, free, end, 0, math.log(w / total)) for state, w in weights.items()]
    rows.append((free, free + 1, -1, -1, 0.0))
    return Arcs.listed(free + 2, rows).graph()


def _shared(graph: Graph, class_ids: Mapping[str, int], ends: int) -> Graph:
    """Arcs of a class to one state share what follows: the class's symbol, then one arc of it."""
    arcs = Arcs.of(graph)
    first = min(class_ids.values())
    places = np.flatnonzero((arcs.labels >= first) & (arcs.labels < ends))
    if not len(places):
        return graph
    keys = np.stack((arcs.labels[places], arcs.dst[places]), axis=1)
    pairs, which = np.unique(keys, axis=0, return_inverse=True)
    new = arcs.num_states - 1 + np.arange(len(pairs))
    rows = [
        (state, dst, label, 0, 0.0) for state, (label, dst) in zip(new.tolist(), pairs.tolist())
    ]
    dst, labels, outputs = arcs.dst.copy(), arcs.labels.copy(), arcs.outputs.copy()
    result = Arcs(arcs.num_states, arcs.src, dst, labels, outputs, arcs.scores)
    result = result.with_rows(rows, len(pairs))
    result.dst[places] = new[which.reshape(-1)]
    result.outputs[places] = 0
    result.labels[places] = ends + 1 + arcs.labels[places] - first
    return result.graph()
