"""Pronunciations of words that a lexicon lacks: a joint-sequence n-gram model.

The lexicon is aligned (`neve.lm.graphones`), and an n-gram model of graphones with Kneser-Ney
smoothing is estimated on the result. A new word is read from left to right by a beam search for the
likeliest graphones that spell it (Bisani and Ney, "Joint-sequence models for grapheme-to-phoneme
conversion", Speech Communication 50, 2008).
"""

from __future__ import annotations

import logging
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from neve.errors import NeveError
from neve.lang import LexiconEntry
from neve.lm.arpa import BOS, EOS, LN10, UNK, ArpaLm
from neve.lm.arpa_file import read_arpa, write_arpa
from neve.lm.graphones import UNITS, Graphone, Units, align
from neve.lm.kneser_ney import estimate

log = logging.getLogger(__name__)

ORDER = 7
BEAM = 100  # hypotheses that are kept after each letter
WIDTH = 12.0  # natural-log distance from the best at which hypotheses are dropped
SILENT_RUN = 4  # graphones without letters that may follow one another


class Pronunciation(NamedTuple):
    """Phones of a word, and their share of the probability of all that the search found."""

    phones: tuple[str, ...]
    probability: float


class G2p:
    """A grapheme-to-phoneme model; `train` makes one, `save` and `load` keep it in a file."""

    def __init__(self, model: ArpaLm):
        """From an n-gram model whose words are graphones, as `train` names them."""
        self._model = model
        graphones = {
            index: _parse(name)
            for index, name in enumerate(model.words)
            if name not in (BOS, EOS, UNK)
        }
        if not graphones:
            raise NeveError("the n-gram model has no graphones")
        self._by_letters: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        for index, graphone in graphones.items():
            spelled = self._by_letters.setdefault(graphone.letters, [])
            spelled.append((index, graphone.phones))
        self.letters = frozenset(mark for letters in self._by_letters for mark in letters)
        self.phones = frozenset(p for graphone in graphones.values() for p in graphone.phones)
        self._bos, self._eos = model.words.index(BOS), model.words.index(EOS)
        self._walk = _Walker(model)

    @classmethod
    def train(
        cls, lexicon: Iterable[LexiconEntry], order: int = ORDER, units: Units = UNITS
    ) -> G2p:
        """Train on the entries of a lexicon.

        Words in angle brackets and such as !SIL are no spelling and are left out, as are entries
        that `units` cannot align (the log says how many). Raises NeveError if none is left.
        """
        entries = [
            entry
            for entry in dict.fromkeys(lexicon)
            if not (entry.word.startswith(("<", "!")) and len(entry.word) > 1)
        ]
        if not entries:
            raise NeveError("the lexicon has no word to learn pronunciations from")
        aligned = align(entries, units)
        lacking = [entry.word for entry, found in zip(entries, aligned) if found is None]
        if lacking:
            log.info(
                "%d of %d pronunciations have too many phones to be learnt from, e.g. %s",
                len(lacking),
                len(entries),
                " ".join(lacking[:5]),
            )
        sentences = [[_name(graphone) for graphone in found] for found in aligned if found]
        alone = [_name(graphone) for graphone in _single_letters(entries, aligned)]
        fallback = (0.5, 1.0, 1.5)
        return cls(estimate(sentences, order, alone, discount_fallback=fallback))

    def save(self, path: str | os.PathLike) -> None:
        """Write the model, an ARPA file of graphones; .gz compresses it."""
        write_arpa(self._model, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> G2p:
        """Read what `save` wrote; NeveError with file and line for anything else."""
        try:
            return cls(read_arpa(path))
        except NeveError as error:
            raise error if str(path) in str(error) else NeveError(f"{path}: {error}") from None

    def __call__(
        self, word: str, nbest: int = 1, *, beam: int = BEAM, width: float = WIDTH
    ) -> list[Pronunciation]:
        """The likeliest pronunciations of a word, at most `nbest`, the best first.

        Letters with marks that the lexicon never has are read without them (É as E). Raises
        NeveError that names the word for letters that it has in no form, and for a word that
        cannot be pronounced.
        """
        spelling = self._spelling(word)
        # per position: (model state, phones, run of graphones without letters) -> log probability
        columns: list[dict] = [{} for _ in range(len(spelling) + 1)]
        columns[0][self._walk.after(self._bos), (), 0] = 0.0
        for at in range(len(spelling) + 1):
            column = self._pruned(self._without_letters(columns[at], beam, width), beam, width)
            columns[at] = column
            for size in (1, 2):
                for index, phones in self._by_letters.get(spelling[at : at + size], ()):
                    if len(spelling) - at < size:
                        continue
                    target = columns[at + size]
                    for (state, spoken, _), score in column.items():
                        step, after = self._walk.step(state, index)
                        key = (after, spoken + phones, 0)
                        total = score + step
                        old = target.get(key)
                        target[key] = total if old is None else _add(old, total)
        found: dict[tuple[str, ...], float] = {}
        for (state, spoken, _), score in columns[-1].items():
            total = score + self._walk.step(state, self._eos)[0]
            if spoken:
                found[spoken] = _add(found[spoken], total) if spoken in found else total
        if not found:
            raise NeveError(f"{word}: the model finds no pronunciation; write one into the lexicon")
        best = max(found.values())
        mass = sum(math.exp(score - best) for score in found.values())
        ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:nbest]
        return [Pronunciation(p, math.exp(score - best) / mass) for p, score in ranked]

    def _spelling(self, word: str) -> str:
        if not word:
            raise NeveError("an empty word has no pronunciation")
        if set(word) <= self.letters:
            return word
        plain = "".join(
            mark
            if mark in self.letters
            else "".join(m for m in unicodedata.normalize("NFKD", mark) if m in self.letters)
            or mark
            for mark in word
        )
        unknown = sorted(set(plain) - self.letters)
        if unknown:
            raise NeveError(
                f"{word}: no word of the lexicon has {', '.join(unknown)}, so it cannot be "
                "pronounced; write its pronunciation after it, or spell it otherwise"
            )
        return plain

    def _without_letters(self, column: dict, beam: int, width: float) -> dict:
        """The hypotheses, and those with graphones more that have phones and no letters."""
        empty = self._by_letters.get("", ())
        fresh = self._pruned(column, beam, width) if empty else {}
        for _ in range(SILENT_RUN if empty else 0):
            more: dict = {}
            for (state, spoken, run), score in fresh.items():
                for index, phones in empty:
                    step, after = self._walk.step(state, index)
                    key = (after, spoken + phones, run + 1)
                    total = score + step
                    more[key] = _add(more[key], total) if key in more else total
            fresh = self._pruned(more, beam, width)
            column = {**column, **fresh}
        return column

    @staticmethod
    def _pruned(column: dict, beam: int, width: float) -> dict:
        if not column:
            return column
        ranked = sorted(column.items(), key=lambda item: -item[1])[:beam]
        cut = ranked[0][1] - width
        return {key: score for key, score in ranked if score >= cut}


def _single_letters(entries, aligned) -> set[Graphone]:
    """Graphones of one letter for the letters that have none: a small lexicon has such letters.

    They are those of an alignment of one letter with one phone at most.
    """
    used = {graphone for found in aligned if found for graphone in found}
    letters = {mark for graphone in used for mark in graphone.letters}
    lacking = letters - {graphone.letters for graphone in used}
    concerned = [entry for entry in entries if lacking & set(entry.word)]
    if not concerned:
        return set()
    single = align(concerned, ((1, 0), (0, 1), (1, 1)))
    return {g for found in single if found for g in found if g.letters in lacking}


class _Walker:
    """An n-gram model as states: a state is (order of a known n-gram, its index there)."""

    def __init__(self, model: ArpaLm):
        self._levels = [(level.log_prob * LN10, level.backoff * LN10) for level in model.levels]
        size = len(model.words)
        self._size = size
        self._index: list[dict[int, int]] = [{}]
        self._suffix: list = [None]
        for number, level in enumerate(model.levels[1:], start=1):
            keys = level.context * size + level.word
            self._index.append(dict(zip(keys.tolist(), range(len(keys)))))
            # the n-gram without its first word: the context's suffix, then the word
            if number == 1:
                suffix = level.word.tolist()
            else:
                shorter, below = self._suffix[number - 1], self._index[number - 1]
                suffix = [
                    below[shorter[context] * size + word]
                    if shorter[context] * size + word in below
                    else -1
                    for context, word in zip(level.context.tolist(), level.word.tolist())
                ]
                if -1 in suffix:
                    raise NeveError(
                        f"a {number + 1}-gram of the model lacks its last {number} graphones; "
                        "models of pronunciations must not be pruned: train it again"
                    )
            self._suffix.append(suffix)
        self._top = len(model.levels) - 1
        self._memory: dict[tuple[tuple[int, int], int], tuple[float, tuple[int, int]]] = {}

    def after(self, word: int) -> tuple[int, int]:
        """The state after one word."""
        return (0, word) if self._top else (-1, 0)

    def step(self, state: tuple[int, int], word: int) -> tuple[float, tuple[int, int]]:
        """(natural-log probability of `word` in a state, the state after it)."""
        key = (state, word)
        known = self._memory.get(key)
        if known is None:
            known = self._memory[key] = self._step(state, word)
            if len(self._memory) > 2_000_000:
                self._memory.clear()
        return known

    def _step(self, state, word):
        level, index = state
        total = 0.0
        while level >= 0:
            found = self._index[level + 1].get(index * self._size + word)
            if found is not None:
                total += float(self._levels[level + 1][0][found])
                return total, self._shortened(level + 1, found)
            total += float(self._levels[level][1][index])
            level, index = (level - 1, self._suffix[level][index]) if level else (-1, 0)
        return total + float(self._levels[0][0][word]), self.after(word)

    def _shortened(self, level: int, index: int) -> tuple[int, int]:
        """The state of an n-gram: the longest end of it that can have words after it."""
        if level == self._top:
            return level - 1, self._suffix[level][index]
        return level, index


def _add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a + math.log1p(math.exp(b - a))


ESCAPES = {"%": "%25", "}": "%7D", "|": "%7C"}


def _name(graphone: Graphone) -> str:
    """A graphone as a word of the n-gram model: `letters}phone|phone`."""
    return f"{_escaped(graphone.letters)}}}{'|'.join(map(_escaped, graphone.phones))}"


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(mark, mark) for mark in text)


def _parse(name: str) -> Graphone:
    letters, brace, phones = name.partition("}")
    if not brace or not (letters or phones):
        raise NeveError(f"{name} is no graphone; is this a model that `neve g2p` wrote?")
    parts = [_plain(part) for part in phones.split("|")] if phones else []
    return Graphone(_plain(letters), tuple(parts))


def _plain(text: str) -> str:
    for mark, code in reversed(ESCAPES.items()):
        text = text.replace(code, mark)
    return text


class Pronouncer:
    """Pronunciations for words as they are asked for; the model is made for the first of them.

    Args:
        lexicon: gives the entries to train on.
        model: a file that `G2p.save` wrote, to be taken instead; "" for none.
        variants: pronunciations of a word, at most.
    """

    def __init__(
        self, lexicon: Callable[[], Iterable[LexiconEntry]], model: str = "", variants: int = 1
    ):
        self._lexicon, self._file, self._variants = lexicon, model, variants
        self._model: G2p | None = None

    def __call__(self, word: str) -> list[tuple[str, ...]]:
        """The pronunciations of a word, the likeliest first; NeveError as `G2p.__call__`."""
        if self._model is None:
            self._model = G2p.load(self._file) if self._file else G2p.train(self._lexicon())
        return [found.phones for found in self._model(word, self._variants)]


class Accuracy(NamedTuple):
    """How well pronunciations are predicted, each held against the nearest of the lexicon's."""

    words: int
    wrong: int
    phones: int
    errors: int

    @property
    def word_error_rate(self) -> float:
        return self.wrong / max(1, self.words)

    @property
    def phone_error_rate(self) -> float:
        return self.errors / max(1, self.phones)

    def __str__(self) -> str:
        return (
            f"{self.words} words: {100 * self.word_error_rate:.2f} % wrong, "
            f"phone error rate {100 * self.phone_error_rate:.2f} %"
        )


def evaluate(model: G2p, lexicon: Iterable[LexiconEntry], **search) -> Accuracy:
    """The accuracy of the best pronunciation of each word of a lexicon that was held out.

    A word that cannot be pronounced counts as if all its phones were deleted.
    """
    references: dict[str, list[tuple[str, ...]]] = {}
    for word, phones in lexicon:
        references.setdefault(word, []).append(tuple(phones))
    wrong = phones = errors = 0
    for word, variants in references.items():
        try:
            spoken = model(word, **search)[0].phones
        except NeveError:
            spoken = ()
        distance, length = min((_distance(spoken, v), len(v)) for v in variants)
        wrong += distance > 0
        phones += length
        errors += distance
    return Accuracy(len(references), wrong, phones, errors)


def hold_out(
    lexicon: Sequence[LexiconEntry], share: float
) -> tuple[list[LexiconEntry], list[LexiconEntry]]:
    """(entries to train on, entries of the share of words that is held out), always the same ones.

    All pronunciations of a word are on one side. Raises NeveError unless both sides have words.
    """
    words = sorted({entry.word for entry in lexicon})
    step = round(1.0 / share) if 0.0 < share <= 0.5 else 0
    chosen = set(words[step // 2 :: step]) if step else set()
    if not chosen:
        raise NeveError(
            f"a share of {share} of {len(words)} words cannot be held out; give 0.001 to 0.5"
        )
    sides: tuple[list, list] = ([], [])
    for entry in lexicon:
        sides[entry.word in chosen].append(entry)
    return sides


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            previous, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, previous + (left != right)),
            )
    return row[-1]
