"""Analysis of a scored set: words, confusions, breakdowns, utterances without reference."""

import sys

import pytest

from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word
from neve.scoring import Counts, ScoringConfig, check_with_jiwer, score_results


def result(id, ref, hyp, speaker=None, duration=1.0, confidences=None, **fields):
    words = hyp.split()
    confidences = confidences or [None] * len(words)
    nbest = [Hypothesis([Word(w, 0.0, 0.1, c) for w, c in zip(words, confidences)])]
    return Result(id, ref, nbest, duration, speaker, fields)


RESULTS = [
    result("u1", "ONE TWO THREE", "ONE TOO THREE", "s1", 1.0, gender="f", snr="10"),
    result("u2", "TWO TWO", "TOO TWO OH", "s2", 2.0, gender="m", snr="5"),
    result("u3", "NINE FIVE", "FIVE", "s1", 30.0, gender="f", snr="10"),
    result("u4", "ONE", "ONE", "s2", 1.9, gender="m", snr="2"),
]


@pytest.fixture
def score():
    return score_results("test", RESULTS)


def test_totals(score):
    assert score.words == Counts(correct=5, substitutions=2, deletions=1, insertions=1)
    assert score.words.rate == 0.5
    assert score.wrong_utterances == 3
    assert score.seconds == pytest.approx(34.9)


def test_confusions_and_words(score):
    substitutions, deletions, insertions = score.confusions()
    assert substitutions == {("TWO", "TOO"): 2}
    assert deletions == {"NINE": 1}
    assert insertions == {"OH": 1}
    statistics = {s.word: s for s in score.word_statistics()}
    assert list(statistics) == ["TOO", "TWO", "NINE", "OH", "FIVE", "ONE", "THREE"]
    two = statistics["TWO"]
    assert (two.correct, two.errors, two.reference, two.hypothesis) == (1, 2, 3, 1)
    assert two.recall == pytest.approx(1 / 3)
    assert statistics["TOO"].recall is None
    assert sum(s.reference for s in statistics.values()) == score.words.reference
    assert sum(s.hypothesis for s in statistics.values()) == score.words.hypothesis


def test_worst_first(score):
    assert [u.id for u in score.worst(10)] == ["u2", "u3", "u1"]
    assert [u.id for u in score.worst(1)] == ["u2"]


def test_every_breakdown_adds_up_to_the_whole(score):
    tables = score.breakdowns(ScoringConfig())
    assert list(tables) == ["speaker", "duration", "gender", "snr"]
    for rows in tables.values():
        assert sum((r.words for r in rows), Counts()) == score.words
        assert sum((r.characters for r in rows), Counts()) == score.characters
        assert sum(r.utterances for r in rows) == 4
    assert [r.value for r in tables["duration"]] == ["under 2 s", "2 to 5 s", "20 s and more"]
    assert [r.value for r in tables["snr"]] == ["2", "5", "10"]
    assert {r.value: r.words.errors for r in tables["speaker"]} == {"s1": 2, "s2": 2}


def test_breakdown_by_what_some_lack():
    score = score_results("test", [*RESULTS, result("u5", "ONE", "ONE")])
    assert [r.value for r in score.breakdown("snr")] == ["2", "5", "10", "(none)"]
    assert [r.value for r in score.breakdown("speaker")] == ["(none)", "s1", "s2"]


def test_fields_with_many_values_are_left_out_unless_named():
    results = [result(f"u{i}", "A", "A", take=str(i)) for i in range(9)]
    score = score_results("test", results)
    assert list(score.breakdowns(ScoringConfig(breakdown=["*"], breakdown_values=8))) == []
    named = ScoringConfig(breakdown=["take"], breakdown_values=8)
    assert len(score.breakdowns(named)["take"]) == 9


def test_an_unknown_breakdown_names_what_there_is(score):
    with pytest.raises(NeveError, match="field 'sex'; choose from speaker, duration, gender, snr"):
        score.breakdowns(ScoringConfig(breakdown=["sex"]))


def test_utterances_without_reference_stop_or_are_skipped():
    results = [*RESULTS, result("u8", None, "ONE"), result("u9", None, "")]
    with pytest.raises(NeveError, match="2 utterance.*u8, u9.*missing-reference skip"):
        score_results("test", results)
    score = score_results("test", results, ScoringConfig(missing_reference="skip"))
    assert score.skipped == ["u8", "u9"]
    assert score.words == score_results("test", RESULTS).words


def test_a_set_without_any_reference_is_an_error():
    with pytest.raises(NeveError, match="nothing can be scored"):
        score_results("test", [])
    skip = ScoringConfig(missing_reference="skip")
    with pytest.raises(NeveError, match="nothing can be scored"):
        score_results("test", [result("u", None, "A")], skip)


def test_empty_reference_and_no_hypothesis():
    results = [result("a", "", ""), result("b", "", "UH"), Result("c", "A B", [])]
    score = score_results("test", results)
    assert score.words == Counts(deletions=2, insertions=1)
    assert "jiwer" in check_with_jiwer(score)


def test_characters_without_spaces():
    results = [result("a", "A B", "AB")]
    assert score_results("test", results).characters == Counts(correct=2, deletions=1)
    config = ScoringConfig(cer_spaces=False)
    score = score_results("test", results, config)
    assert score.characters == Counts(correct=2)
    assert check_with_jiwer(score, config.cer_spaces)


def test_confidences_go_with_the_words_that_are_right():
    results = [
        result("a", "A B C", "A X C D", confidences=[0.9, 0.2, 0.8, None]),
        result("b", "A", "A"),
        Result("c", "A B", [Hypothesis([Word("A B", 0, 1, 0.7), Word("", 1, 1, 0.1)])]),
    ]
    score = score_results("test", results)
    assert score.utterances[0].confidences == [(0.9, True), (0.2, False), (0.8, True)]
    assert score.utterances[1].confidences == []
    assert score.utterances[2].confidences == [(0.7, True), (0.7, True)]


def test_a_wrong_count_is_found_by_jiwer(score):
    score.utterances[0].words = Counts(correct=3)
    with pytest.raises(NeveError, match="WER is.*u1"):
        check_with_jiwer(score)


def test_a_wrong_character_count_is_found_by_jiwer(score):
    score.utterances[1].characters = Counts(correct=7, deletions=3)
    with pytest.raises(NeveError, match="CER is.*u2"):
        check_with_jiwer(score)


def test_wrong_counts_that_cancel_are_found_by_jiwer(score):
    first, second = score.utterances[:2]
    first.words, second.words = Counts(correct=3), Counts(substitutions=2, insertions=1)
    assert score.words.rate == 0.5
    with pytest.raises(NeveError, match="differ: u1, u2"):
        check_with_jiwer(score)


def test_without_jiwer_there_is_no_check(score, monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    assert check_with_jiwer(score) is None
