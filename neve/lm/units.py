"""What a neural language model predicts: the tokens or the words of a lang directory, numbered."""

from __future__ import annotations

from collections.abc import Sequence

from neve.lang import Lang

UNKNOWN = "<unk>"
BOUNDARY = "<sos/eos>"


class Units:
    """How text becomes ids: the tokens or the words of a lang directory.

    Tokens keep the ids that they have there, so that the scores can be added to those of an
    acoustic model. Words are numbered in the order of `vocabulary`, after the unknown word (0).

    Attributes:
        size: number of ids, the boundary among them. boundary: its id.
        names: of all ids.
    """

    def __init__(self, lang: Lang, unit: str):
        self.lang, self.unit = lang, unit
        if unit == "words":
            self.names = [UNKNOWN, *lang.vocabulary]
            self.ids = {name: index for index, name in enumerate(self.names)}
        else:
            self.names = [lang.tokens[index] for index in range(lang.num_tokens)]
        if BOUNDARY not in self.names:
            self.names.append(BOUNDARY)
        self.boundary, self.size = self.names.index(BOUNDARY), len(self.names)

    def encode(self, words: Sequence[str]) -> list[int]:
        """The ids of a sentence. Raises UnknownWordError for words that cannot be spelled."""
        if self.unit == "words":
            return [self.ids.get(word, 0) for word in words]
        return self.lang.encode(" ".join(words))
