"""Keywords in CTC outputs: scores against all alignments, detections, thresholds, streams."""

import itertools

import numpy as np
import pytest

from neve.decoding.keywords import Detection, KeywordSpotter, keyword_tokens
from neve.errors import NeveError


def log_probs_of(frames, classes=6, right=0.9):
    scores = np.full((len(frames), classes), (1 - right) / (classes - 1))
    scores[np.arange(len(frames)), frames] = right
    return np.log(scores)


def best_by_force(log_probs, tokens):
    """The highest score of any alignment of the tokens to any frames in a row."""
    ratios = log_probs - log_probs.max(axis=1, keepdims=True)
    best = -np.inf
    for begin in range(len(ratios)):
        for end in range(begin + 1, len(ratios) + 1):
            for path in itertools.product([0, *set(tokens)], repeat=end - begin):
                if path[0] == 0 or path[-1] == 0:
                    continue
                merged = [k for k, _ in itertools.groupby(path) if k]
                if merged == list(tokens):
                    total = sum(ratios[begin + i, k] for i, k in enumerate(path))
                    best = max(best, total / len(tokens))
    return np.exp(best)


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 2, 1]])
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_the_best_of_all_alignments(tokens, seed):
    draw = np.random.default_rng(seed)
    scores = draw.normal(0, 1.5, (5, 4))
    log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    spotter = KeywordSpotter({"word": [tokens]}, threshold=1e-12, hold=100)
    found = max(one.score for one in spotter.spot(log_probs))
    assert found == pytest.approx(best_by_force(log_probs, tokens))


def test_where_and_how_often():
    #         0  1  2  3  4  5  6  7  8  9 10 11 12 13
    frames = [0, 1, 1, 0, 2, 3, 0, 4, 0, 1, 2, 3, 0, 0]
    spotter = KeywordSpotter({"abc": [[1, 2, 3]], "d": [[4]], "cb": [[3, 2]]}, threshold=0.7)
    assert spotter.spot(log_probs_of(frames)) == [
        Detection("abc", 1, 6, 1.0),
        Detection("d", 7, 8, 1.0),
        Detection("abc", 9, 12, 1.0),
    ]
    # a repeated token needs a blank between
    spotter = KeywordSpotter({"aa": [[1, 1]]}, threshold=0.9)
    assert spotter.spot(log_probs_of([0, 1, 1, 1, 0])) == []
    assert len(spotter.spot(log_probs_of([0, 1, 0, 1, 0]))) == 1


def test_thresholds_part_what_was_said_from_what_was_not():
    draw = np.random.default_rng(3)
    keyword = [1, 2, 3, 4, 5]
    said, other = [], []
    for i in range(100):
        tokens = keyword if i % 2 else draw.permutation(keyword[:-1] + [int(draw.integers(6, 12))])
        frames = [x for t in tokens for x in (t, t, 0)]
        scores = draw.normal(0, 1, (len(frames), 12))
        scores[np.arange(len(frames)), frames] += 3.5
        log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        found = KeywordSpotter({"k": [keyword]}, threshold=1e-6).spot(log_probs)
        (said if i % 2 else other).append(max((one.score for one in found), default=0.0))
    bar = 0.5
    recall = np.mean(np.array(said) >= bar)
    false = np.mean(np.array(other) >= bar)
    assert recall >= 0.95 and false <= 0.05, (recall, false)


def test_a_stream_finds_what_a_whole_recording_has():
    draw = np.random.default_rng(0)
    log_probs = log_probs_of(draw.integers(0, 4, 400), classes=4, right=0.6)
    keywords = {"x": [[1, 2], [3]], "y": [[2, 2, 1]], "z": [[1, 3, 2]]}
    spotter = KeywordSpotter(keywords, threshold=0.5)
    whole = spotter.spot(log_probs)
    assert len(whole) > 20
    spotter.reset()
    parts = []
    for begin in range(0, 400, 7):
        now = spotter.accept(log_probs[begin : begin + 7])
        assert all(one.end <= begin + 7 for one in now)
        parts += now
    parts += spotter.finish()
    assert parts == whole
    for name in keywords:
        spans = sorted((one.start, one.end) for one in whole if one.keyword == name)
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))


def test_thresholds_of_single_keywords():
    log_probs = log_probs_of([1, 0, 2], right=0.4)
    log_probs[0, 3] = np.log(0.8)
    spotter = KeywordSpotter({"a": [[1]], "b": [[2]]}, 0.9, {"a": 0.4})
    assert [one.keyword for one in spotter.spot(log_probs)] == ["a", "b"]
    assert spotter.spot(log_probs)[0].score == pytest.approx(0.5)
    spotter = KeywordSpotter({"a": [[1]], "b": [[2]]}, 0.9)
    assert [one.keyword for one in spotter.spot(log_probs)] == ["b"]


@pytest.mark.parametrize(
    ("keywords", "options", "words"),
    [
        ({}, {}, "keywords: there is none"),
        ({"a": []}, {}, "a has no pronunciation"),
        ({"a": [[0]]}, {}, "a has no tokens, or ids below 1"),
        ({"a": [[1]]}, {"threshold": 0.0}, "threshold of a: 0.0"),
        ({"a": [[1]]}, {"thresholds": {"b": 0.5}}, "b is not among the keywords"),
    ],
)
def test_bad_keywords(keywords, options, words):
    with pytest.raises(NeveError, match=words):
        KeywordSpotter(keywords, **options)


def test_log_probs_of_another_model():
    with pytest.raises(NeveError, match="class for token 9"):
        KeywordSpotter({"a": [[9]]}).spot(log_probs_of([1, 2]))


def test_tokens_of_phrases():
    class Two:
        def pronunciations(self, word):
            return {"A": [[1], [2, 3]], "B": [[4]]}[word]

    assert keyword_tokens(Two(), ["A B", "B"]) == {"A B": [[1, 4], [2, 3, 4]], "B": [[4]]}
