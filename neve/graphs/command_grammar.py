"""Command grammars as word graphs G.

G is a proper model: alternatives are equally likely or as their weights say, an optional part is
said half the time, and so is each further repetition. A rule may end with itself, which repeats it;
other recursion is no regular language and is refused. Of the ways to say one sentence the likeliest
counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterator, Mapping

import numpy as np

from neve.errors import NeveError
from neve.fsa import Fsa, connect, determinize, remove_epsilon
from neve.graphs.arcs import Arcs
from neve.kernels import Graph
from neve.lang import SymbolTable
from neve.lm.classes import is_class

HALF = math.log(0.5)
NULL, VOID = "NULL", "VOID"

# Expansions: a node is (kind, content, position):
#   word: the word; rule: its name; sequence: nodes; choice: (weight, node) pairs;
#   optional, star, plus: a node
Node = tuple[str, object, int]


class Source:
    """The text of a file, and places in it."""

    def __init__(self, path: str | os.PathLike, text: str):
        self.path, self.text = path, text

    def where(self, at: int) -> str:
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        return f"{self.path}:{line}:{column}"


class CommandGrammar:
    """The rules of a grammar file."""

    def __init__(self, source: Source, rules: dict[str, Node], public: list[str]):
        self.source, self.rules, self.public = source, rules, public

    @property
    def classes(self) -> list[str]:
        """The classes ($NAME) among the words of the grammar, sorted."""
        nodes = (found for node in self.rules.values() for found in _all_nodes(node))
        return sorted({text for kind, text, _ in nodes if kind == "word" and is_class(text)})

    def graph(self, words: SymbolTable, class_ids: Mapping[str, int] | None = None) -> Graph:
        """G: an acceptor whose labels are ids of `words`, deterministic and without epsilons.

        Classes have the labels `class_ids`, for `expand_classes`.

        Raises NeveError with file, line and column for words that the table lacks, rules that are
        not defined, recursion other than at the end of a rule, and if no sentence can be said.
        """
        class_ids = class_ids or {}
        self.check(words, class_ids)
        builder = _Builder(self, {**{word: words[word] for word in words}, **class_ids})
        start, end = builder.state(), builder.state()
        share = -math.log(len(self.public))
        for name in self.public:
            enter = builder.state()
            builder.arc(start, enter, 0, share)
            builder.rule(name, enter, end)
        return builder.finished(start, end)

    def fail(self, at: int, message: str):
        raise NeveError(f"{self.source.where(at)}: {message}")

    def check(self, words: SymbolTable, classes: Container[str] = ()) -> None:
        """Raise NeveError for what `graph` would refuse before it begins."""
        missing = {}
        for node in self.rules.values():
            for kind, content, at in _all_nodes(node):
                if kind == "rule" and content not in self.rules and content not in (NULL, VOID):
                    self.fail(at, f"the rule <{content}> is not defined")
                if kind == "word" and content in classes:
                    continue
                if kind == "word" and (content not in words or words[content] >= words["#0"]):
                    missing.setdefault(content, at)
        if missing:
            lines = [f"{self.source.where(at)}: {word}" for word, at in missing.items()]
            raise NeveError(
                "words of the grammar that are not in the lexicon:\n"
                + "\n".join(lines[:20])
                + (f"\n... and {len(lines) - 20} more" if len(lines) > 20 else "")
                + "\nadd them with pronunciations (`neve graph --add-words FILE`), or correct them"
            )
        self._check_left_recursion()

    def _check_left_recursion(self) -> None:
        nullable: set[str] = set()
        while True:
            more = {n for n, node in self.rules.items() if _is_nullable(node, nullable)} | nullable
            if more == nullable:
                break
            nullable = more
        begins = {name: _begins(node, nullable) for name, node in self.rules.items()}
        done: set[str] = set()
        for first in self.rules:
            chain: list[str] = []
            stack = [(first, iter(begins[first]))]
            chain.append(first)
            while stack:
                name, inner = stack[-1]
                step = next(inner, None)
                if step is None:
                    stack.pop()
                    chain.pop()
                    done.add(name)
                    continue
                other, at = step
                if other in chain:
                    loop = " -> ".join(f"<{n}>" for n in [*chain[chain.index(other) :], other])
                    self.fail(at, f"left recursion: {loop}; let the rule begin with a word")
                if other in begins and other not in done:
                    chain.append(other)
                    stack.append((other, iter(begins[other])))


def _all_nodes(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        kind, content, _ = node
        if kind == "sequence":
            waiting += reversed(content)
        elif kind == "choice":
            waiting += [inner for _, inner in reversed(content)]
        elif kind in ("optional", "star", "plus"):
            waiting.append(content)


def _is_nullable(node: Node, nullable: set[str]) -> bool:
    kind, content, _ = node
    if kind == "sequence":
        return all(_is_nullable(inner, nullable) for inner in content)
    if kind == "choice":
        return any(_is_nullable(inner, nullable) for _, inner in content)
    if kind == "rule":
        return content == NULL or content in nullable
    return kind in ("optional", "star") or (kind == "plus" and _is_nullable(content, nullable))


def _begins(node: Node, nullable: set[str]) -> list[tuple[str, int]]:
    """(rule, position) of all rules that an expansion can begin with."""
    kind, content, at = node
    if kind == "rule":
        return [(content, at)]
    if kind == "choice":
        return [found for _, inner in content for found in _begins(inner, nullable)]
    if kind == "sequence":
        found = []
        for inner in content:
            found += _begins(inner, nullable)
            if not _is_nullable(inner, nullable):
                break
        return found
    return _begins(content, nullable) if kind in ("optional", "star", "plus") else []


class _Builder:
    """Arcs of the grammar as they are made; label 0 is nothing."""

    MOST, DEEP = 5_000_000, 60  # arcs, rules within rules

    def __init__(self, grammar: CommandGrammar, words: Mapping[str, int]):
        self.grammar, self.words = grammar, words
        self.rows: list[tuple[int, int, int, int, float]] = []
        self.count = 0
        self.open: list[tuple[str, int, int]] = []  # rules that are being put in: start and end

    def state(self) -> int:
        self.count += 1
        return self.count - 1

    def arc(self, src: int, dst: int, label: int = 0, score: float = 0.0) -> None:
        if len(self.rows) >= self.MOST:
            raise NeveError(
                f"the grammar has more than {self.MOST:,} arcs when its rules are put in; use a "
                "class ($NAME, graph.classes) for long lists, or fewer rules within rules"
            )
        self.rows.append((src, dst, label, label, score))

    def rule(self, name: str, src: int, dst: int, at: int = 0) -> None:
        """Put a rule in between two states."""
        if name == NULL:
            self.arc(src, dst)
        if name in (NULL, VOID):
            return
        for place, (opened, start, end) in enumerate(self.open):
            if opened == name:
                # going on to its end is all that is left to do in each of the rules since
                if all(inner_end == end for _, _, inner_end in self.open[place:]) and dst == end:
                    self.arc(src, start)
                    return
                self.grammar.fail(
                    at,
                    f"<{name}> contains itself and goes on after that, which no finite graph can "
                    "follow; a rule may only end with itself",
                )
        if len(self.open) >= self.DEEP:
            self.grammar.fail(at, f"more than {self.DEEP} rules within rules; put some together")
        self.open.append((name, src, dst))
        self.node(self.grammar.rules[name], src, dst)
        self.open.pop()

    def node(self, node: Node, src: int, dst: int) -> None:
        kind, content, at = node
        if kind == "word":
            self.arc(src, dst, self.words[content])
        elif kind == "rule":
            enter = self.state()  # a rule that repeats itself comes back here
            self.arc(src, enter)
            self.rule(content, enter, dst, at)
        elif kind == "sequence":
            for inner in content[:-1]:
                after = self.state()
                self.node(inner, src, after)
                src = after
            self.node(content[-1], src, dst)
        elif kind == "choice":
            total = sum(weight for weight, _ in content)
            for weight, inner in content:
                if weight > 0:
                    enter = self.state()
                    self.arc(src, enter, 0, math.log(weight / total))
                    self.node(inner, enter, dst)
        elif kind == "optional":
            enter = self.state()
            self.arc(src, dst, 0, HALF)
            self.arc(src, enter, 0, HALF)
            self.node(content, enter, dst)
        else:
            # leave: what is before a repetition; back: what is after it
            leave, enter, back = self.state(), self.state(), self.state()
            self.arc(src, leave if kind == "star" else enter)
            self.arc(leave, dst, 0, HALF)
            self.arc(leave, enter, 0, HALF)
            self.node(content, enter, back)
            self.arc(back, leave)

    def finished(self, start: int, end: int) -> Graph:
        last = self.count
        rows = [*self.rows, (end, last, -1, -1, 0.0)]
        if start != 0:
            raise AssertionError("the start is the first state")
        fsa = Fsa.from_graph(Arcs.listed(last + 1, rows).graph(), acceptor=True)
        fsa = connect(fsa)
        source = self.grammar.source.path
        if fsa.num_arcs == 0:
            raise NeveError(f"{source}: no sentence can be said with this grammar")
        fsa = connect(remove_epsilon(fsa))
        try:
            fsa = connect(determinize(fsa))
        except NeveError as error:
            raise NeveError(
                f"{source}: the same words can be said in too many ways, of different weights; "
                f"make repeated alternatives differ ({error})"
            ) from None
        graph = fsa.to_graph()
        if not np.any(graph.labels > 0):
            raise NeveError(f"{source}: the grammar has only the empty sentence")
        arcs = Arcs.of(graph)
        return arcs._replace(outputs=arcs.labels).graph()
