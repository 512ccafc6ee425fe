"""Expected edit distances: against all paths of small lattices, one by one."""

import numpy as np
import pytest
from word_lattices import all_paths, expected, random_lattice

from neve.kernels.bayes_risk import WordLattice


def test_the_risk_is_that_of_all_paths_and_never_above_the_best_one():
    lower = 0
    for seed in range(120):
        lattice = random_lattice(np.random.default_rng(seed))
        paths = all_paths(*lattice)
        best = max(paths)[1]
        exact = WordLattice(*lattice, most=1000)
        found, votes = exact.least_risk(best)
        assert votes.risk == pytest.approx(expected(paths, found), abs=1e-9)
        assert exact.vote(best).risk == pytest.approx(expected(paths, best), abs=1e-9)
        assert votes.risk <= expected(paths, best) + 1e-9
        lower += votes.risk < expected(paths, best) - 1e-9
        assert votes.votes.sum(axis=1) == pytest.approx(1.0)
        places = votes.votes[1::2][np.arange(len(found)), found]
        assert [parts.sum() for _, parts in votes.spoken] == pytest.approx(places)
        for word, (arcs, _) in zip(found, votes.spoken):
            assert (exact.words[arcs] == word).all() and (np.diff(arcs) > 0).all()
        # where paths that meet are not told apart, it is what the paper has: no less than the risk
        assert WordLattice(*lattice, most=1).vote(found).risk >= votes.risk - 1e-9
    assert lower > 10  # the words of the best path are often not those of the least risk


def test_equal_words_on_several_paths_count_together():
    # A 0.4 on one path; B 0.35 and 0.25 on two, one of which says nothing first
    once = np.log([0.4, 0.6])
    plain = WordLattice([0, 2, 2], [1, 1], once, [1, 2])
    twice = WordLattice(
        [0, 3, 4, 4], [2, 2, 1, 2], np.log([0.4, 0.35, 0.25, 1.0]), [1, 2, 0, 2]
    )  # fmt: skip
    for lattice in (plain, twice):
        words, votes = lattice.least_risk([1])
        assert words == [2] and votes.risk == pytest.approx(0.4)
        assert votes.votes[1] == pytest.approx([0.0, 0.4, 0.6])


def test_a_word_that_most_paths_lack_is_left_out_and_one_that_most_have_comes_in():
    # of A B C D the words are 1 to 4. Of [A B] 0.4, [A C B] 0.3, [A D C B] 0.3 no path is best:
    # A B has 0.3 + 2 x 0.3 = 0.9 expected errors, A C B 0.4 + 0.3 = 0.7, A D C B 0.8 + 0.3 = 1.1
    splits = [0, 1, 4, 5, 6, 7, 8, 8]
    dst, words = [1, 5, 2, 3, 5, 4, 5, 6], [1, 0, 3, 4, 0, 3, 0, 2]
    scores = np.log([1.0, 0.4, 0.3, 0.3, 1.0, 1.0, 1.0, 1.0])
    lattice = WordLattice(splits, dst, scores, words)
    for start, risk in (([1, 2], 0.9), ([1, 4, 3, 2], 1.1), ([1, 3, 2], 0.7)):
        assert lattice.vote(start).risk == pytest.approx(risk)
        found, votes = lattice.least_risk(start)
        assert found == [1, 3, 2] and votes.risk == pytest.approx(0.7)
    assert votes.votes[[1, 3, 5], [1, 3, 2]] == pytest.approx([1.0, 0.6, 1.0])
    assert votes.votes[2, [0, 4]] == pytest.approx([0.7, 0.3])  # the gap before C
    assert lattice.path_through(2) == [0, 2, 4, 7]


def test_nothing_is_said_where_that_is_likeliest():
    lattice = WordLattice([0, 2, 2], [1, 1], np.log([0.7, 0.3]), [0, 1])
    words, votes = lattice.least_risk([1])
    assert words == [] and votes.risk == pytest.approx(0.3) and votes.spoken == []
    assert votes.votes == pytest.approx(np.array([[0.7, 0.3]]))


def test_who_says_a_word_takes_memory_by_what_is_said():
    # 300 words, of which each place has two arcs: of all 600 x 300 pairs those of 600 are kept
    count = 300
    splits = np.append(np.arange(0, 2 * count + 1, 2), 2 * count)
    dst = np.repeat(np.arange(1, count + 1), 2)
    words = np.column_stack([np.arange(1, count + 1), np.full(count, count + 1)]).ravel()
    scores = np.log(np.tile([0.75, 0.25], count))
    votes = WordLattice(splits, dst, scores, words, most=1).vote(list(range(1, count + 1)))
    assert votes.risk == pytest.approx(0.25 * count)
    assert [arcs.tolist() for arcs, _ in votes.spoken] == [[2 * n] for n in range(count)]
    assert [float(parts[0]) for _, parts in votes.spoken] == pytest.approx([0.75] * count)


def test_arcs_that_nothing_reaches_change_nothing():
    # state 1 cannot be reached, and one arc has no probability at all
    lattice = WordLattice([0, 2, 3, 3], [2, 2, 2], [0.0, -np.inf, 0.0], [1, 2, 2])
    words, votes = lattice.least_risk([1])
    assert words == [1] and votes.risk == 0.0
    with pytest.raises(ValueError, match="no path leads through the lattice"):
        WordLattice([0, 1, 1], [1], [-np.inf], [1])
