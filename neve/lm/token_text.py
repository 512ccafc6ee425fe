"""Sentences as the names of their tokens, for an n-gram over the tokens of a lang directory."""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterable, Iterator

from neve.lang import Lang, UnknownWordError
from neve.lang.tokenizers import SPECIAL

log = logging.getLogger(__name__)


class TokenText:
    """Spells sentences with the tokens of a lang directory.

    Attributes:
        names: of all tokens that say something, in the order of their ids.
    """

    def __init__(self, lang: Lang):
        self.lang = lang
        tokens = (lang.tokens[token] for token in range(1, lang.num_tokens))
        self.names = [name for name in tokens if name not in SPECIAL]

    def spelled(self, sentences: Iterable[list[str]]) -> Iterator[list[str]]:
        """Yield each sentence of words as tokens.

        Those with words that cannot be spelled are left out, and counted in the log.
        """
        unspelled: collections.Counter[str] = collections.Counter()
        left_out = 0
        for words in sentences:
            try:
                tokens = self.lang.encode(" ".join(words))
            except UnknownWordError as error:
                unspelled.update(error.words)
                left_out += 1
                continue
            names = [self.lang.tokens[token] for token in tokens]
            if any(name in SPECIAL for name in names):
                unspelled.update(word for word in words if self._is_unknown(word))
                left_out += 1
            elif names:
                yield names
        if left_out:
            often = [word for word, _ in unspelled.most_common(10)]
            log.warning(
                "%d sentences have words that %s cannot spell, and are left out: %s",
                left_out,
                self.lang.directory,
                " ".join([*often, *(["..."] if len(unspelled) > 10 else [])]),
            )

    def _is_unknown(self, word: str) -> bool:
        return any(self.lang.tokens[token] in SPECIAL for token in self.lang.encode(word))
