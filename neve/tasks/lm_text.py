"""Text for a neural language model: sentences as token ids, and batches of them."""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from neve.errors import NeveError
from neve.lang import UnknownWordError, read_transcripts
from neve.lang.lines import read_lines
from neve.lm.units import Units
from neve.text import TextConfig, normalize

log = logging.getLogger(__name__)


class Sentences:
    """Sentences as ids, cut into pieces of at most `longest` predicted tokens.

    Of a sentence that is cut, each further piece has the last token before it as what stands before
    its first. Ids are kept in one array.
    """

    def __init__(self, longest: int, boundary: int):
        self.longest, self.boundary = longest, boundary
        self._ids, self._first, self._lengths = array("i"), array("i"), array("i")

    def add(self, ids: Sequence[int]) -> None:
        """Add a sentence, without the boundary."""
        predicted = [*ids, self.boundary]
        for begin in range(0, len(predicted), self.longest):
            piece = predicted[begin : begin + self.longest]
            self._first.append(predicted[begin - 1] if begin else self.boundary)
            self._lengths.append(len(piece))
            self._ids.extend(piece)

    def finish(self) -> Sentences:
        """No more are added."""
        self.lengths = np.array(self._lengths, dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        self.first = np.array(self._first, dtype=np.int64)
        self.ids = np.frombuffer(self._ids, dtype=np.int32)
        return self

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Predicted tokens of all."""
        return int(self.lengths.sum())

    def predicted(self, index: int) -> np.ndarray:
        """The predicted tokens of one piece."""
        end = self.ends[index]
        return self.ids[end - self.lengths[index] : end].astype(np.int64)

    def batches(self, size: int, generator: np.random.Generator | None = None) -> list[np.ndarray]:
        """Pieces of similar length, together at most `size` tokens with padding.

        With a generator the pieces, and the batches, are in random order.
        """
        if generator is None:
            order = np.argsort(self.lengths, kind="stable")
        else:
            noise = generator.uniform(0.95, 1.05, len(self))
            shuffled = generator.permutation(len(self))
            order = shuffled[np.argsort((self.lengths * noise)[shuffled], kind="stable")]
        result, start, longest = [], 0, 0
        for place, length in enumerate(self.lengths[order].tolist()):
            longest = max(longest, length)
            if place > start and longest * (place - start + 1) > size:
                result.append(order[start:place])
                start, longest = place, length
        if start < len(order):
            result.append(order[start:])
        if generator is not None:
            result = [result[index] for index in generator.permutation(len(result))]
        return result


def read_sentences(
    units: Units,
    transcripts: Iterable[str | os.PathLike],
    texts: Iterable[str | os.PathLike],
    normal: TextConfig | None,
    longest: int,
) -> Sentences:
    """All sentences of Kaldi transcripts and of plain text files that are not empty.

    Those with words that cannot be spelled are left out and counted in the log. Raises NeveError if
    nothing is left, or a file cannot be read.
    """
    result = Sentences(longest, units.boundary)
    unspelled: dict[str, int] = {}
    left_out = 0
    for words in _sentences(transcripts, texts, normal):
        try:
            result.add(units.encode(words))
        except UnknownWordError as error:
            left_out += 1
            for word in error.words:
                unspelled[word] = unspelled.get(word, 0) + 1
    result.finish()
    if left_out:
        often = sorted(unspelled, key=lambda word: (-unspelled[word], word))[:10]
        log.warning(
            "%d sentences have words that %s cannot spell, and are left out: %s",
            left_out,
            units.lang.directory,
            " ".join([*often, *(["..."] if len(unspelled) > 10 else [])]),
        )
    if not len(result):
        raise NeveError(
            "there is no text for the neural language model"
            + (": no sentence can be spelled with the lang directory" if left_out else "")
            + "; set neural_lm.transcripts to true, or name files in neural_lm.text"
        )
    return result


def _sentences(transcripts, texts, normal: TextConfig | None) -> Iterator[list[str]]:
    for path in transcripts:
        for words in read_transcripts(path).values():
            if words:
                yield words
    for path in texts:
        for _, line in read_lines(path, "text for the neural language model"):
            words = (normalize(line, normal) if normal is not None else line).split()
            if words:
                yield words
