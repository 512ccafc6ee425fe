"""Command grammars: JSGF, and rules one a line, as a word graph G.

JSGF is the Java Speech Grammar Format 1.0: `#JSGF V1.0;`, `grammar NAME;`, then rules
`public <name> = expansion;`. Sentences are those of the public rules. An expansion has words,
"words in quotes", <rules>, sequences, (groups), [optional parts], | alternatives, perhaps all with
/weights/, and the operators * and +. <NULL> is nothing, <VOID> cannot be said. {Tags} are read and
have no meaning here; `import` is refused. A word $NAME is a class (`neve.graphs.classes`).

A file without the #JSGF line has a rule on each line, `name = expansion`, which goes on in lines
that begin with a space; # begins a comment, and the first rule has the sentences.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neve.errors import NeveError
from neve.fsa import read_text
from neve.graphs.command_grammar import NULL, VOID, CommandGrammar, Node, Source
from neve.lang import SymbolTable
from neve.lm.classes import normal_words

DEEP = 60  # groups within groups
TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<weight>/\s*[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?\s*/)"
    r"|<(?P<rule>[^<>\s]+)>"
    r'|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    r"|\{(?P<tag>(?:[^{}\\]|\\.)*)\}"
    r"|(?P<mark>[=;|*+()\[\]])"
    r'|(?P<word>[^\s=;|*+()\[\]<>"{}/]+)',
    re.DOTALL,
)
HEADER = re.compile(r"#JSGF[ \t]+V1\.0([ \t]+[\w.:-]+){0,2}[ \t]*;")


class Token(NamedTuple):
    """kind: word, rule, weight, tag or a mark; at: position in the text."""

    kind: str
    text: str
    at: int


def read_grammar(
    path: str | os.PathLike,
    words: SymbolTable | None = None,
    normal: Callable[[str], str] | None = None,
) -> CommandGrammar:
    """Read a grammar file, JSGF or rules one a line.

    `normal` gives words their normal form, and may make several of one. With `words`, the words are
    checked at once. Raises NeveError with file, line and column for what cannot be understood.
    """
    text = read_text(Path(path)).removeprefix("\ufeff")
    source = Source(path, text)
    if text.lstrip().startswith("#JSGF"):
        parser = _Parser(source, normal)
        rules, public = parser.jsgf()
    else:
        rules, public = _plain_rules(source, normal)
    grammar = CommandGrammar(source, rules, public)
    if words is not None:
        grammar.check(words)
    return grammar


def _plain_rules(source: Source, normal) -> tuple[dict[str, Node], list[str]]:
    """Rules one a line, with their places in the whole text."""
    rules: dict[str, Node] = {}
    blocks: list[tuple[int, int]] = []
    at = 0
    for line in source.text.splitlines(keepends=True):
        bare = line.split("#", 1)[0]
        if bare.strip():
            if bare[0] in " \t" and blocks:
                blocks[-1] = (blocks[-1][0], at + len(bare))
            else:
                blocks.append((at, at + len(bare)))
        at += len(line)
    # comments become blanks, so that places stay
    clean = re.sub(r"#[^\n]*", lambda found: " " * len(found[0]), source.text)
    for begin, end in blocks:
        parser = _Parser(Source(source.path, source.text), normal, clean, begin, end)
        name, at = parser.plain_name()
        if name in rules:
            parser.fail(at, f"the rule {name} stands there already")
        rules[name] = parser.expansion()
        parser.expect_end()
    if not rules:
        raise NeveError(f"{source.path}: the grammar is empty; write `name = words` on each line")
    return rules, [next(iter(rules))]


class _Parser:
    """Reads tokens of a part of a text; places are those in the whole."""

    def __init__(self, source: Source, normal, text: str | None = None, begin=0, end=None):
        self.source, self.normal = source, normal
        self.text = source.text if text is None else text
        self.at = begin
        self.stop = len(self.text) if end is None else end
        self.next: Token | None = None
        self.depth = 0

    def fail(self, at: int, message: str):
        raise NeveError(f"{self.source.where(min(at, len(self.source.text)))}: {message}")

    def peek(self) -> Token:
        """The next token; kind "end" at the end."""
        while self.next is None:
            if self.at >= self.stop:
                return Token("end", "", self.at)
            found = TOKEN.match(self.text, self.at, self.stop)
            if found is None:
                mark = self.text[self.at]
                closing = {'"': '"', "{": "}", "<": ">", "/": "/ or */"}.get(mark)
                hint = f"; it has no {closing}" if closing else ""
                self.fail(self.at, f"{mark!r} does not belong here{hint}")
            begin, self.at = self.at, found.end()
            if found["space"] is not None:
                continue
            kind = found.lastgroup
            for name in ("weight", "rule", "quoted", "tag", "mark", "word"):
                if found[name] is not None:
                    kind = name
            text = found[kind]
            self.next = Token(text if kind == "mark" else kind, text, begin)
        return self.next

    def take(self, kind: str | None = None, what: str = "") -> Token:
        token = self.peek()
        if kind is not None and token.kind != kind:
            shown = token.text or "the end"
            self.fail(token.at, f"expected {what or kind}, found {shown}")
        self.next = None
        return token

    def jsgf(self) -> tuple[dict[str, Node], list[str]]:
        at = len(self.text) - len(self.text.lstrip())
        header = HEADER.match(self.text, at)
        if header is None:
            self.fail(at, "expected `#JSGF V1.0 [encoding [language]];`")
        self.at = header.end()
        name = self.take("word", "`grammar NAME;`")
        if name.text != "grammar":
            self.fail(name.at, f"expected `grammar NAME;`, found {name.text}")
        self.take("word", "the name of the grammar")
        self.take(";")
        rules: dict[str, Node] = {}
        public: list[str] = []
        while self.peek().kind != "end":
            token = self.take()
            is_public = token.kind == "word" and token.text == "public"
            if token.kind == "word" and token.text == "import":
                self.fail(token.at, "import is not supported; copy the rules into this file")
            if is_public:
                token = self.take("rule", "a rule name as <name>")
            elif token.kind != "rule":
                self.fail(token.at, f"expected a rule `<name> = ...;`, found {token.text}")
            if token.text in rules or token.text in (NULL, VOID):
                self.fail(token.at, f"the rule <{token.text}> is defined already")
            self.take("=", "= after the name of a rule")
            rules[token.text] = self.expansion()
            self.take(";", "; at the end of a rule")
            if is_public:
                public.append(token.text)
        if not rules:
            raise NeveError(f"{self.source.path}: the grammar is empty; it has no rule")
        if not public:
            raise NeveError(
                f"{self.source.path}: no rule is public, so there is no sentence; write `public` "
                "before a rule"
            )
        return rules, public

    def plain_name(self) -> tuple[str, int]:
        token = self.take()
        if token.kind not in ("word", "rule"):
            self.fail(token.at, f"expected `name = words`, found {token.text or 'the end'}")
        self.take("=", "= after the name of a rule")
        return token.text, token.at

    def expect_end(self) -> None:
        token = self.peek()
        if token.kind != "end":
            self.fail(token.at, f"{token.text} does not belong here")

    def expansion(self) -> Node:
        """Alternatives, until something that is no part of one."""
        at = self.peek().at
        self.depth += 1
        if self.depth > DEEP:
            self.fail(at, f"more than {DEEP} groups within groups; make rules of them")
        choices: list[tuple[float | None, Node]] = []
        while True:
            token = self.peek()
            weight = None
            if token.kind == "weight":
                weight = float(self.take().text.strip("/"))
            if choices and (weight is None) != (choices[0][0] is None):
                self.fail(token.at, "either all alternatives have a /weight/, or none")
            choices.append((weight, self.sequence()))
            if self.peek().kind != "|":
                break
            self.take()
        self.depth -= 1
        if len(choices) == 1:
            return choices[0][1]
        weights = [1.0 if weight is None else weight for weight, _ in choices]
        if sum(weights) <= 0:
            self.fail(at, "all weights are 0")
        return ("choice", [(w, node) for w, (_, node) in zip(weights, choices)], at)

    def sequence(self) -> Node:
        at = self.peek().at
        nodes: list[Node] = []
        while (node := self.item()) is not None:
            nodes.append(node)
        if not nodes:
            token = self.peek()
            self.fail(token.at, f"expected words, found {token.text or 'the end'}")
        return nodes[0] if len(nodes) == 1 else ("sequence", nodes, at)

    def item(self) -> Node | None:
        token = self.peek()
        if token.kind in ("word", "quoted"):
            node = self.words(self.take())
        elif token.kind == "rule":
            self.take()
            node = ("rule", token.text, token.at)
        elif token.kind in ("(", "["):
            self.take()
            node = self.expansion()
            close = ")" if token.kind == "(" else "]"
            self.take(close, f"{close} for the {token.kind} at {self.source.where(token.at)}")
            node = node if token.kind == "(" else ("optional", node, token.at)
        elif token.kind == "weight":
            self.fail(token.at, "a weight stands at the beginning of an alternative")
        else:
            return None
        while self.peek().kind in ("*", "+", "tag"):
            token = self.take()
            if token.kind != "tag":
                node = ("star" if token.kind == "*" else "plus", node, token.at)
        return node

    def words(self, token: Token) -> Node:
        text = re.sub(r"\\(.)", r"\1", token.text) if token.kind == "quoted" else token.text
        words = normal_words(text, self.normal)
        if not words:
            self.fail(token.at, f"{token.text!r} has no word in normal form (section text)")
        nodes = [("word", word, token.at) for word in words]
        return nodes[0] if len(nodes) == 1 else ("sequence", nodes, token.at)
