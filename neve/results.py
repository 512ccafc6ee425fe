"""What a decoder returns: hypotheses of words with times and confidences, and their file.

A results file (``hyps-<split>.jsonl``) has one JSON object per line, one line per utterance::

    {"id": "utt1", "ref": "HELLO WORLD", "duration": 1.52, "speaker": "s1", "fields": {},
     "nbest": [{"score": -3.2, "words": [["HELLO", 0.1, 0.52, 0.98], ["WORLD", 0.6, 1.2, null]]}]}

A word is ``[text, start, end, confidence]``: seconds from the start of the utterance, and the
probability that the word is right (``null`` where the decoder does not know). Of an unknown word
that was found by its sounds a fifth field has these: ``["<UNK>", 0.1, 0.5, 0.9, "Y UW SH IH"]``.
Times and confidences are written to four decimals. A hypothesis of a search that could not reach
an end of its graph also has ``"partial": true``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from neve.errors import NeveError
from neve.files import atomic_open

__all__ = ["Hypothesis", "Result", "Word", "iter_results", "read_results", "write_results"]


NOTHING = -1e30  # a score below all others, finite as the file of results has to have it


@dataclass(slots=True)
class Word:
    """One recognised word; ``start`` and ``end`` in seconds from the start of the utterance.

    ``confidence`` is the probability that the word is right, in [0, 1], or None if unknown.
    ``spoken``: of an unknown word, the phones, or the spelling, with which it was found.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None
    spoken: str | None = None


@dataclass(slots=True)
class Hypothesis:
    """A sequence of words and the decoder's score for it (a log probability up to a constant).

    ``partial``: no path of the search was complete, and these are the words of an unfinished one.
    """

    words: list[Word]
    score: float = 0.0
    partial: bool = False

    @classmethod
    def nothing(cls) -> Hypothesis:
        """What stands for an utterance of which no path was found: no words, the worst score."""
        return cls([], NOTHING)

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(word.text for word in self.words)


@dataclass(slots=True)
class Result:
    """All that is known of one decoded utterance.

    ``ref`` is the normalised reference transcript (None if there is none), ``nbest`` the
    hypotheses, best first (empty if decoding found no path), ``duration`` in seconds, ``fields``
    any further property of the supervision that a breakdown may use.
    """

    id: str
    ref: str | None
    nbest: list[Hypothesis]
    duration: float = 0.0
    speaker: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def hyp(self) -> str:
        """Text of the best hypothesis; empty if there is none."""
        return self.nbest[0].text if self.nbest else ""


def write_results(path: str | Path, results: Iterable[Result]) -> int:
    """Write ``results`` to ``path``, one JSON object per line; return how many there were.

    Raises NeveError on an id that occurs twice, and on a number that is not finite.
    """
    seen: set[str] = set()
    with atomic_open(path) as f:
        for result in results:
            if result.id in seen:
                raise NeveError(f"{path}: utterance {result.id} is given twice; ids must be unique")
            seen.add(result.id)
            f.write(_to_json(result) + "\n")
    return len(seen)


def iter_results(path: str | Path) -> Iterator[Result]:
    """Yield the results in file order, one at a time.

    Raises NeveError naming file and line for a line that is not a result, and for an id that
    occurs twice.
    """
    path = Path(path)
    seen: dict[str, int] = {}
    try:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if not line.strip():
                    continue
                try:
                    result = _from_json(line)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise NeveError(
                        f"{path}, line {number}: not a decoding result ({_reason(error)}); "
                        "decode this set again"
                    ) from error
                if result.id in seen:
                    raise NeveError(
                        f"{path}, line {number}: utterance {result.id} is already on line "
                        f"{seen[result.id]}; ids must be unique: decode this set again"
                    )
                seen[result.id] = number
                yield result
    except UnicodeDecodeError as error:
        raise NeveError(f"{path}: not UTF-8 text ({error}); decode this set again") from error
    except OSError as error:
        raise NeveError(f"{path}: cannot be read ({error.strerror}); decode first") from error


def read_results(path: str | Path) -> list[Result]:
    """All results of a file, in file order. Errors as in iter_results."""
    return list(iter_results(path))


def _to_json(result: Result) -> str:
    nbest = [
        {
            "score": float(hypothesis.score),
            "words": [
                [
                    word.text,
                    round(float(word.start), 4),
                    round(float(word.end), 4),
                    None if word.confidence is None else round(float(word.confidence), 4),
                    *([word.spoken] if word.spoken is not None else []),
                ]
                for word in hypothesis.words
            ],
            **({"partial": True} if hypothesis.partial else {}),
        }
        for hypothesis in result.nbest
    ]
    record = {
        "id": result.id,
        "ref": result.ref,
        "duration": float(result.duration),
        "speaker": result.speaker,
        "fields": result.fields,
        "nbest": nbest,
    }
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise NeveError(f"result of utterance {result.id} cannot be written: {error}") from error


def _from_json(line: str) -> Result:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise TypeError("not a JSON object")
    return Result(
        id=_text(record, "id"),
        ref=_text(record, "ref", optional=True),
        nbest=[_hypothesis(entry) for entry in record["nbest"]],
        duration=_number(record.get("duration", 0.0), "duration"),
        speaker=_text(record, "speaker", optional=True),
        fields={str(k): str(v) for k, v in (record.get("fields") or {}).items()},
    )


def _hypothesis(entry: dict) -> Hypothesis:
    words = []
    for text, start, end, confidence, *more in entry["words"]:
        if not isinstance(text, str):
            raise TypeError(f"word {text!r} is not a string")
        if len(more) > 1 or not all(isinstance(spoken, str) for spoken in more):
            raise TypeError(f"what word {text} was spoken as, {more}, is not a string")
        if confidence is not None:
            confidence = _number(confidence, "confidence")
        times = _number(start, "start"), _number(end, "end")
        words.append(Word(text, *times, confidence, *more))
    partial = entry.get("partial", False)
    if not isinstance(partial, bool):
        raise TypeError(f"partial is {partial!r}, not true or false")
    return Hypothesis(words, _number(entry.get("score", 0.0), "score"), partial)


def _text(record: dict, key: str, *, optional: bool = False) -> str | None:
    value = record.get(key) if optional else record[key]
    if isinstance(value, str) or (optional and value is None):
        return value
    raise TypeError(f"{key} is {value!r}, not a string")


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{name} is {value!r}, not a finite number")
    return float(value)


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
