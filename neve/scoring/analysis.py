"""What the errors of one decoded set are: by utterance, word, speaker, duration and field."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from neve.errors import NeveError, named
from neve.results import Result
from neve.text import TextConfig, normalize

from .alignment import Counts, Pair, align, count_pairs, split_characters, split_words
from .config import ScoringConfig

UNKNOWN = "(none)"  # row of a breakdown for utterances that lack the property


@dataclass(slots=True)
class Utterance:
    """One scored utterance.

    `ref` and `hyp` are its texts with single spaces between the words, `pairs` is their alignment,
    `words` and `characters` its counts; `confidences` holds `(confidence, is correct)` for each
    recognised word that has a confidence.
    """

    id: str
    ref: str
    hyp: str
    pairs: list[Pair]
    words: Counts
    characters: Counts
    duration: float
    speaker: str | None
    fields: dict[str, str]
    confidences: list[tuple[float, bool]]


@dataclass(slots=True)
class Row:
    """One row of a breakdown: the utterances that share `value`."""

    value: str
    utterances: int = 0
    seconds: float = 0.0
    words: Counts = Counts()
    characters: Counts = Counts()


@dataclass(slots=True)
class WordStatistics:
    """How one word fared: in the reference, in the hypotheses, and in both at once."""

    word: str
    correct: int = 0
    substituted: int = 0
    deleted: int = 0
    inserted: int = 0
    false: int = 0  # recognised in place of another word

    @property
    def reference(self) -> int:
        """Occurrences in the references."""
        return self.correct + self.substituted + self.deleted

    @property
    def hypothesis(self) -> int:
        """Occurrences in the hypotheses."""
        return self.correct + self.inserted + self.false

    @property
    def errors(self) -> int:
        """Errors that the word has a part in."""
        return self.substituted + self.deleted + self.inserted + self.false

    @property
    def recall(self) -> float | None:
        """Share of its reference occurrences that were recognised; None if there are none."""
        return self.correct / self.reference if self.reference else None


@dataclass
class SplitScore:
    """All scored utterances of one set, and the questions one may ask of them."""

    split: str
    utterances: list[Utterance]
    skipped: list[str] = field(default_factory=list)  # ids without a reference

    @property
    def words(self) -> Counts:
        """Word counts of the whole set."""
        return _sum(u.words for u in self.utterances)

    @property
    def characters(self) -> Counts:
        """Character counts of the whole set."""
        return _sum(u.characters for u in self.utterances)

    @property
    def seconds(self) -> float:
        """Duration of the whole set."""
        return math.fsum(u.duration for u in self.utterances)

    @property
    def wrong_utterances(self) -> int:
        """Number of utterances with at least one word error."""
        return sum(1 for u in self.utterances if u.words.errors)

    def confusions(self) -> tuple[Counter, Counter, Counter]:
        """Counts of substitutions `(ref, hyp)`, deletions `ref` and insertions `hyp`."""
        substitutions: Counter = Counter()
        deletions: Counter = Counter()
        insertions: Counter = Counter()
        for utterance in self.utterances:
            if not utterance.words.errors:
                continue
            for ref, hyp in utterance.pairs:
                if ref == hyp:
                    continue
                if ref is None:
                    insertions[hyp] += 1
                elif hyp is None:
                    deletions[ref] += 1
                else:
                    substitutions[ref, hyp] += 1
        return substitutions, deletions, insertions

    def word_statistics(self) -> list[WordStatistics]:
        """Statistics of every word, those with most errors first, then by word."""
        table: dict[str, WordStatistics] = {}

        def of(word: str) -> WordStatistics:
            if word not in table:
                table[word] = WordStatistics(word)
            return table[word]

        correct: Counter = Counter()
        for utterance in self.utterances:
            correct.update(ref for ref, hyp in utterance.pairs if ref == hyp)
        for word, count in correct.items():
            of(word).correct = count
        substitutions, deletions, insertions = self.confusions()
        for (ref, hyp), count in substitutions.items():
            of(ref).substituted += count
            of(hyp).false += count
        for word, count in deletions.items():
            of(word).deleted = count
        for word, count in insertions.items():
            of(word).inserted = count
        return sorted(table.values(), key=lambda s: (-s.errors, s.word))

    def worst(self, count: int) -> list[Utterance]:
        """The utterances with most word errors (then the highest rate, then by id)."""
        wrong = [u for u in self.utterances if u.words.errors]
        wrong.sort(key=lambda u: (-u.words.errors, -u.words.rate, u.id))
        return wrong[:count]

    def field_names(self) -> list[str]:
        """Names of the supervision fields that occur, sorted."""
        return sorted({name for u in self.utterances for name in u.fields})

    def breakdown(self, name: str, duration_bins: Iterable[float] = ()) -> list[Row]:
        """Counts by speaker, by duration, or by a supervision field.

        `name` is `speaker`, `duration` or a field's name; `duration_bins` are the limits between
        the rows of `duration`, in seconds. Rows are in order of duration, else of their
        values (numbers by size).
        """
        limits = sorted(duration_bins)
        rows: dict[object, Row] = {}
        for u in self.utterances:
            if name == "duration":
                key: object = sum(1 for limit in limits if u.duration >= limit)
                value = _bin_name(limits, key)
            else:
                key = value = (u.speaker if name == "speaker" else u.fields.get(name)) or UNKNOWN
            row = rows.get(key)
            if row is None:
                row = rows[key] = Row(value)
            row.utterances += 1
            row.seconds += u.duration
            row.words += u.words
            row.characters += u.characters
        return [rows[key] for key in sorted(rows, key=_by_number)]

    def breakdowns(self, config: ScoringConfig) -> dict[str, list[Row]]:
        """The breakdowns that the configuration asks for, where there is something to break down.

        A named field that no utterance has is an error that lists those which occur.
        """
        fields = self.field_names()
        names: list[str] = []
        for name in config.breakdown:
            if name == "*":
                names += [f for f in fields if f not in names]
            elif name in ("speaker", "duration") or name in fields or not self.utterances:
                if name not in names:
                    names.append(name)
            else:
                known = ", ".join(["speaker", "duration", *fields])
                raise NeveError(
                    f"scoring.breakdown: no utterance of {self.split} has a field {name!r}; "
                    f"choose from {known}"
                )
        tables = {}
        for name in names:
            rows = self.breakdown(name, config.duration_bins)
            asked = name in config.breakdown
            if name == "speaker" and all(row.value == UNKNOWN for row in rows):
                continue
            if asked or 1 < len(rows) <= config.breakdown_values:
                tables[name] = rows
        return tables


def score_results(
    split: str,
    results: Iterable[Result],
    config: ScoringConfig | None = None,
    text: TextConfig | None = None,
) -> SplitScore:
    """Align and count every result; references are brought into the normal form `text`.

    Raises NeveError if an utterance has no reference and the configuration does not say to skip
    it, and if nothing is left to be scored.
    """
    config = config or ScoringConfig()
    utterances: list[Utterance] = []
    skipped: list[str] = []
    for result in results:
        if result.ref is None:
            skipped.append(result.id)
        else:
            if text is not None:
                result = replace(result, ref=normalize(result.ref, text))
            utterances.append(_score_one(result, config.cer_spaces))
    if skipped and config.missing_reference == "error":
        raise NeveError(
            f"{split}: {len(skipped)} utterance(s) have no reference: {named(skipped, 5)}. Give "
            "them a transcript, or leave them out with --scoring.missing-reference skip"
        )
    if not utterances:
        raise NeveError(
            f"{split}: there is no utterance with a reference, so nothing can be scored; "
            "check that the set was decoded and has transcripts"
        )
    return SplitScore(split, utterances, skipped)


def _score_one(result: Result, spaces: bool) -> Utterance:
    ref, hyp = split_words(result.ref), split_words(result.hyp)
    pairs = align(ref, hyp)
    words = count_pairs(pairs)
    ref_characters = split_characters(result.ref, spaces)
    if words.errors:
        characters = count_pairs(align(ref_characters, split_characters(result.hyp, spaces)))
    else:
        characters = Counts(correct=len(ref_characters))
    return Utterance(
        id=result.id,
        ref=" ".join(ref),
        hyp=" ".join(hyp),
        pairs=pairs,
        words=words,
        characters=characters,
        duration=result.duration,
        speaker=result.speaker,
        fields=result.fields,
        confidences=_confidences(result, pairs),
    )


def _confidences(result: Result, pairs: list[Pair]) -> list[tuple[float, bool]]:
    """Confidence and correctness of each recognised word, where the decoder gave a confidence."""
    if not result.nbest or all(word.confidence is None for word in result.nbest[0].words):
        return []
    recognised = [ref == hyp for ref, hyp in pairs if hyp is not None]
    # An entry of the hypothesis may hold no word or several: it counts as often as it has words.
    confidences = [w.confidence for w in result.nbest[0].words for _ in split_words(w.text)]
    return [
        (confidence, correct)
        for confidence, correct in zip(confidences, recognised, strict=True)
        if confidence is not None
    ]


def _sum(counts: Iterable[Counts]) -> Counts:
    totals = [0, 0, 0, 0]
    for c in counts:
        totals[0] += c.correct
        totals[1] += c.substitutions
        totals[2] += c.deletions
        totals[3] += c.insertions
    return Counts(*totals)


def _by_number(key: object) -> tuple[bool, float, str]:
    """Sorts values that are numbers by size, and the others after them by name."""
    try:
        number = float(key)
    except ValueError:
        number = math.nan
    text = str(key)
    return (False, number, text) if math.isfinite(number) else (True, 0.0, text)


def _bin_name(limits: list[float], index: int) -> str:
    if not limits:
        return "all"
    if index == 0:
        return f"under {limits[0]:g} s"
    if index == len(limits):
        return f"{limits[-1]:g} s and more"
    return f"{limits[index - 1]:g} to {limits[index]:g} s"
