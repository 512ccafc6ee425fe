"""CTM, TextGrid and Lhotse's cuts: what is written is read again."""

import pytest

from neve.decoding.alignment import Alignment
from neve.decoding.alignment_files import (
    read_ctm,
    read_textgrid,
    with_alignment,
    write_ctm,
    write_textgrid,
)
from neve.errors import NeveError
from neve.results import Word

WORDS = [Word("it's", 0.04, 0.2, 0.875), Word('"né"', 0.2, 0.36, 0.5), Word("=", 1.0, 1.08, 1.0)]


def test_ctm(tmp_path):
    path = tmp_path / "words.ctm"
    write_ctm(path, [("u1", WORDS), ("u2", [Word("no", 0.0, 0.5)])])
    assert path.read_text(encoding="utf-8").splitlines()[::3] == [
        "u1 1 0.0400 0.1600 it's 0.8750", "u2 1 0.0000 0.5000 no"
    ]  # fmt: skip
    read = read_ctm(path)
    assert read["u2"] == [Word("no", 0.0, 0.5)]
    for word, before in zip(read["u1"], WORDS, strict=True):
        assert (word.text, word.start, word.confidence) == (
            before.text, before.start, before.confidence
        )  # fmt: skip
        assert word.end == pytest.approx(before.end)
    path.write_text(";; a remark\nu1 1 0.5 x word\n")
    with pytest.raises(NeveError, match=r"words\.ctm:2: is not `utterance"):
        read_ctm(path)


def test_textgrid(tmp_path):
    path = tmp_path / "u1.TextGrid"
    write_textgrid(path, 1.2, {"words": WORDS, "tokens": []})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert "        intervals: size = 6" in lines  # with the three that are empty
    assert '            text = """né"""' in lines
    duration, tiers = read_textgrid(path)
    assert duration == 1.2 and list(tiers) == ["words", "tokens"] and tiers["tokens"] == []
    assert tiers["words"] == [Word(word.text, word.start, word.end) for word in WORDS]
    with pytest.raises(NeveError, match="b at 0.1 s overlaps"):
        write_textgrid(path, 1.0, {"w": [Word("a", 0.0, 0.2), Word("b", 0.1, 0.3)]})
    assert read_textgrid(path)[0] == 1.2  # what was there is still there
    path.write_text("hello\n")
    with pytest.raises(NeveError, match="is not a TextGrid"):
        read_textgrid(path)


def test_lhotse(tmp_path):
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    recording = Recording("r", [], 16000, 80000, 5.0, [0])
    supervision = SupervisionSegment("u1", "r", 0.0, 1.2, text="x")
    cut = MonoCut("u1", 2.0, 1.2, 0, supervisions=[supervision], recording=recording)
    aligned = with_alignment(cut, Alignment("u1", WORDS, WORDS[:1]))
    assert cut.supervisions[0].alignment is None
    CutSet.from_cuts([aligned]).to_file(tmp_path / "cuts.jsonl.gz")
    (read,) = CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    items = read.supervisions[0].alignment["word"]
    assert [(i.symbol, i.start, i.duration, i.score) for i in items] == [
        ("it's", 2.04, 0.16, 0.875), ('"né"', 2.2, 0.16, 0.5), ("=", 3.0, 0.08, 1.0)
    ]  # fmt: skip
    assert [item.symbol for item in read.supervisions[0].alignment["token"]] == ["it's"]
