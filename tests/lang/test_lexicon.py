"""Lexicon files and disambiguation symbols."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.lang import LexiconEntry, read_lexicon, write_lexicon
from neve.lang.lexicon import add_disambiguation


def entry(text):
    word, *tokens = text.split()
    return LexiconEntry(word, tuple(tokens))


def read(tmp_path, content):
    path = tmp_path / "lexicon.txt"
    path.write_text(content)
    return read_lexicon(path)


def test_several_pronunciations_and_repeats(tmp_path):
    content = "YES Y EH S\nNO  N\tOW\nYES Y AE S\nYES Y EH S\n\n"
    entries, remarks = read(tmp_path, content)
    assert entries == [entry("YES Y EH S"), entry("YES Y AE S"), entry("NO N OW")]
    path = tmp_path / "lexicon.txt"
    assert remarks == [f"{path}:4: YES Y EH S stands in line 1 already; taken once"]
    write_lexicon(tmp_path / "again.txt", entries)
    assert read_lexicon(tmp_path / "again.txt") == (entries, [])


def test_probabilities_order_the_pronunciations(tmp_path):
    entries, _ = read(tmp_path, "A 0.3 AH\nA 1.0 EY\nB 1.0 B IY\nA .3 AE\n")
    assert entries == [entry("A EY"), entry("A AH"), entry("A AE"), entry("B B IY")]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("A EY\nB\n", 2, "B has no phones"),
        ("A 1.0 EY\nB 0.5\n", 2, "B has a probability but no phones"),
        ("A 1.0 EY\nB B IY\n", 2, "B has no probability after the word"),
        ("A EY\nB B #1\n", 2, "clashes with a disambiguation symbol"),
        ("A EY\nB B #0\n", 2, "clashes with a disambiguation symbol"),
        ("A EY\nB <eps>\n", 2, "the phone <eps> of B is reserved"),
        ("#0 EY\n", 1, "the word #0 is reserved"),
        ("<s> EY\n", 1, "the word <s> is reserved"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, line, words):
    with pytest.raises(NeveError) as error:
        read(tmp_path, content)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'lexicon.txt'}:{line}: ") and words in message


def test_an_empty_lexicon(tmp_path):
    with pytest.raises(NeveError, match="lexicon.txt: is empty"):
        read(tmp_path, "\n\n")
    with pytest.raises(NeveError, match="there is no such lexicon"):
        read_lexicon(tmp_path / "absent.txt")


def test_disambiguation_of_homophones_and_prefixes():
    words = ["RED R EH D", "READ R EH D", "READ R IY D", "A AH", "AN AH N", "RE R EH", "A EY"]
    expected = [
        "RED R EH D #1",
        "READ R EH D #2",
        "READ R IY D",
        "A AH #1",
        "AN AH N",
        "RE R EH #1",
        "A EY",
    ]
    assert add_disambiguation([*map(entry, words)]) == ([*map(entry, expected)], 2)
    assert add_disambiguation([entry("A AH")]) == ([entry("A AH")], 0)


@given(st.lists(st.text("xy", min_size=1, max_size=3), max_size=9))
def test_no_entry_is_a_prefix_of_another(spellings):
    entries = [LexiconEntry(f"w{i}", tuple(s)) for i, s in enumerate(spellings)]
    result, highest = add_disambiguation(entries)
    for (_, one), (_, other) in itertools.permutations(result, 2):
        assert one != other[: len(one)]
    used = {token for _, tokens in result for token in tokens if token.startswith("#")}
    assert used == {f"#{i}" for i in range(1, highest + 1)}
    assert [e.word for e in result] == [e.word for e in entries]
