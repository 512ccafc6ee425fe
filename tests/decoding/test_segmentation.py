"""Long recordings with wrong texts: words that are heard, how they match, where cuts are."""

import numpy as np
import pytest

from neve.decoding.biased import FILLER, BiasedDecoder, join_windows
from neve.decoding.segmentation import SegmentConfig, match_words, segment, settled
from neve.errors import ConfigError
from neve.lang import Lang, LangConfig, build_lang
from neve.results import Word

SPELLED = {
    "ONE": "W A N",
    "TWO": "T U",
    "THREE": "S R I",
    "FOUR": "F O R",
    "OH": "O",
    "NUN": "N A N",
}


@pytest.fixture(params=["", "SIL"])
def lang(tmp_path, request):
    (tmp_path / "text").write_text("u1 " + " ".join(SPELLED) + "\n")
    (tmp_path / "lexicon.txt").write_text("".join(f"{w} {s}\n" for w, s in SPELLED.items()))
    settings = LangConfig(write_pt=False, silence=request.param)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    return Lang.load(tmp_path / "lang")


def said(lang, text, pause=3):
    """(T, C) log-probabilities: of each word its tokens in two frames, then pause."""
    silence = [lang.tokens[lang.silence]] * pause if lang.silence else [0] * pause
    frames = list(silence)
    for word in text.split():
        for token in SPELLED[word].split():
            frames += [lang.tokens[token]] * 2
        frames += silence
    probs = np.full((len(frames), lang.num_tokens), 0.05 / lang.num_tokens)
    probs[np.arange(len(frames)), frames] = 0.95
    return np.log(probs).astype(np.float32)


def heard(lang, text, audio, **how):
    return BiasedDecoder(text.split(), lang, 0.1)(said(lang, audio, **how))


@pytest.mark.parametrize("pause", [0, 1, 3])
def test_a_right_text_is_heard_with_its_times(lang, pause):
    words = heard(lang, "ONE TWO THREE TWO", "ONE TWO THREE TWO", pause=pause)
    assert [word.text for word in words] == ["ONE", "TWO", "THREE", "TWO"]
    starts, time = [], pause
    for word in ("ONE", "TWO", "THREE", "TWO"):
        starts.append(time / 10)
        time += 2 * len(SPELLED[word].split()) + pause
    assert [word.start for word in words] == pytest.approx(starts)
    assert words[1].end == pytest.approx(words[1].start + 0.4)
    assert all(word.confidence == pytest.approx(0.95, abs=0.01) for word in words)


@pytest.mark.parametrize(
    ("text", "audio", "expected"),
    [
        ("ONE TWO THREE", "ONE FOUR THREE", f"ONE {FILLER} THREE"),  # another word
        ("ONE TWO THREE", "ONE TWO FOUR FOUR THREE", f"ONE TWO {FILLER} THREE"),  # words more
        ("ONE TWO FOUR THREE", "ONE THREE", "ONE THREE"),  # words fewer
        ("ONE XYZZY THREE", "ONE FOUR THREE", f"ONE {FILLER} THREE"),  # one that has no spelling
        ("ONE TWO THREE", "THREE ONE TWO", "THREE ONE TWO"),  # another order
        ("ONE", "FOUR", FILLER),
    ],
)
def test_where_text_and_speech_differ(lang, text, audio, expected):
    assert [word.text for word in heard(lang, text, audio)] == expected.split()


def test_windows_meet_where_no_word_is():
    whole = [Word(f"w{i}", 0.7 * i, 0.7 * i + 0.5) for i in range(100)]
    windows = []
    for begin in np.arange(0, 70, 25):
        # a word that the window cuts is heard as another
        inside = [w for w in whole if w.end > begin and w.start < begin + 30]
        part = [
            w if w.start >= begin and w.end <= begin + 30
            else Word("cut", max(w.start, begin), min(w.end, begin + 30)) for w in inside
        ]  # fmt: skip
        windows.append((float(begin), float(begin + 30), part))
    assert join_windows(windows) == whole


def test_matching_long_texts_finds_what_was_done_to_them():
    draw = np.random.default_rng(0)
    text = [f"w{k}" for k in draw.integers(0, 700, 6000)]
    other = list(text)
    removed = sorted(draw.choice(6000, 60, replace=False).tolist(), reverse=True)
    for place in removed:
        del other[place]
    other[3000:3000] = ["new"] * 30
    pairs = match_words(text, other)
    assert [i for i, _ in pairs if i is not None] == list(range(6000))
    assert [j for _, j in pairs if j is not None] == list(range(5970))
    same = sum(i is not None and j is not None and text[i] == other[j] for i, j in pairs)
    assert same == 5940
    strange = match_words(["a"] * 1500, ["b"] * 1500)  # no anchors: all unmatched
    assert len(strange) == 3000 and all(None in pair for pair in strange)


def spoken(*phrases, start=1.0, gap=1.0):
    """Words of half a second; between phrases `gap`."""
    words, time = [], start
    for phrase in phrases:
        for text in phrase.split():
            words.append(Word(text, time, time + 0.5))
            time += 0.5
        time += gap
    return words, time


def test_the_right_pieces_are_cut_by_hand():
    words, end = spoken("a b c d", "e x g h", "i j k l", "m n o p")
    text = "a b c d e f g h i j k l q m n o p".split()
    config = SegmentConfig(shortest=1.0, longest=8.0, pad=0.3)
    found = segment(text, words, end, config)
    pieces = [(piece.start, piece.end, " ".join(piece.words)) for piece in found.segments]
    assert pieces == [  # 0.3 s around a b c d; q lies in the pause between the other two
        (pytest.approx(0.7), pytest.approx(3.3), "a b c d"),
        (pytest.approx(6.7), pytest.approx(9.3), "i j k l"),
        (pytest.approx(9.7), pytest.approx(12.3), "m n o p"),
    ]
    parts = [(" ".join(p.text), " ".join(p.heard), p.reason.split()[0]) for p in found.left_out]
    assert parts == [("e f g h", "e x g h", "text"), ("q", "", "the")]
    assert (found.left_out[0].start, found.left_out[0].end) == (4.0, 6.0)
    config.agreement = 0.75  # an error in four words is borne; pieces become longer
    found = segment(text, words, end, config)
    assert [" ".join(p.words) for p in found.segments] == ["a b c d e f g h", "i j k l q m n o p"]
    assert [p.agreement for p in found.segments] == [pytest.approx(7 / 8), pytest.approx(8 / 9)]
    assert found.left_out == []
    found = segment(text, words, end, config, {"q"})  # a word that cannot be aligned
    assert [" ".join(p.words) for p in found.segments] == ["a b c d e f g h", "i j k l", "m n o p"]
    assert [part.reason for part in found.left_out] == ["no pronunciation for q"]


def test_pieces_have_a_length():
    words, end = spoken("a b", "c d e f g h i j k l", "m n o p")
    text = [word.text for word in words]
    found = segment(text, words, end, SegmentConfig(shortest=2.0, longest=4.0))
    assert [" ".join(p.words) for p in found.segments] == ["m n o p"]
    assert [p.reason.split(",")[0] for p in found.left_out] == ["agrees"]
    found = segment(text, words, end, SegmentConfig(shortest=2.0, longest=20.0))
    assert [p.words for p in found.segments] == [text] and found.left_out == []
    assert segment(["a"], [], 5.0, SegmentConfig()).left_out[0].reason.endswith("not heard")
    with pytest.raises(ConfigError, match="there can be none"):
        SegmentConfig(shortest=5, longest=4)
    with pytest.raises(ConfigError, match="agreement of 0"):
        SegmentConfig(agreement=0)


def test_what_only_one_side_has_is_put_at_pauses():
    words, end = spoken("a b", "a c a b", "a d e")
    text = "a b a d e".split()
    config = SegmentConfig(shortest=0.5, longest=9.0)
    for matches in (
        [(0, 0), (1, 1), (None, 2), (None, 3), (None, 4), (None, 5), (2, 6), (3, 7), (4, 8)],
        [(0, 0), (1, 1), (2, 2), (None, 3), (None, 4), (None, 5), (None, 6), (3, 7), (4, 8)],
        [(0, 0), (None, 1), (None, 2), (None, 3), (None, 4), (1, 5), (2, 6), (3, 7), (4, 8)],
    ):
        found = settled(matches, text, words)
        assert [pair for pair in found if None not in pair] == [
            (0, 0), (1, 1), (2, 6), (3, 7), (4, 8)
        ]  # fmt: skip
        assert [j for _, j in found] == list(range(9))
    found = segment(text, words, end, config)
    assert [" ".join(p.words) for p in found.segments] == ["a b", "a d e"]
    assert [p.heard for p in found.left_out] == [["a", "c", "a", "b"]]
    words, end = spoken("x y", "a b c")  # the text says a b twice
    text = "x y a b a b c".split()
    for matches in (
        [(0, 0), (1, 1), (2, 2), (3, 3), (4, None), (5, None), (6, 4)],
        [(0, 0), (1, 1), (2, 2), (3, None), (4, None), (5, 3), (6, 4)],
    ):
        found = settled(matches, text, words)
        assert found == [(0, 0), (1, 1), (2, None), (3, None), (4, 2), (5, 3), (6, 4)]
