"""The figures of one decoded set, and their file `wer-summary-<split>.json`.

The file is one line of JSON. Rates are in errors per reference token (0.05 is 5 %); an interval is
`[low, high]` or null.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neve.costs import Cost
from neve.errors import NeveError
from neve.files import atomic_open

from .alignment import Counts
from .analysis import Row, SplitScore
from .bootstrap import interval_of
from .calibration import Calibration, calibration
from .config import ScoringConfig
from .terms import TermCounts, all_terms, count_terms

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Summary:
    """What is worth saying of one decoded set in a few figures.

    `seconds` of audio, `wrong_utterances` with at least one word error, `skipped` utterances
    without reference; `experiment` tells which system it was (keys `tag`, `seed`, `decoding`, as
    far as they were given), `cost` what its decoding took, if that is known, `terms` the counts
    of listed terms, if there is a list.
    """

    split: str
    utterances: int
    skipped: int
    wrong_utterances: int
    seconds: float
    words: Counts
    characters: Counts
    words_interval: Interval = None
    characters_interval: Interval = None
    confidence_level: float = 0.95
    bootstrap_unit: str = "utterance"
    calibration: Calibration | None = None
    breakdowns: dict[str, list[Row]] = field(default_factory=dict)
    checked: str | None = None
    experiment: dict[str, str] = field(default_factory=dict)
    cost: Cost | None = None
    terms: list[TermCounts] | None = None


def summarize(
    score: SplitScore,
    config: ScoringConfig,
    experiment: Mapping[str, str] | None = None,
    checked: str | None = None,
    cost: Cost | None = None,
    terms: Sequence[tuple[str, ...]] = (),
) -> Summary:
    """Compute the figures of a scored set, and of `terms`; `checked` says what confirmed them."""
    return Summary(
        split=score.split,
        utterances=len(score.utterances),
        skipped=len(score.skipped),
        wrong_utterances=score.wrong_utterances,
        seconds=score.seconds,
        words=score.words,
        characters=score.characters,
        words_interval=interval_of(score.utterances, config, "words"),
        characters_interval=interval_of(score.utterances, config, "characters"),
        confidence_level=config.confidence_level,
        bootstrap_unit=config.bootstrap_unit,
        calibration=calibration(pair for u in score.utterances for pair in u.confidences),
        breakdowns=score.breakdowns(config),
        checked=checked,
        experiment={k: str(v) for k, v in (experiment or {}).items() if v is not None},
        cost=cost,
        terms=count_terms(terms, (u.pairs for u in score.utterances)) if terms else None,
    )


def write_summary(path: str | Path, summary: Summary) -> None:
    """Write a summary as one line of JSON."""
    record = {
        "split": summary.split,
        **summary.experiment,
        "utterances": summary.utterances,
        "skipped": summary.skipped,
        "wrong_utterances": summary.wrong_utterances,
        "seconds": round(summary.seconds, 3),
        "words": _rate(summary.words, summary.words_interval),
        "characters": _rate(summary.characters, summary.characters_interval),
        "confidence_level": summary.confidence_level,
        "bootstrap_unit": summary.bootstrap_unit,
        "calibration": summary.calibration and dataclasses.asdict(summary.calibration),
        "breakdowns": {
            name: [
                {
                    "value": row.value,
                    "utterances": row.utterances,
                    "seconds": round(row.seconds, 3),
                    "words": _rate(row.words),
                    "characters": _rate(row.characters),
                }
                for row in rows
            ]
            for name, rows in summary.breakdowns.items()
        },
        "checked": summary.checked,
        "terms": summary.terms
        and [
            {**dataclasses.asdict(t), "recall": t.recall, "precision": t.precision}
            for t in (*summary.terms, all_terms(summary.terms))
        ],
        "cost": summary.cost and summary.cost.as_dict(),
    }
    with atomic_open(path) as f:
        f.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_summary(path: str | Path) -> Summary:
    """Read what write_summary wrote.

    Raises NeveError naming the file if it cannot be read or is not a summary.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        words, words_interval = _read_rate(record["words"])
        characters, characters_interval = _read_rate(record["characters"])
        told = record["calibration"]
        return Summary(
            split=record["split"],
            utterances=record["utterances"],
            skipped=record["skipped"],
            wrong_utterances=record["wrong_utterances"],
            seconds=record["seconds"],
            words=words,
            characters=characters,
            words_interval=words_interval,
            characters_interval=characters_interval,
            confidence_level=record["confidence_level"],
            bootstrap_unit=record["bootstrap_unit"],
            calibration=told
            and Calibration(**{**told, "bins": [tuple(row) for row in told["bins"]]}),
            breakdowns={
                name: [
                    Row(
                        row["value"],
                        row["utterances"],
                        row["seconds"],
                        _read_rate(row["words"])[0],
                        _read_rate(row["characters"])[0],
                    )
                    for row in rows
                ]
                for name, rows in record["breakdowns"].items()
            },
            checked=record["checked"],
            experiment={k: record[k] for k in ("tag", "seed", "decoding") if k in record},
            terms=_read_terms(record.get("terms")),
            cost=Cost.of_dict(record["cost"]) if record.get("cost") else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NeveError(
            f"{path}: not a summary of scores ({type(error).__name__}: {error}); score this "
            "decoding again"
        ) from error


def _read_terms(rows: list[dict] | None) -> list[TermCounts] | None:
    return rows and [
        TermCounts(row["term"], row["reference"], row["hypothesis"], row["correct"])
        for row in rows[:-1]  # the last is all of them
    ]


def _rate(counts: Counts, interval: Interval = None) -> dict:
    record: dict = {
        "errors": counts.errors,
        "reference": counts.reference,
        "rate": counts.rate,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }
    if interval is not None:
        record["interval"] = list(interval)
    return record


def _read_rate(record: dict) -> tuple[Counts, Interval]:
    substitutions, deletions = record["substitutions"], record["deletions"]
    counts = Counts(
        correct=record["reference"] - substitutions - deletions,
        substitutions=substitutions,
        deletions=deletions,
        insertions=record["insertions"],
    )
    interval = record.get("interval")
    return counts, tuple(interval) if interval else None
