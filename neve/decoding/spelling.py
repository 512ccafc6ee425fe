"""Words of one lang directory as tokens of another: what a rescoring model reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from neve.errors import NeveError, named
from neve.lang import Lang, UnknownWordError
from neve.lang.tokenizers import UNKNOWN

log = logging.getLogger(__name__)


class Spelling:
    """Spells the words that a search can find; that each can be is known before it begins.

    A word that `tokens` lacks has the tokens that `words` gives it, if these are tokens of both
    (words that were added to a graph, `neve graph --add-words`); else the token <unk>. The unknown
    word is that of `tokens`, or <unk>; where there is neither, as with phones, it goes without.

    Args:
        words: the lang directory of the graph.
        tokens: that of the model that reads the tokens.
        what: the configuration key or file that errors name.

    Raises NeveError that names words which the model has no tokens for.
    """

    def __init__(self, words: Lang, tokens: Lang, what: str):
        self.tokens = tokens
        self._ids: dict[str, list[int]] = {}
        impossible, unknown = [], []
        none = [tokens.tokens[UNKNOWN]] if UNKNOWN in tokens.tokens else []
        for word in words.words:
            if word == words.unk_word:
                own = tokens.oov == "unk" and tokens.unk_word in tokens.words
                self._ids[word] = tokens.encode(tokens.unk_word) if own else none
            elif words.is_word(word):
                ids = spelled(word, tokens) or _lent(word, words, tokens)
                if ids is None:
                    (unknown if none else impossible).append(word)
                self._ids[word] = none if ids is None else ids
        if impossible:
            raise NeveError(
                f"{what}: {len(impossible)} words of {words.directory} cannot be spelled with "
                f"{tokens.directory}: {named(impossible)}; train the model with a lang directory "
                "that has them (`neve train-lm`), or decode without it"
            )
        if unknown:
            log.warning(
                "%s: %d words of %s cannot be spelled with %s and are scored as %s: %s",
                what,
                len(unknown),
                words.directory,
                tokens.directory,
                UNKNOWN,
                named(unknown),
            )

    def __call__(self, said: Sequence[str]) -> list[int]:
        """The tokens of words of the graph."""
        return [index for word in said for index in self._ids[word]]


def spelled(word: str, lang: Lang) -> list[int] | None:
    """The tokens of one word, without the token for what is unknown; None if there are none."""
    if lang.kind == "phone" and not lang.is_word(word):
        return None
    try:
        ids = lang.encode(word)
    except UnknownWordError:
        return None
    return None if lang.tokens.get(UNKNOWN, -1) in ids else ids


def _lent(word: str, words: Lang, tokens: Lang) -> list[int] | None:
    """The tokens that `words` gives a word, if all of them are tokens of `tokens` too."""
    symbols = [words.tokens[index] for index in words.pronunciations(word)[0]]
    if tokens.kind == words.kind and all(symbol in tokens.tokens for symbol in symbols):
        return [tokens.tokens[symbol] for symbol in symbols]
    return None
