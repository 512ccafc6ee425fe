"""One definition of how text is written.

References, lexicons and the text of language models all pass through `normalize`, so that a word
is the same string wherever it occurs: same case, same Unicode form, no punctuation, one space
between words.
"""

from neve.text.config import TextConfig
from neve.text.normalize import normalize

__all__ = ["TextConfig", "normalize"]
