"""Given sequences in a lattice, against all of its paths."""

import numpy as np
import pytest

from neve.kernels.listed_paths import listed_paths


def random_lattice(rng, states=7, arcs=20):
    """(rows, dst, scores), what each arc says as a list, and src, of arcs to later states."""
    src = np.sort(rng.integers(0, states - 1, arcs))
    dst = np.array([rng.integers(one + 1, states) for one in src])
    said = [rng.integers(1, 4, rng.choice([0, 1, 1, 2])).tolist() for _ in src]
    rows = np.searchsorted(src, np.arange(states + 1))
    return (rows, dst, rng.normal(size=arcs)), said, src


def paths_of(lattice, said):
    """{what is said: [(score, arcs)]} of all paths."""
    rows, dst, scores = lattice
    found, open_paths = {}, [(0, (), 0.0, ())]
    while open_paths:
        state, spoken, score, arcs = open_paths.pop()
        if state == len(rows) - 2:
            found.setdefault(spoken, []).append((score, list(arcs)))
            continue
        for arc in range(rows[state], rows[state + 1]):
            after = (*spoken, *said[arc])
            open_paths.append((dst[arc], after, score + scores[arc], (*arcs, arc)))
    return found


def ragged(lists):
    return np.cumsum([0, *map(len, lists)]), np.array([x for row in lists for x in row], np.int64)


@pytest.mark.parametrize("states", [3, 7, 40])
def test_of_each_sequence_the_best_path_and_the_sum(states):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        lattice, said, _ = random_lattice(rng, states, 20 if states < 40 else 60)
        wanted = paths_of(lattice, said)
        lists = [list(spoken) for spoken in wanted]
        if lists:
            lists = [lists[i] for i in rng.permutation(len(lists))[:8]]
        lists += [row for row in ([9], [1] * 30) if row not in lists]
        found = listed_paths(lattice, ragged(said), ragged(lists))
        for i, sequence in enumerate(lists):
            known = wanted.get(tuple(sequence), [])
            arcs = found.arcs[found.splits[i] : found.splits[i + 1]].tolist()
            if not known:
                assert found.scores[i] == found.totals[i] == -np.inf and arcs == []
                continue
            best, path = max(known)
            assert found.scores[i] == pytest.approx(best) and arcs == path
            total = np.logaddexp.reduce([score for score, _ in known])
            assert found.totals[i] == pytest.approx(total)


def test_lattices_without_paths_and_lists_without_sequences():
    empty = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    none = ragged([])
    assert listed_paths(empty, none, ragged([[1]])).totals.tolist() == [-np.inf]
    one = (np.array([0, 1, 1]), np.array([1]), np.array([-2.0]))
    assert listed_paths(one, ragged([[]]), none).scores.tolist() == []
    found = listed_paths(one, ragged([[]]), ragged([[], [1]]))
    assert found.totals.tolist() == [-2.0, -np.inf] and found.arcs.tolist() == [0]
