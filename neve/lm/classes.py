"""Classes as words of a language model: `$NAME` stands for the phrases of a list."""

import re
from collections.abc import Callable

CLASS = re.compile(r"\$[^\W\d]\w*")


def is_class(word: str) -> bool:
    """Whether a word of a language model stands for a class: $NAME."""
    return CLASS.fullmatch(word) is not None


def normal_words(line: str, normal: Callable[[str], str] | None) -> list[str]:
    """The words of a line in the normal form that `normal` gives a word; classes stay as they are.

    A line without classes is normalised as a whole.
    """
    if normal is None:
        return line.split()
    words = line.split()
    if not any(map(is_class, words)):
        return normal(line).split()
    return " ".join(word if is_class(word) else normal(word) for word in words).split()
