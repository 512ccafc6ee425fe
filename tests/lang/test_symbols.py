"""Symbol tables."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.lang import SymbolTable


def test_both_directions(tmp_path):
    table = SymbolTable(["<eps>", "a", "\u00e9"])
    assert (table["a"], table[2], table.get("x"), table.get(9, "?")) == (1, "\u00e9", None, "?")
    assert "a" in table and 2 in table and "b" not in table and 3 not in table
    assert table.symbols == list(table) == ["<eps>", "a", "\u00e9"]
    assert len(table) == 3 and table.max_id == 2
    table.write(tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text() == "<eps> 0\na 1\n\u00e9 2\n"
    assert SymbolTable.read(tmp_path / "t.txt") == table


SYMBOLS = st.from_regex(r"[^\s\ufeff\ud800-\udfff]{1,4}", fullmatch=True)
IDS = st.integers(0, 99)
ROWS = st.lists(
    st.tuples(SYMBOLS, IDS), min_size=1, unique_by=(lambda row: row[0], lambda row: row[1])
)


@settings(max_examples=30)
@given(ROWS.map(dict))
def test_what_is_written_is_read(tmp_path_factory, content):
    table = SymbolTable()
    for symbol, number in content.items():
        table.add(symbol, number)
    path = tmp_path_factory.mktemp("table") / "t.txt"
    table.write(path)
    assert SymbolTable.read(path) == table
    assert table.add("12345") == max(content.values()) + 1 == table.max_id


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a 0\nb\n", 2, "is not `symbol id`"),
        ("a 0\nb 1 2\n", 2, "is not `symbol id`"),
        ("a 0\nb x\n", 2, "is not `symbol id`"),
        ("a 0\nb -1\n", 2, "is not `symbol id`"),
        ("a 0\n\nb 1\na 2\n", 4, "symbol a stands in line 1 already"),
        ("a 0\nb 0\n", 2, "id 0 belongs to a (line 1)"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, line, words):
    path = tmp_path / "tokens.txt"
    path.write_text(content)
    with pytest.raises(NeveError) as error:
        SymbolTable.read(path)
    assert str(error.value).startswith(f"{path}:{line}: ") and words in str(error.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(NeveError, match="no such symbol table"):
        SymbolTable.read(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(NeveError, match="empty.txt: is empty"):
        SymbolTable.read(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes(b"a 0\n\xe9 1\n")
    with pytest.raises(NeveError, match="latin.txt:2: is not UTF-8"):
        SymbolTable.read(tmp_path / "latin.txt")


def test_symbols_are_unique_words():
    table = SymbolTable(["a"])
    for symbol, number in (("a", 5), ("b", 0), ("", None), ("b c", None)):
        with pytest.raises(NeveError):
            table.add(symbol, number)
    assert len(table) == 1
    assert table.add("z", 7) == 7 and table.add("y") == 8
