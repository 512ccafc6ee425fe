"""The lexicon as a transducer from tokens to words, as plain arrays in k2's data model."""

from __future__ import annotations

import math
import os
import zipfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang.lexicon import LexiconEntry
from neve.lang.symbols import SymbolTable


@dataclass(frozen=True)
class LexiconFst:
    """A transducer with start state 0 and the last state as its only final one.

    arcs: (n, 4) int32, rows (source, target, token id, bits of a float32 score) in the order of
    their source; arcs into the final state have label -1. aux_labels: (n,) int32, word ids, 0 for
    none, -1 on final arcs.
    """

    arcs: np.ndarray
    aux_labels: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """(n,) float32 natural log-probabilities."""
        return self.arcs[:, 3].view(np.float32)

    def save(self, path: str | os.PathLike) -> None:
        """Write both arrays to an .npz file, which needs no torch to read."""
        with atomic_open(path, "wb") as stream:
            np.savez(stream, arcs=self.arcs, aux_labels=self.aux_labels)

    @classmethod
    def load(cls, path: str | os.PathLike) -> LexiconFst:
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(arrays["arcs"], arrays["aux_labels"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise NeveError(
                f"{path}: cannot be read as a lexicon transducer ({error}); run the lang stage"
            ) from error

    def save_pt(self, path: str | os.PathLike) -> None:
        """Write the dictionary that k2.Fsa.from_dict reads. Imports torch."""
        import torch

        tensors = {
            "arcs": torch.from_numpy(self.arcs.copy()),
            "aux_labels": torch.from_numpy(self.aux_labels.copy()),
        }
        with atomic_open(path, "wb") as stream:
            torch.save(tensors, stream)


def make_lexicon_fst(
    entries: Sequence[LexiconEntry],
    tokens: SymbolTable,
    words: SymbolTable,
    *,
    silence: str = "",
    sil_prob: float = 0.5,
    disambig: bool = False,
) -> LexiconFst:
    """The transducer that accepts any sequence of the words of `entries`.

    The word's id stands on the first arc of its pronunciation. With a `silence` token, silence may
    be spoken at the start and after each word, with probability `sil_prob`. With `disambig`
    (entries that carry #1, #2, ...) the state between words has a loop with token #0 and word #0,
    which lets the backing off of a grammar pass through.

    Raises NeveError if sil_prob is not between 0 and 1.
    """
    if silence and not 0.0 < sil_prob < 1.0:
        raise NeveError(f"lang.sil_prob is {sil_prob}: it must lie between 0 and 1, both excluded")
    columns, scores = array("i"), array("f")  # of an arc: source, target, token, word; its score

    def add(source: int, target: int, token: int, word: int, score: float) -> None:
        columns.extend((source, target, token, word))
        scores.append(score)

    between, ends = 0, [(0, 0.0)]
    free = 1
    if silence:
        between, silent, free = 1, 2, 3
        ends = [(between, math.log(1.0 - sil_prob)), (silent, math.log(sil_prob))]
        for target, score in ends:
            add(0, target, 0, 0, score)
        add(silent, between, tokens[silence], 0, 0.0)
    for word, pronunciation in entries:
        state, output = between, words[word]
        for token in pronunciation[:-1]:
            add(state, free, tokens[token], output, 0.0)
            state, output = free, 0
            free += 1
        last = tokens[pronunciation[-1]]
        for target, score in ends:
            add(state, target, last, output, score)
    if disambig:
        add(between, between, tokens["#0"], words["#0"], 0.0)
    add(between, free, -1, -1, 0.0)
    table = np.frombuffer(columns, np.int32).reshape(-1, 4)
    order = np.argsort(table[:, 0], kind="stable")
    arcs = table[order]
    aux_labels = arcs[:, 3].copy()
    arcs[:, 3] = np.frombuffer(scores, np.float32)[order].view(np.int32)
    return LexiconFst(arcs, aux_labels)
