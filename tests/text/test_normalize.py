"""The normal form of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neve.text import TextConfig, normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  hello,\tworld \n", "HELLO WORLD"),
        ("Don't stop!", "DON'T STOP"),
        ("Don\u2019t", "DON'T"),
        ("rock 'n' roll - 'tis -- '", "ROCK 'N' ROLL 'TIS"),
        ("mother-in-law", "MOTHER IN LAW"),
        ("cafe\u0301 na\u00efve", "CAF\u00c9 NA\u00cfVE"),
        ("<unk> a <Noise>", "<unk> A <Noise>"),
        ("a<b", "A B"),
        ("soft\u00adhyphen \ufeffbom zero\u200bwidth", "SOFTHYPHEN BOM ZEROWIDTH"),
        ("stra\u00dfe", "STRASSE"),
        ("a\u00a0b\u3000c", "A B C"),
        ("$5 + 3% = \u20ac2", "5 3 2"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d \u4e16\u754c"),
        ("...", ""),
        ("", ""),
    ],
)
def test_upper(text, expected):
    assert normalize(text, TextConfig()) == expected


def test_options():
    text = "The U.S. state-of-the-art \uff21"
    assert normalize(text, TextConfig(case="lower")) == "the u s state of the art \uff41"
    assert normalize(text, TextConfig(case="keep", keep="-")) == "The U S state-of-the-art \uff21"
    kept = TextConfig(case="keep", punctuation="keep", unicode="NFKC")
    assert normalize(text, kept) == "The U.S. state-of-the-art A"
    assert normalize("don't", TextConfig(keep="")) == "DON T"
    assert normalize("e\u0301", TextConfig(unicode="none")) == "E\u0301"


@given(
    st.text(),
    st.sampled_from(["upper", "lower", "keep"]),
    st.sampled_from(["remove", "keep"]),
    st.sampled_from(["", "'", "'-", "]^"]),
    st.sampled_from(["NFC", "NFKC", "none"]),
)
def test_twice_is_once(text, case, punctuation, keep, unicode):
    config = TextConfig(case, punctuation, keep, unicode)
    once = normalize(text, config)
    assert normalize(once, config) == once
    assert once == " ".join(once.split())
