"""Token passing: against a plain reading of its specification, and on bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.kernels import Graph, lattice_search, one_best
from neve.kernels.totals import Arcs, best_paths

WIDE = {"search_beam": 1e6, "min_active": 0, "max_active": 10**6}


def random_graph(rng, num_states=5, num_arcs=14, num_labels=4) -> Graph:
    """An epsilon-free graph; scores are multiples of 1/4: ties happen and sums are exact."""
    final = num_states - 1
    src, dst = rng.integers(0, final, (2, num_arcs))
    labels = rng.integers(0, num_labels, num_arcs)
    ends = rng.integers(0, final, 2)
    scores = rng.integers(-8, 1, num_arcs + 2) / 4
    return Graph.from_arcs(
        num_states,
        np.concatenate((src, ends)),
        np.concatenate((dst, [final, final])),
        np.concatenate((labels, [-1, -1])),
        scores,
        np.concatenate((rng.integers(0, 9, num_arcs), [0, 0])),
    )


def random_task(seed, num_frames=12):
    rng = np.random.default_rng(seed)
    log_probs = rng.integers(-20, 1, (1, num_frames, 4)).astype(np.float32) / 4
    return random_graph(rng), log_probs, np.array([num_frames])


def reference(graph, log_probs, search_beam, min_active, max_active, allow_partial=False):
    """Section by section what the search is said to do: {(frame, src, dst, arc): score}, totals."""
    num_frames = len(log_probs) + 1
    alive, beam, kept = {0: 0.0}, search_beam, {}
    totals = [alive]
    for t in range(num_frames):
        last = t == num_frames - 1
        candidates = []
        for state, forward in alive.items():
            for e in range(graph.row_splits[state], graph.row_splits[state + 1]):
                label, score = graph.labels[e], float(graph.scores[e])
                if label == -1 and last:
                    candidates.append((state, int(graph.dst[e]), e, score, forward + score))
                elif label >= 0 and not last:
                    score += float(log_probs[t, label])
                    candidates.append((state, int(graph.dst[e]), e, score, forward + score))
        if last and allow_partial and not candidates:
            for state, forward in alive.items():
                for e in range(graph.row_splits[state], graph.row_splits[state + 1]):
                    score = float(graph.scores[e])
                    final = graph.num_states - 1
                    candidates.append((state, final, e, score, forward + score))
        n, low = len(alive), min_active
        if t + 5 >= num_frames:
            low = max(min_active, max_active // 2)
        if n <= max_active:
            if n >= low or n == 0:
                beam = 0.8 * beam + 0.2 * search_beam
            else:
                beam = 1.25 * max(beam, search_beam)
        elif t + 5 < num_frames:
            beam = 0.8 * min(beam, search_beam)
        cut = max((c[4] for c in candidates), default=0) - (1e10 if last else beam)
        existing = {c[1] for c in candidates if c[4] > cut}
        alive = {}
        for src, dst, e, score, end in candidates:
            if dst in existing:
                kept[t, src, dst, e] = score
                alive[dst] = max(alive.get(dst, -np.inf), end)
        totals.append(alive)
    return kept, totals


def lattice_arcs(graph, lattice, states):
    """{(frame, src, dst, arc): score} of a lattice, with the graph's state numbers."""
    return {
        (int(t), states[s], states[d], int(e)): float(score)
        for t, s, d, e, score in zip(
            lattice.frames, lattice.src, lattice.dst, lattice.arc_map, lattice.scores
        )
    }


def graph_states(graph, lattice):
    """The graph's state that each lattice state stands for."""
    states = {0: 0}
    src = graph.src
    for s, d, e in zip(lattice.src, lattice.dst, lattice.arc_map):
        assert states.setdefault(int(s), int(src[e])) == src[e]
        assert states.setdefault(int(d), int(graph.dst[e])) == graph.dst[e]
    return states


def within_beam(kept, totals, output_beam):
    """The arcs of the search that are on paths within output_beam of the best."""
    best = max(totals[-1].values(), default=None)
    if best is None:
        return {}
    backward = {(len(totals) - 1, state): 0.0 for state in totals[-1]}
    wanted = {}
    for (t, src, dst, e), score in sorted(kept.items(), reverse=True):
        after = score + backward.get((t + 1, dst), -np.inf)
        backward[t, src] = max(backward.get((t, src), -np.inf), after)
        if totals[t][src] + after >= best - output_beam:
            wanted[t, src, dst, e] = score
    return wanted


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_frames=st.integers(0, 45),
    search_beam=st.sampled_from([0.6, 2.1, 5.1, 1000]),
    output_beam=st.sampled_from([0.6, 3.1, 1000]),
    min_active=st.integers(0, 4),
    max_active=st.integers(1, 5),
)
def test_lattices_are_the_specified_ones(
    seed, num_frames, search_beam, output_beam, min_active, max_active
):
    graph, log_probs, lengths = random_task(seed, num_frames)
    kept, totals = reference(graph, log_probs[0], search_beam, min_active, max_active)
    arguments = (graph, log_probs, lengths, search_beam)
    (lattice,) = lattice_search(*arguments, output_beam, min_active, max_active)
    wanted = within_beam(kept, totals, output_beam)
    assert lattice_arcs(graph, lattice, graph_states(graph, lattice)) == wanted
    assert np.all(lattice.src < lattice.dst)
    assert np.all(lattice.src[1:] >= lattice.src[:-1])

    (loose,) = lattice_search(*arguments, output_beam, min_active, max_active, pruning="k2")
    found = lattice_arcs(graph, loose, graph_states(graph, loose))
    assert wanted.items() <= found.items() <= kept.items()

    (path,) = one_best(*arguments, min_active, max_active)
    splits = np.array([[0, lattice.num_states], [0, len(lattice.src)]])
    _, best = best_paths(Arcs(lattice.src, lattice.dst, lattice.scores, *splits))
    assert path.arcs.tolist() == lattice.arc_map[best].tolist()
    assert path.score == max(totals[-1].values(), default=-np.inf)
    assert path.arc_scores.tolist() == lattice.scores[best].tolist()


@pytest.mark.parametrize("seed", range(200))
def test_wide_beams_find_the_best_of_all_paths(seed):
    graph, log_probs, lengths = random_task(seed, 4)
    paths = [(0.0, 0, ())]
    for t in range(5):
        paths = [
            (total + float(graph.scores[e]) + (float(log_probs[0, t, label]) if t < 4 else 0),
             int(graph.dst[e]), (*path, e))
            for total, state, path in paths
            for e in range(graph.row_splits[state], graph.row_splits[state + 1])
            for label in [graph.labels[e]]
            if (label == -1) == (t == 4)
        ]  # fmt: skip
    (path,) = one_best(graph, log_probs, lengths, **WIDE)
    best = max((total for total, *_ in paths), default=-np.inf)
    assert path.score == best
    if paths:
        assert tuple(path.arcs) in [arcs for total, _, arcs in paths if total == best]
        assert path.arc_scores.sum() == best
    else:
        assert len(path.arcs) == 0


def chain(*labels) -> Graph:
    n = len(labels) + 1
    return Graph.from_arcs(
        n + 1, range(n), range(1, n + 1), [*labels, -1], np.zeros(n), [*labels, 0]
    )


def test_partial_paths_end_where_they_are():
    graph, log_probs = chain(1, 2, 1), np.log(np.full((1, 2, 3), 0.5, np.float32))
    assert one_best(graph, log_probs, [2], **WIDE)[0].score == -np.inf
    (path,) = one_best(graph, log_probs, [2], **WIDE, allow_partial=True)
    assert path.arcs.tolist() == [0, 1]
    assert graph.words(path.arcs)[0].tolist() == [1, 2]
    np.testing.assert_allclose(path.score, 2 * np.log(0.5), rtol=1e-6)
    (lattice,) = lattice_search(graph, log_probs, [2], 10, 10, 1, 10, allow_partial=True)
    assert lattice.arc_map.tolist() == [0, 1, -1]
    assert lattice.labels.tolist() == [1, 2, -1]


def test_rows_of_different_lengths_do_not_touch_each_other():
    rng = np.random.default_rng(1)
    graph = random_graph(rng)
    log_probs = rng.normal(size=(5, 30, 4)).astype(np.float32)
    lengths = np.array([30, 0, 7, 1, 19])
    together = one_best(graph, log_probs, lengths, threads=3)
    log_probs[1] = np.nan  # padding may hold anything
    for row, length in enumerate(lengths):
        (alone,) = one_best(graph, log_probs[row : row + 1, :length], [length], threads=1)
        assert alone.arcs.tolist() == together[row].arcs.tolist()
        assert alone.score == together[row].score


def test_long_recordings_keep_the_tokens_that_lead_on():
    """Far more tokens than there is room for at first, and paths that go back to the beginning."""
    labels, frames = 30, 5000
    src, dst = np.divmod(np.arange(labels * labels), labels)
    final = np.full(labels, labels)
    graph = Graph.from_arcs(
        labels + 1,
        np.concatenate((src, np.arange(labels))),
        np.concatenate((dst, final)),
        np.concatenate((dst, -np.ones(labels, np.int32))),
        np.zeros(labels * (labels + 1)),
    )
    log_probs = np.random.default_rng(0).normal(size=(1, frames, labels)).astype(np.float32)
    (path,) = one_best(graph, log_probs, [frames], **WIDE)
    assert graph.labels[path.arcs].tolist() == [*log_probs[0].argmax(1).tolist(), -1]
    # two ways that never meet again: the better one is known in the last frame only
    alone = Graph.from_arcs(
        4, [0, 0, 1, 1, 2, 2], [1, 2, 1, 3, 2, 3], [1, 2, 0, -1, 0, -1], [0, 0, 0, 0, 0, 0.5]
    )
    scores = np.zeros((1, 40000, 3), np.float32)
    (path,) = one_best(alone, scores, [40000], **WIDE)
    assert path.arcs.tolist() == [1, *[4] * 39999, 5]
    assert path.score == 0.5


def test_a_sequence_of_no_frames_takes_a_final_arc():
    graph = Graph.from_arcs(2, [0, 0], [0, 1], [1, -1], [0, -2.5])
    (path,) = one_best(graph, np.zeros((1, 0, 2), np.float32), [0], **WIDE)
    assert (path.arcs.tolist(), path.score) == ([1], -2.5)


def test_empty_graphs_and_batches_have_no_paths():
    empty = Graph.from_arcs(0, [], [], [], [])
    log_probs = np.zeros((1, 3, 2), np.float32)
    assert one_best(empty, log_probs, [3])[0].score == -np.inf
    assert lattice_search(empty, log_probs, [3], 20, 8, 1, 9)[0].num_states == 0
    assert one_best(chain(1), log_probs[:0], np.zeros(0, int)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": np.zeros((3, 2), np.float32)}, r"shape \(3, 2\)"),
        ({"log_probs": np.full((1, 3, 3), np.nan, np.float32)}, "row 0 holds NaN"),
        ({"log_probs": np.zeros((1, 3, 2), np.float32)}, "2 classes, but the graph has label 2"),
        ({"lengths": [4]}, "lengths: 4..4"),
        ({"lengths": [-1]}, "lengths: -1..-1"),
        ({"lengths": [3, 3]}, "lengths must be 1 whole numbers"),
        ({"lengths": [2.5]}, "whole numbers"),
        ({"search_beam": 0}, "search_beam must be positive"),
        ({"max_active": 0}, "max_active must be positive"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"log_probs": np.zeros((1, 3, 3), np.float32), "lengths": [3], **change}
    with pytest.raises(NeveError, match=message):
        one_best(chain(1, 2), **arguments)


def test_an_unknown_pruning_is_refused():
    with pytest.raises(NeveError, match="exact or k2"):
        lattice_search(chain(1), np.zeros((1, 1, 2), np.float32), [1], 9, 9, 1, 9, pruning="loose")
