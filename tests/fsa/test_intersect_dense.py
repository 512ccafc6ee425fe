"""Intersection with dense scores, pruned and not, against enumeration of all paths; gradients."""

from collections import Counter

import numpy as np
import pytest
import torch
from random_graphs import all_paths, cases, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    DenseFsaVec,
    Fsa,
    FsaVec,
    convert_dense_to_fsa_vec,
    ctc_graph,
    intersect_dense,
    intersect_dense_pruned,
    shortest_path,
)


def dense_of(log_probs, *segments):
    return DenseFsaVec(log_probs, torch.tensor(segments, dtype=torch.int32).reshape(-1, 3))


def paths_of(fsa, log_probs):
    """{path of arcs: score} over T frames and the final arc; scores are exact."""
    frames = len(log_probs)
    found = {}
    for path in all_paths(fsa, frames + 1):
        if len(path) == frames + 1:
            acoustic = sum(float(log_probs[t, fsa.labels[e]]) for t, e in enumerate(path[:-1]))
            found[path] = acoustic + sum(float(fsa.scores[e]) for e in path)
    return found


def random_task(rng, count):
    fsas = [random_fsa(rng, acyclic=False, aux=True, most_arcs=8) for _ in range(count)]
    frames = int(rng.integers(0, 4))
    log_probs = torch.from_numpy(rng.integers(-8, 3, (count, frames, 3)) / 4).float()
    lengths = rng.integers(0, frames + 1, count)
    return fsas, log_probs, lengths


def kept(lattice, begin):
    """Arcs as (frame, arc of the graph), counted."""
    maps = (lattice.arc_map_a - begin).tolist()
    return Counter(zip(lattice.frame.tolist(), maps))


def near_best(paths, beam, strict):
    """Arcs on paths that are within the beam of the best one."""
    if not paths:
        return set()
    cut = max(paths.values()) - beam
    good = [p for p, x in paths.items() if (x > cut if strict else x >= cut)]
    return {(t, e) for path in good for t, e in enumerate(path)}


@pytest.mark.parametrize("pruned", [True, False])
def test_what_is_kept_is_what_lies_near_the_best_path(pruned):
    for rng, where in cases():
        count = int(rng.integers(1, 4))
        fsas, log_probs, lengths = random_task(rng, count)
        dense = dense_of(log_probs, *((i, 0, int(n)) for i, n in enumerate(lengths)))
        beam = float(rng.choice([0.5, 1.125, 3.0, 100.0]))
        vec = FsaVec(fsas)
        if pruned:
            lattices = intersect_dense_pruned(
                vec, dense, 1e9, beam, 0, 10**6, frame_idx_name="frame"
            )
        else:
            lattices = intersect_dense(vec, dense, beam, frame_idx_name="frame")
        for i, (fsa, lattice) in enumerate(zip(fsas, lattices)):
            paths = paths_of(fsa, log_probs[i, : lengths[i]])
            found = kept(lattice, int(vec.arc_splits[i]))
            wanted = near_best(paths, beam, strict=not pruned)
            assert set(found) == wanted, where
            # the lattice unrolls time: an arc of the graph is there once a frame for each time
            # that its source is, and once is enough
            assert all(n == 1 for n in found.values()), where
            if paths:
                total = {p: x for p, x in paths.items()}
                again = {
                    tuple((lattice.arc_map_a[list(p)] - vec.arc_splits[i]).tolist()): float(
                        lattice.scores[list(p)].sum()
                    )
                    for p in all_paths(lattice)
                }
                assert all(abs(total[p] - x) < 1e-5 for p, x in again.items()), where
                best = max(total.values())
                good = {p for p, x in total.items() if x > best - beam}
                assert good <= set(again), where
            labels = fsa.labels[(lattice.arc_map_a - vec.arc_splits[i]).long()]
            assert torch.equal(labels, lattice.labels), where
            flat = dense.scores.reshape(-1)[lattice.arc_map_b.long()]
            graph = vec.scores[lattice.arc_map_a.long()]
            assert torch.equal(graph + flat, lattice.scores), where


def test_shortest_paths_of_lattices_are_best_of_all():
    for rng, where in cases():
        fsas, log_probs, lengths = random_task(rng, 1)
        n = int(lengths[0])
        paths = paths_of(fsas[0], log_probs[0, :n])
        dense = dense_of(log_probs, (0, 0, n))
        for lattice in (
            intersect_dense(fsas[0], dense, 5.0),
            intersect_dense_pruned(fsas[0], dense, 1e9, 5.0, 0, 10**6),
        ):
            total = lattice.get_tot_scores(True, False)
            assert total.tolist() == [max(paths.values(), default=-np.inf)], where
            assert shortest_path(lattice)[0].num_arcs == (n + 1 if paths else 0), where


def test_several_graphs_may_share_a_segment():
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    dense = dense_of(log_probs, (0, 0, 4), (1, 0, 6))
    graphs = ctc_graph([[1], [2, 3], [1, 1]])
    which = torch.tensor([0, 0, 1], dtype=torch.int32)
    together = intersect_dense(graphs, dense, 20.0, a_to_b_map=which, seqframe_idx_name="row")
    for i, segment in enumerate(which.tolist()):
        length = int(dense.lengths[segment])
        alone = intersect_dense(graphs[i], dense_of(log_probs, (segment, 0, length)), 20.0)
        assert torch.equal(alone.scores, together[i].scores)
        first = int(dense.frame_splits[segment])
        assert together[i].row.unique().tolist() == list(range(first, first + length + 1))


def test_too_many_states_make_the_beam_narrower():
    log_probs = torch.randn(1, 40, 6).log_softmax(-1)
    graph = ctc_graph([[1, 2, 3, 4, 5] * 2])
    dense = dense_of(log_probs, (0, 0, 40))
    whole = intersect_dense(graph, dense, 50.0)
    fewer = intersect_dense(graph, dense, 50.0, max_states=whole.num_states // 2)
    assert 40 < fewer.num_states <= whole.num_states // 2
    fewer = intersect_dense(graph, dense, 50.0, max_arcs=whole.num_arcs // 3)
    assert 40 < fewer.num_arcs <= whole.num_arcs // 3
    assert fewer.get_tot_scores(True) == whole.get_tot_scores(True)
    with pytest.raises(NeveError, match="even the best paths"):
        intersect_dense(graph, dense, 50.0, max_states=20)


@pytest.mark.parametrize("pruned", [True, False])
def test_gradcheck(pruned):
    generator = torch.Generator().manual_seed(4)
    log_probs = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    graph = ctc_graph([[1, 2], [3]])
    weights = torch.randn(graph.num_arcs, generator=generator, dtype=torch.float64)

    def total(x, w):
        weighted = graph.clone()
        weighted.scores = w
        dense = dense_of(x, (0, 0, 4), (1, 1, 3))
        if pruned:
            lattice = intersect_dense_pruned(weighted, dense, 1e3, 100.0, 0, 1000)
        else:
            lattice = intersect_dense(weighted, dense, 100.0)
        return lattice.get_tot_scores(True, True)

    assert torch.autograd.gradcheck(
        total, (log_probs.requires_grad_(), weights.requires_grad_()), eps=1e-5
    )


def test_dense_scores_as_automata_have_the_same_total():
    log_probs = torch.randn(1, 3, 4)
    dense = dense_of(log_probs, (0, 0, 3), (0, 1, 0))
    fsas = convert_dense_to_fsa_vec(dense)
    assert fsas.num_arcs == 3 * 4 + 1 + 1
    totals = fsas.get_tot_scores(True, True)
    wanted = torch.logsumexp(log_probs[0].double(), -1).sum()
    torch.testing.assert_close(totals, torch.stack((wanted, torch.zeros_like(wanted))))


def test_bad_arguments_are_named():
    dense = dense_of(torch.zeros(2, 3, 4), (0, 0, 3), (1, 0, 2))
    graph = ctc_graph([[1], [2]])
    for change, message in (
        ({"output_beam": 0.0}, "output_beam must be positive"),
        ({"max_states": 0}, "max_states must be positive"),
        ({"a_to_b_map": torch.tensor([0, 2])}, "a_to_b_map: 2 numbers in 0..1"),
        ({"a_to_b_map": torch.tensor([0])}, "a_to_b_map: 2 numbers"),
        ({"a_fsas": ctc_graph([[1]])}, "a_fsas: 1 graphs for 2 segments"),
        ({"a_fsas": ctc_graph([[1], [4]])}, "has label 4"),
    ):
        arguments = {"a_fsas": graph, "b_fsas": dense, "output_beam": 5.0, **change}
        with pytest.raises(NeveError, match=message):
            intersect_dense(**arguments)
    for change, message in (
        ({"search_beam": 0.0}, "search_beam"),
        ({"max_active_states": 0}, "max_active_states"),
        ({"pruning": "odd"}, "pruning"),
        ({"a_fsas": ctc_graph([[1], [2], [3]])}, "3 graphs for 2 segments"),
    ):
        arguments = {
            "a_fsas": graph, "b_fsas": dense, "search_beam": 5.0, "output_beam": 5.0,
            "min_active_states": 1, "max_active_states": 9, **change,
        }  # fmt: skip
        with pytest.raises(NeveError, match=message):
            intersect_dense_pruned(**arguments)
    empty = intersect_dense(FsaVec([Fsa.from_str("")] * 2), dense, 5.0)
    assert [fsa.num_states for fsa in empty] == [0, 0]
