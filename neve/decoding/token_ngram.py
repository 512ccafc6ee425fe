"""An n-gram over a model's tokens: what it says of all tokens after a context, and of a sequence.

It is an ARPA file whose words are symbols of tokens.txt, as `neve lm --lm.unit tokens` makes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from neve.errors import NeveError
from neve.lang import Lang
from neve.lang.tokenizers import SPECIAL
from neve.lm import ArpaLm, read_arpa
from neve.lm.arpa import BOS, EOS, LN10, UNK

REMEMBERED = 1 << 24  # log-probabilities that are remembered, over all contexts


class TokenNgram:
    """Natural logarithms, with back-off as ARPA means it.

    Tokens that the model lacks are its unknown word. Those that say nothing (`SPECIAL`) are so too,
    or, in a model without it, as improbable as the most improbable token.

    Attributes:
        order: tokens an n-gram has at most.

    Args:
        model: the n-gram.
        lang: its tokens have the ids that contexts and rows have.
        where: what errors name.

    Raises:
        NeveError: the model lacks tokens of `lang`, and has no unknown word.
    """

    def __init__(self, model: ArpaLm, lang: Lang, where: str | os.PathLike = "the token LM"):
        self.model, self.order = model, model.order
        names = [lang.tokens[token] for token in range(lang.num_tokens)]
        unknown = model.ids.get(UNK, -1)
        said = {token: name for token, name in enumerate(names) if token and name not in SPECIAL}
        lacking = [name for name in said.values() if name not in model]
        if len(lacking) == len(said) or (lacking and unknown < 0):
            raise NeveError(
                f"{where}: lacks {len(lacking)} of the {len(said)} tokens of {lang.directory} "
                f"({' '.join(lacking[:10])}{' ...' if len(lacking) > 10 else ''}); make one for "
                "this lang directory: neve lm --lm.unit tokens"
            )
        self._ids = np.full(len(names), unknown)
        for token, name in said.items():
            self._ids[token] = model.ids.get(name, unknown)
        self._bos = model.ids[BOS]
        self._rows: dict[tuple[int, ...], np.ndarray] = {}

    @classmethod
    def read(cls, path: str | os.PathLike, lang: Lang) -> TokenNgram:
        """The model of an ARPA file (also .gz). Raises NeveError naming a file that is wrong."""
        return cls(read_arpa(path), lang, path)

    def context(self, tokens: Sequence[int], begins: bool = True) -> tuple[int, ...]:
        """What `row` takes after these tokens; begins: nothing was before them."""
        ids = [self._bos] if begins else []
        ids += [int(self._ids[token]) for token in tokens]
        return tuple(ids[max(0, len(ids) - self.order + 1) :])

    def row(self, context: tuple[int, ...]) -> np.ndarray:
        """(V,) float32 log-probabilities of the tokens after a context; 0 for blank."""
        found = self._rows.get(context)
        if found is None:
            words = np.empty((len(self._ids), len(context) + 1), np.int64)
            words[:, :-1], words[:, -1] = context, self._ids
            found = self.model.log_probs(words) * LN10
            found[0] = 0.0
            found = np.maximum(found, found[np.isfinite(found)].min()).astype(np.float32)
            if (len(self._rows) + 1) * len(found) > REMEMBERED:
                self._rows.clear()
            self._rows[context] = found
        return found

    def score(self, tokens: Sequence[int], ended: bool = True) -> float:
        """The log-probability of a sequence; ended: that of its end too."""
        ids = [-1] * (self.order - 2) + [self._bos]  # an unknown word before it changes nothing
        ids = ids[len(ids) - self.order + 1 :]
        ids += self._ids[list(tokens)].tolist() + [self.model.ids[EOS]] * ended
        if len(ids) < self.order:
            return 0.0
        windows = np.lib.stride_tricks.sliding_window_view(np.array(ids), self.order)
        found = self.model.log_probs(windows) * LN10
        for place in np.flatnonzero(~np.isfinite(found)).tolist():
            found[place] = self.row(self.context(tokens[:place]))[tokens[place]]
        return float(found.sum())
