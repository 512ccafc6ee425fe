"""Minimum Bayes risk: worked out by hand, and against all paths of the lattices of noise."""

import numpy as np
import pytest
from small_lattices import noise, recognizer, scores_of, search, sentences, small_lang, texts_of
from word_lattices import all_paths, expected

from neve.decoding import Scales
from neve.decoding.mbr import SpokenLattice, voters
from neve.decoding.word_paths import Lattice
from neve.errors import ConfigError

PLAIN = {"method": "mbr", "posterior_scale": 1.0}


@pytest.fixture
def lang(tmp_path):
    return small_lang(tmp_path)


def test_the_least_expected_errors_are_not_those_of_the_best_sequence(lang, tmp_path):
    # A B has 2 errors against each of the others: 2 x 0.6 = 1.2. C B, which nobody said, has 1
    # against all three: 1.0, as have C D and C E 0.4 x 2 + 0.3 x 1 = 1.1. C is right with 0.6,
    # B with 0.4
    G = sentences(lang, tmp_path / "G.txt", ("A B", 0.4), ("C D", 0.3), ("C E", 0.3))
    scores = scores_of(lang, {"a": 0.5, "c": 0.5}, dict.fromkeys("bde", 1 / 3))
    assert texts_of(search(recognizer(lang, G, method="1best"), scores)) == ["A B"]
    (found,) = search(recognizer(lang, G, **PLAIN), scores)
    assert found.text == "C B" and found.score == pytest.approx(-1.0, abs=1e-3)
    assert [word.confidence for word in found.words] == pytest.approx([0.6, 0.4], abs=1e-3)
    times = [(word.start, word.end) for word in found.words]
    assert times == [pytest.approx((0.0, 0.03)), pytest.approx((0.03, 0.06))]
    # half the scores are square roots of probabilities: 0.63, 0.55, 0.55 of 1.73
    (flat,) = search(recognizer(lang, G, method="mbr", posterior_scale=0.5), scores)
    assert [word.confidence for word in flat.words] == pytest.approx([0.634, 0.366], abs=1e-3)


def test_times_are_the_mean_of_the_paths_that_say_the_word(lang, tmp_path):
    # A lasts from frame 0 to 1 (a -), to 2 (a a), or from 1 to 2 (- a): 0.32, 0.48 and 0.12 of 0.92
    G = sentences(lang, tmp_path / "G.txt", ("A", 1.0))
    scores = scores_of(lang, {"a": 0.8, "-": 0.2}, {"a": 0.6, "-": 0.4})
    (found,) = search(recognizer(lang, G, **PLAIN), scores)
    (word,) = found.words
    assert word.confidence == pytest.approx(1.0) and found.score == pytest.approx(0.0, abs=1e-6)
    # the first two leave the start by the same arc, whose best path is a a
    assert word.start == pytest.approx(0.03 * 0.12 / 0.92, abs=1e-4)
    assert word.end == pytest.approx(0.06, abs=1e-4)


def test_the_risk_is_that_of_all_paths_of_the_lattice(lang):
    (scores,), lengths = noise(lang, frames=5, seed=3), np.array([5])
    method = recognizer(lang, output_beam=6.0, **PLAIN).method
    (one,) = method.first_pass(scores[None], lengths, Scales())
    ((found,),) = method.second_pass([one], Scales())
    spoken = SpokenLattice(one.lattice, method.said)
    words = [spoken.names.index(word.text) for word in found.words]
    arcs = spoken.words
    paths = all_paths(arcs.splits, *arcs.arcs[1:3], arcs.words)
    assert len(paths) > 50
    assert -found.score == pytest.approx(expected(paths, words), abs=1e-9)
    best = [word for arc in one.best for word in spoken.numbers[arc]]
    assert -found.score <= expected(paths, best) + 1e-9


def test_an_arc_with_several_words_is_a_chain():
    # 0 -"A B"-> 1 -> 2 and 0 -"A C A"-> 2; words 1, 2, 3, of which 4 is not written
    lattice = Lattice(
        np.array([0, 2, 3, 3]), np.array([1, 2, 2]), np.log([0.6, 0.4, 1.0]),
        (np.array([0, 3, 6, 6]), np.array([1, 4, 2, 1, 3, 1])), np.array([5, 6, 7]), False,
    )  # fmt: skip
    names = {1: "A", 2: "B", 3: "C"}
    spoken = SpokenLattice(lattice, lambda ids: [names[i] for i in ids if i in names])
    assert spoken.numbers == [(1, 2), (1, 3, 1), ()] and spoken.names == ["", "A", "B", "C"]
    arcs = spoken.words
    paths = all_paths(arcs.splits, *arcs.arcs[1:3], arcs.words)
    assert sorted((round(np.exp(score), 6), said) for score, said in paths) == [
        (0.4, (1, 3, 1)), (0.6, (1, 2)),
    ]  # fmt: skip
    told = {}
    for arc in np.flatnonzero(arcs.words).tolist():
        path, place = spoken.path_through(arc)
        told.setdefault(tuple(path), []).append((place, int(arcs.words[arc])))
    assert told == {(0, 2): [(0, 1), (1, 2)], (1,): [(0, 1), (1, 3), (2, 1)]}
    words, votes = arcs.least_risk([1, 2])
    assert words == [1, 2] and votes.risk == pytest.approx(0.8)


def test_votes_that_are_all_too_small_count_equally():
    says = np.array([False, True, False, True])
    arcs, weights = voters(np.array([1, 3]), np.array([0.02, 0.98]), says)
    assert arcs.tolist() == [3] and weights.tolist() == [0.98]  # the other is rare
    for given in (np.array([0, 2]), np.zeros(2)), (np.zeros(0, np.int64), np.zeros(0)):
        arcs, weights = voters(*given, says)
        assert arcs.tolist() == [1, 3] and weights.tolist() == [1.0, 1.0]


def test_a_scale_that_makes_no_sense_is_named(lang):
    with pytest.raises(ConfigError, match=r"decoding\.posterior_scale=0 must be positive"):
        recognizer(lang, method="mbr", posterior_scale=0)
