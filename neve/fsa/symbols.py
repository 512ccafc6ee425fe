"""Symbol tables under the names that k2's have."""

from __future__ import annotations

import os

from neve.lang import SymbolTable as _SymbolTable


class SymbolTable(_SymbolTable):
    """Symbols and their ids; `table["a"]` is the id of a, `table[3]` the symbol with id 3."""

    eps = "<eps>"

    @classmethod
    def from_file(cls, filename: str | os.PathLike) -> SymbolTable:
        """The table in a file with `symbol id` on each line."""
        return cls.read(filename)

    @classmethod
    def from_str(cls, s: str) -> SymbolTable:
        """The table in a text with `symbol id` on each line."""
        lines = ((i, line) for i, line in enumerate(s.splitlines(), 1) if line.strip())
        return cls._parse(lines, "text")

    def to_file(self, filename: str | os.PathLike) -> None:
        """Writes what `from_file` reads."""
        self.write(filename)

    def to_str(self) -> str:
        """What `from_str` reads."""
        return "".join(f"{symbol} {self[symbol]}\n" for symbol in self.symbols)

    @property
    def ids(self) -> list[int]:
        """All ids, rising."""
        return [self[symbol] for symbol in self.symbols]

    def merge(self, other: _SymbolTable) -> SymbolTable:
        """A table of the symbols of both; NeveError if they disagree on an id."""
        merged = type(self)()
        for table in (self, other):
            for symbol in table.symbols:
                if merged.get(symbol) != table[symbol]:
                    merged.add(symbol, table[symbol])
        return merged
