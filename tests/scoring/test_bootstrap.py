"""Bootstrap intervals and comparisons, and the calibration of confidences."""

import numpy as np
import pytest

from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word
from neve.scoring import (
    ScoringConfig,
    bootstrap_interval,
    calibration,
    compare_systems,
    score_results,
)
from neve.scoring.bootstrap import interval_of


def system(errors, length=10, speakers=None, split="test"):
    """Utterances of `length` words of which errors[i] are wrong."""
    results = []
    for i, wrong in enumerate(errors):
        hyp = ["X"] * wrong + ["A"] * (length - wrong)
        nbest = [Hypothesis([Word(w, 0.0, 0.1) for w in hyp])]
        speaker = speakers[i] if speakers else None
        results.append(Result(f"u{i}", " ".join(["A"] * length), nbest, 1.0, speaker))
    return score_results(split, results)


def test_interval_equals_that_of_drawing_one_by_one():
    generator = np.random.default_rng(1)
    reference = generator.integers(1, 20, 200)
    errors = generator.binomial(reference, 0.1)
    low, high = bootstrap_interval(errors, reference, samples=20000, seed=3)
    drawn = generator.integers(0, 200, (20000, 200))
    rates = errors[drawn].sum(1) / reference[drawn].sum(1)
    assert (low, high) == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=1.5e-3)
    assert low < errors.sum() / reference.sum() < high


def test_interval_is_that_of_the_binomial_where_every_word_is_an_utterance():
    errors = [1] * 100 + [0] * 900
    low, high = bootstrap_interval(errors, [1] * 1000, samples=20000)
    spread = 1.96 * (0.1 * 0.9 / 1000) ** 0.5
    assert (low, high) == pytest.approx((0.1 - spread, 0.1 + spread), abs=1.5e-3)


def test_interval_is_the_same_each_time_and_wider_at_a_higher_level():
    errors, reference = [0, 1, 2, 0, 3] * 10, [5, 6, 7, 8, 9] * 10
    one = bootstrap_interval(errors, reference, seed=5)
    assert one == bootstrap_interval(errors, reference, seed=5)
    assert one != bootstrap_interval(errors, reference, seed=6)
    wide = bootstrap_interval(errors, reference, level=0.99, seed=5)
    assert wide[0] < one[0] < one[1] < wide[1]


def test_no_errors_and_no_reference():
    assert bootstrap_interval([0, 0], [3, 4]) == (0.0, 0.0)
    low, high = bootstrap_interval([1, 0], [0, 0])
    assert (low, high) == (0.0, 2.0)


def test_drawing_in_pieces_changes_nothing(monkeypatch):
    errors, reference = list(range(40)), [50] * 40
    whole = bootstrap_interval(errors, reference, samples=100)
    monkeypatch.setattr("neve.scoring.bootstrap._CELLS", 120)
    assert bootstrap_interval(errors, reference, samples=100) == whole


def test_speakers_that_differ_widen_the_interval():
    errors = [0] * 50 + [4] * 50
    score = system(errors, speakers=[f"s{i // 10}" for i in range(100)])
    by_utterance = interval_of(score.utterances, ScoringConfig())
    by_speaker = interval_of(score.utterances, ScoringConfig(bootstrap_unit="speaker"))
    assert by_speaker[1] - by_speaker[0] > 2 * (by_utterance[1] - by_utterance[0])


def test_when_there_is_no_interval():
    assert interval_of(system([1]).utterances, ScoringConfig()) is None
    assert interval_of(system([1, 2]).utterances, ScoringConfig(bootstrap_samples=0)) is None


def test_bad_settings_are_named():
    with pytest.raises(NeveError, match="confidence_level is 1.5"):
        interval_of(system([1, 2]).utterances, ScoringConfig(confidence_level=1.5))
    with pytest.raises(NeveError, match="bootstrap_samples is -1"):
        interval_of(system([1, 2]).utterances, ScoringConfig(bootstrap_samples=-1))
    with pytest.raises(NeveError, match="u0 has no speaker.*bootstrap-unit utterance"):
        interval_of(system([1, 2]).utterances, ScoringConfig(bootstrap_unit="speaker"))


def test_a_system_that_is_better_everywhere_is_significantly_better():
    worse, better = system([2, 3, 4, 2] * 20), system([1, 2, 3, 1] * 20)
    told = compare_systems(worse, better)
    assert told.difference == pytest.approx(-0.1)
    assert told.interval == pytest.approx((-0.1, -0.1))
    assert told.probability_of_improvement == 1.0
    assert told.significant


def test_equal_systems_are_a_tie():
    told = compare_systems(system([1, 2, 0] * 9), system([1, 2, 0] * 9))
    assert (told.difference, told.probability_of_improvement) == (0.0, 0.5)
    assert not told.significant


def test_a_difference_that_could_be_chance_is_not_significant():
    told = compare_systems(system([1, 0] * 30), system([0, 1] * 29 + [0, 0]))
    assert told.difference < 0
    assert not told.significant
    assert 0.4 < told.probability_of_improvement < 0.7


def test_systems_must_share_their_references():
    with pytest.raises(NeveError, match="u2 differs, 1 in all"):
        compare_systems(system([1, 1]), system([1, 1, 1]))
    with pytest.raises(NeveError, match="not scored on the same references"):
        compare_systems(system([1, 1]), system([1, 1], length=9))


def test_calibration():
    perfect = calibration([(1.0, True)] * 80 + [(0.0, False)] * 20)
    assert perfect.nce == pytest.approx(1, abs=1e-3)
    assert perfect.error == 0
    prior = calibration([(0.8, True)] * 80 + [(0.8, False)] * 20)
    assert prior.nce == pytest.approx(0)
    assert prior.bins == [(0.8, 100, pytest.approx(0.8), 0.8)]
    assert calibration([(0.99, False)] * 50 + [(0.5, True)] * 50).nce < 0
    assert calibration([]) is None
    assert calibration([(0.9, True)]).nce is None
    with pytest.raises(NeveError, match="confidence is -3.2"):
        calibration([(-3.2, True)])
