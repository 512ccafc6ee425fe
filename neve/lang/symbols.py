"""Symbol tables: one-to-one maps between symbols and ids, as OpenFst and k2 write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang.lines import read_lines


class SymbolTable:
    """Symbols and their ids; `table["a"]` is the id of a, `table[3]` the symbol with id 3."""

    def __init__(self, symbols: Iterable[str] = ()):
        """A table that numbers `symbols` from 0."""
        self._ids: dict[str, int] = {}
        self._symbols: dict[int, str] = {}
        self._next = 0
        for symbol in symbols:
            self.add(symbol)

    def add(self, symbol: str, number: int | None = None) -> int:
        """Add `symbol` with the id `number`, or the one after the highest; returns its id.

        Raises NeveError if the symbol or the id is in use, or the symbol is not one word.
        """
        if number is None:
            number = self._next
        if not symbol or re.search(r"\s", symbol):
            raise NeveError(f"{symbol!r} cannot be a symbol: it must be one word without spaces")
        if symbol in self._ids:
            raise NeveError(f"symbol {symbol} has the id {self._ids[symbol]} already")
        if number in self._symbols:
            raise NeveError(f"id {number} belongs to {self._symbols[number]} already")
        self._ids[symbol] = number
        self._symbols[number] = symbol
        self._next = max(self._next, number + 1)
        return number

    @classmethod
    def read(cls, path: str | os.PathLike) -> SymbolTable:
        """The table in a text file with `symbol id` on each line.

        Raises NeveError with file and line for a line of another form and for a symbol or an id
        that stands twice.
        """
        return cls._parse(read_lines(path, "symbol table"), path)

    @classmethod
    def _parse(cls, text: Iterable[tuple[int, str]], source: str | os.PathLike) -> SymbolTable:
        """The table in numbered lines; `source` is what errors call the text."""
        table = cls()
        lines: dict[int, int] = {}
        for number, line in text:
            where = f"{source}:{number}"
            fields = line.split()
            if len(fields) != 2 or not re.fullmatch(r"[0-9]+", fields[1]):
                raise NeveError(f"{where}: {line!r} is not `symbol id` with an id of 0 or more")
            symbol, index = fields[0], int(fields[1])
            if symbol in table._ids:
                first = lines[table._ids[symbol]]
                raise NeveError(f"{where}: symbol {symbol} stands in line {first} already")
            if index in table._symbols:
                raise NeveError(
                    f"{where}: id {index} belongs to {table._symbols[index]} (line {lines[index]})"
                )
            table.add(symbol, index)
            lines[index] = number
        if not lines:
            raise NeveError(f"{source}: is empty; a symbol table has `symbol id` on each line")
        return table

    def write(self, path: str | os.PathLike) -> None:
        """Write `symbol id` lines in the order of the ids."""
        with atomic_open(path) as stream:
            for number in sorted(self._symbols):
                stream.write(f"{self._symbols[number]} {number}\n")

    @property
    def symbols(self) -> list[str]:
        """All symbols in the order of their ids."""
        return [self._symbols[number] for number in sorted(self._symbols)]

    @property
    def max_id(self) -> int:
        """The highest id; -1 for an empty table."""
        return self._next - 1

    def get(self, key: str | int, default=None):
        """The id of a symbol, or the symbol of an id; `default` if there is none."""
        table = self._ids if isinstance(key, str) else self._symbols
        return table.get(key, default)

    def __getitem__(self, key: str | int):
        table = self._ids if isinstance(key, str) else self._symbols
        return table[key]

    def __contains__(self, key: object) -> bool:
        return key in (self._ids if isinstance(key, str) else self._symbols)

    def __len__(self) -> int:
        return len(self._symbols)

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolTable) and self._ids == other._ids

    __hash__ = None
