"""The parts of transducer decoding that choose which states stay."""

import numpy as np
from random_graphs import cases

from neve.kernels import streams


def test_best_states_are_found_without_looking_at_all_arcs():
    for rng, where in cases():
        count, max_states = int(rng.integers(1, 3000)), int(rng.integers(1, 20))
        beam = float(rng.choice([1e-13, 0.5, 4.0, 30.0, np.inf]))
        keys = rng.integers(0, int(rng.integers(1, 2000)), count) * 2**40
        totals = rng.normal(size=count) * rng.choice([0.01, 1, 20])
        if rng.random() < 0.5:  # most good arcs lead to a few states
            good = rng.random(count) < 0.8
            keys[good] %= 3 * 2**40
            totals[good] += rng.random()
        if rng.random() < 0.3:
            totals = np.round(totals)
        if rng.random() < 0.3:
            totals[rng.random(count) < 0.5] = -np.inf
        wanted = {}
        for key, total in zip(keys.tolist(), totals.tolist()):
            wanted[key] = max(wanted.get(key, -np.inf), total)
        top = max(wanted.values())
        ranked = sorted(sorted(wanted), key=lambda key: -wanted[key])
        ranked = [key for key in ranked if wanted[key] >= top - beam][:max_states]
        found, best = streams._best_states(keys, totals, beam, max_states)
        assert (np.diff(found) > 0).all(), where
        found = dict(zip(found.tolist(), best.tolist()))
        assert all(found[key] == wanted[key] for key in ranked), where
        assert found.items() <= wanted.items(), where
        kept = streams._prune(
            np.array(sorted(found)),
            np.array([found[k] for k in sorted(found)]),
            1,
            beam,
            max_states,
            len(found),
        )
        assert [sorted(found)[i] for i in kept] == sorted(ranked), where


def test_order_is_stable():
    for rng, where in cases():
        values = rng.integers(0, 20, int(rng.integers(0, 70))).astype(float)
        expected = np.argsort(values, kind="stable")
        np.testing.assert_array_equal(streams._order(values), expected, err_msg=where)


def test_contexts_of_several_streams():
    for rng, where in cases():
        graph_states = rng.integers(1, 5, int(rng.integers(0, 4)))
        rows = [np.unique(rng.integers(0, 30, int(rng.integers(0, 9)))) for _ in graph_states]
        splits = np.cumsum([0, *map(len, rows)])
        keys = np.concatenate([np.empty(0, np.int64), *rows])
        found, contexts, context_splits = streams.contexts_of(keys, splits, graph_states)
        wanted = [sorted(set((row // n).tolist())) for row, n in zip(rows, graph_states)]
        assert contexts.tolist() == [context for row in wanted for context in row], where
        assert np.diff(context_splits).tolist() == list(map(len, wanted)), where
        expected = np.concatenate([np.empty(0), *(r // n for r, n in zip(rows, graph_states))])
        np.testing.assert_array_equal(contexts[found], expected, err_msg=where)
