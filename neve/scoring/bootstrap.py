"""Confidence intervals of error rates, and whether two systems differ, by the bootstrap.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
ICASSP 2004: utterances (or speakers) are drawn with replacement, as many as there are, and the
error rate of each such sample is computed; the interval lies between the percentiles of these
rates. Two systems are compared on the same samples, so that what makes a sample hard for both
cancels.

What is drawn matters only through its errors and its reference length, so a sample is drawn as how
often each different (errors, reference) occurs: a multinomial, exactly the same distribution, and
much quicker than drawing a hundred thousand utterances one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neve.errors import NeveError

from .analysis import SplitScore, Utterance
from .config import ScoringConfig

_CELLS = 4_000_000  # numbers held at once


@dataclass(frozen=True)
class Comparison:
    """System B against system A on the same utterances, rates in errors per reference token.

    `difference` is the rate of B minus that of A, `interval` its confidence interval, and
    `probability_of_improvement` the share of bootstrap samples in which B has fewer errors (ties
    count half). `significant` says whether the interval leaves out zero.
    """

    rate_a: float
    rate_b: float
    difference: float
    interval: tuple[float, float]
    probability_of_improvement: float

    @property
    def significant(self) -> bool:
        return self.interval[0] > 0 or self.interval[1] < 0


def bootstrap_interval(
    errors: Sequence[int],
    reference: Sequence[int],
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of `sum(errors) / sum(reference)` over units that are drawn together.

    `errors[i]` and `reference[i]` are the counts of unit i (an utterance, or all of a speaker).
    A sample whose units have no reference token counts as its number of errors, like Counts.rate.
    """
    _check(samples, level)
    units = np.stack([np.asarray(errors), np.asarray(reference)], axis=1).astype(np.int64)
    totals = _resampled_totals(units, samples, seed)
    return _percentiles(totals[:, 0] / np.maximum(totals[:, 1], 1), level)


def interval_of(
    utterances: Iterable[Utterance], config: ScoringConfig, what: str = "words"
) -> tuple[float, float] | None:
    """The configured interval of the error rate of `what` (`words` or `characters`).

    None if the configuration asks for no samples, or if there is only one unit to draw from.
    Raises NeveError if speakers are to be drawn and an utterance has none.
    """
    if config.bootstrap_samples == 0:
        return None
    units = _units(utterances, config.bootstrap_unit, what)
    if len(units) < 2:
        return None
    errors, reference = zip(*units.values(), strict=True)
    return bootstrap_interval(
        errors, reference, config.bootstrap_samples, config.confidence_level, config.bootstrap_seed
    )


def compare_systems(
    a: SplitScore, b: SplitScore, config: ScoringConfig | None = None, what: str = "words"
) -> Comparison:
    """Paired bootstrap of two systems that decoded the same utterances.

    Raises NeveError if the two sets differ in their utterances or references.
    """
    config = config or ScoringConfig()
    samples, level = config.bootstrap_samples or 1000, config.confidence_level
    _check(samples, level)
    units_a = _units(a.utterances, config.bootstrap_unit, what)
    units_b = _units(b.utterances, config.bootstrap_unit, what)
    differing = sorted(
        unit
        for unit in units_a.keys() | units_b.keys()
        if units_a.get(unit, (0, -1))[1] != units_b.get(unit, (0, -1))[1]
    )
    if differing:
        raise NeveError(
            f"the systems to compare were not scored on the same references: {differing[0]} "
            f"differs, {len(differing)} in all; decode the same set with both"
        )
    units = np.array([(*units_a[unit], units_b[unit][0]) for unit in units_a], dtype=np.int64)
    totals = _resampled_totals(units, samples, config.bootstrap_seed)
    fewer = totals[:, 2] - totals[:, 0]
    reference = max(int(units[:, 1].sum()), 1)
    rate_a, rate_b = int(units[:, 0].sum()) / reference, int(units[:, 2].sum()) / reference
    return Comparison(
        rate_a=rate_a,
        rate_b=rate_b,
        difference=rate_b - rate_a,
        interval=_percentiles(fewer / np.maximum(totals[:, 1], 1), level),
        probability_of_improvement=float(np.mean(fewer < 0) + np.mean(fewer == 0) / 2),
    )


def _units(utterances: Iterable[Utterance], unit: str, what: str) -> dict[str, tuple[int, int]]:
    """(errors, reference tokens) of each utterance id or each speaker."""
    if unit == "utterance":
        return {u.id: _numbers(u, what) for u in utterances}
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for u in utterances:
        if u.speaker is None:
            raise NeveError(
                f"utterance {u.id} has no speaker, so speakers cannot be drawn; use "
                "--scoring.bootstrap-unit utterance, or give every utterance its speaker"
            )
        errors, reference = _numbers(u, what)
        sums[u.speaker][0] += errors
        sums[u.speaker][1] += reference
    return {speaker: (errors, reference) for speaker, (errors, reference) in sums.items()}


def _numbers(utterance: Utterance, what: str) -> tuple[int, int]:
    counts = utterance.words if what == "words" else utterance.characters
    return counts.errors, counts.reference


def _resampled_totals(units: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Column sums (samples, columns) of `samples` draws of len(units) rows of `units`."""
    different, times = np.unique(units, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    share = times / times.sum()
    step = max(1, _CELLS // len(different))
    return np.concatenate(
        [
            generator.multinomial(len(units), share, size=min(step, samples - done)) @ different
            for done in range(0, samples, step)
        ]
    )


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(samples: int, level: float) -> None:
    if samples < 1:
        raise NeveError(f"scoring.bootstrap_samples is {samples}; a bootstrap needs at least one")
    if not 0 < level < 1:
        raise NeveError(f"scoring.confidence_level is {level}; it must lie between 0 and 1")
