"""The normal form of a text."""

import functools
import re
import unicodedata
from collections.abc import Callable

from neve.text.config import TextConfig

APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u201b\uff07"), "'")
JOINERS = "\u200c\u200d"  # invisible, but part of the spelling in Persian and in Indic scripts
SYMBOL = re.compile(r"<[^\s<>]+>")  # <unk>, <noise>: a name for something, not text


def normalize(text: str, config: TextConfig) -> str:
    """`text` in the form that `config` describes: words with one space between them.

    In this order: Unicode normal form; typographic apostrophes to '; case; control and invisible
    characters removed; punctuation and symbols (Unicode categories P and S) replaced by a space,
    except those of `config.keep` beside a letter or digit. A word in angle brackets, such as
    <noise>, stays as it is. Applying it twice changes nothing.
    """
    form = _form(config.case, config.punctuation, config.keep, config.unicode)
    words: list[str] = []
    for word in text.split():
        if SYMBOL.fullmatch(word):
            words.append(word)
        else:
            words.extend(form(word).split())
    return " ".join(words)


@functools.lru_cache(maxsize=16)
def _form(case: str, punctuation: str, keep: str, unicode: str) -> Callable[[str], str]:
    """The normal form of one word as a function with a memory, since words recur."""
    change = {"upper": str.upper, "lower": str.lower, "keep": str}[case]
    kept = "".join(re.escape(mark) for mark in keep)
    lonely = re.compile(rf"(?<!\w)[{kept}]+(?!\w)") if kept else None

    def compose(word: str) -> str:
        if unicode != "none":
            word = unicodedata.normalize(unicode, word)
        return word.translate(APOSTROPHES)

    @functools.lru_cache(maxsize=1 << 18)
    def form(word: str) -> str:
        previous = None
        while word != previous:  # a change of case can make characters that compose, and so on
            previous = word
            word = compose(change(compose(word)))
            word = "".join(map(_visible, word))
            if punctuation == "remove":
                word = "".join(_spoken(mark, keep) for mark in word)
                word = lonely.sub(" ", word) if lonely else word
        return word

    return form


def _visible(mark: str) -> str:
    if mark in JOINERS:
        return mark
    category = unicodedata.category(mark)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return ""
    return mark


def _spoken(mark: str, keep: str) -> str:
    return " " if unicodedata.category(mark)[0] in "PS" and mark not in keep else mark
