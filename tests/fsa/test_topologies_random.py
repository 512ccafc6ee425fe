"""Automata made from sequences, against enumeration of what they accept; random cases."""

import itertools

import numpy as np
import torch
from random_graphs import all_paths, cases, path_score, random_fsa

from neve.fsa import (
    RaggedTensor,
    compose_arc_maps,
    connect,
    convert_dense_to_fsa_vec,
    create_sparse,
    ctc_graph,
    ctc_topo,
    levenshtein_graph,
    linear_fsa,
    linear_fsa_with_self_loops,
    linear_fst,
    linear_fst_with_self_loops,
    trivial_graph,
)
from neve.fsa.dense import DenseFsaVec
from neve.kernels import compose_ctc

BLANK = 0


def alignments_of(frames, modified):
    """All token sequences that `frames` may be; the standard topology leaves no choice."""
    found = {()}
    before = BLANK
    for frame in frames:
        if frame != BLANK:
            longer = {(*tokens, frame) for tokens in found}
            if frame != before:
                found = longer
            elif modified:
                found = found | longer
        before = frame
    return found


def accepted(fsa, longest):
    """{(labels, what is emitted)} of all paths of one automaton, with their best scores."""
    found = {}
    labels = fsa.labels.tolist()
    aux = getattr(fsa, "aux_labels", fsa.labels)
    lists = aux.tolist() if isinstance(aux, RaggedTensor) else [[x] for x in aux.tolist()]
    for path in all_paths(fsa, longest):
        key = (
            tuple(labels[e] for e in path[:-1]),
            tuple(x for e in path for x in lists[e] if x > 0),
        )
        found[key] = max(found.get(key, -np.inf), path_score(fsa, path))
    return found


def random_frames(rng, classes, longest=4):
    return tuple(rng.integers(0, classes, int(rng.integers(longest + 1))).tolist())


def test_topologies():
    for rng, where in cases():
        most, modified = int(rng.integers(3)), bool(rng.integers(2))
        topology = ctc_topo(most, modified)
        frames = random_frames(rng, most + 1)
        wanted = {(frames, tokens): 0.0 for tokens in alignments_of(frames, modified)}
        found = accepted(topology, len(frames) + 1)
        assert {k: s for k, s in found.items() if k[0] == frames} == wanted, where


def test_utterance_graphs():
    for rng, where in cases():
        modified = bool(rng.integers(2))
        many = [rng.integers(1, 3, int(rng.integers(4))).tolist() for _ in range(2)]
        for tokens, fsa in zip(many, ctc_graph(many, modified)):
            wanted = {
                (frames, tuple(tokens)): 0.0
                for length in range(5)
                for frames in itertools.product(range(3), repeat=length)
                if tuple(tokens) in alignments_of(frames, modified)
            }
            assert accepted(fsa, 5) == wanted, where


def test_composition_with_the_topology():
    for rng, where in cases():
        fsa = connect(random_fsa(rng, False, (1, 2), most_states=4, most_arcs=6, aux=True))
        modified = bool(rng.integers(2))
        composed = type(fsa).from_graph(compose_ctc(fsa.to_graph(), modified))
        frames = random_frames(rng, 3, 3)
        spoken = accepted(fsa, len(frames) + 1)
        wanted = {}
        for tokens in alignments_of(frames, modified):
            for (labels, words), score in spoken.items():
                if labels == tokens:
                    key = (frames, words)
                    wanted[key] = max(wanted.get(key, -np.inf), score)
        found = accepted(composed, len(frames) + 1)
        assert {k: s for k, s in found.items() if k[0] == frames} == wanted, where


def test_chains():
    for rng, where in cases():
        many = [rng.integers(0, 4, int(rng.integers(4))).tolist() for _ in range(2)]
        said = [rng.integers(0, 4, len(row)).tolist() for row in many]
        for row, aux, fsa, fst in zip(many, said, linear_fsa(many), linear_fst(many, said)):
            words = tuple(x for x in aux if x)
            assert list(accepted(fsa, 9)) == [(tuple(row), tuple(x for x in row if x))], where
            assert accepted(fst, 9) == {(tuple(row), words): 0.0}, where
            plain = tuple(x for x in row if x)
            for looped, emitted in (
                (linear_fsa_with_self_loops(fsa), plain),
                (linear_fst_with_self_loops(fst), words),
            ):
                found = accepted(looped, len(plain) + 2)
                wanted = {x for n in range(2) for x in with_blanks(plain, n)}
                assert found == {(x, emitted): 0.0 for x in wanted}, where


def with_blanks(row, count):
    """`row` with `count` zeros put in anywhere."""
    for places in itertools.combinations_with_replacement(range(len(row) + 1), count):
        longer = list(row)
        for place in reversed(places):
            longer.insert(place, 0)
        yield tuple(longer)


def test_graphs_of_one_state():
    for rng, where in cases():
        most = int(rng.integers(1, 5))
        found = accepted(trivial_graph(most), 4)
        wanted = {
            (row, row) for n in range(4) for row in itertools.product(range(1, most + 1), repeat=n)
        }
        assert found == dict.fromkeys(wanted, 0.0), where


def test_levenshtein_graphs():
    """Each word is kept or becomes 0, and 0 may be put in before, between and after them."""
    for rng, where in cases():
        many = [rng.integers(1, 4, int(rng.integers(4))).tolist() for _ in range(2)]
        penalty = float(rng.choice([-0.501, -0.75]))
        for row, fsa in zip(many, levenshtein_graph(many, penalty)):
            wanted = {}
            for ways in itertools.product(range(2), repeat=len(row)):
                base = tuple(0 if way else word for way, word in zip(ways, row))
                for count in range(2):
                    for key in with_blanks(base, count):
                        score = -0.5 * sum(ways) + penalty * count
                        wanted[key] = max(wanted.get(key, -np.inf), score)
            found = {}
            for (labels, _), score in accepted(fsa, len(row) + 2).items():
                found[labels] = max(found.get(labels, -np.inf), score)
            assert found.keys() == wanted.keys(), where
            for key, score in wanted.items():
                np.testing.assert_allclose(found[key], score, atol=1e-6, err_msg=where)


def test_dense_scores():
    for rng, where in cases():
        count, frames, classes = 2, int(rng.integers(1, 4)), int(rng.integers(1, 4))
        log_probs = torch.from_numpy(rng.normal(size=(count, frames, classes)).astype(np.float32))
        lengths = rng.integers(0, frames + 1, count)
        segments = torch.tensor([[i, 0, n] for i, n in enumerate(lengths)], dtype=torch.int32)
        fsas = convert_dense_to_fsa_vec(DenseFsaVec(log_probs, segments))
        for row, length, fsa in zip(log_probs, lengths, fsas):
            wanted = {
                labels: float(sum(row[t, x] for t, x in enumerate(labels)))
                for labels in itertools.product(range(classes), repeat=int(length))
            }
            found = {labels: score for (labels, _), score in accepted(fsa, 5).items()}
            assert found.keys() == wanted.keys(), where
            for labels, score in wanted.items():
                np.testing.assert_allclose(found[labels], score, atol=1e-5, err_msg=where)


def test_arc_maps_after_one_another():
    def lists_of(step):
        rows = step.tolist()
        return rows if isinstance(step, RaggedTensor) else [[x] if x >= 0 else [] for x in rows]

    for rng, where in cases():
        first, second = (int(x) for x in rng.integers(1, 5, 2))
        steps = []
        for size, below in ((first, 6), (second, first)):
            if rng.integers(2):
                rows = [rng.integers(0, below, int(rng.integers(3))).tolist() for _ in range(size)]
                steps.append(RaggedTensor(rows, dtype=torch.int32))
            else:
                steps.append(torch.from_numpy(rng.integers(-1, below, size).astype(np.int32)))
        one, two = map(lists_of, steps)
        wanted = [[x for e in row for x in one[e]] for row in two]
        found = compose_arc_maps(*steps)
        rows = [[x for x in row if x >= 0] for row in lists_of(found)]
        assert rows == wanted, where


def test_sparse_matrices():
    for rng, where in cases():
        count, least = int(rng.integers(0, 7)), int(rng.integers(0, 3))
        rows, cols = (torch.from_numpy(rng.integers(0, 4, count)) for _ in range(2))
        values = torch.from_numpy(rng.integers(-3, 4, count).astype(np.float32))
        wanted = np.zeros((4, 4))
        for r, c, v in zip(rows.tolist(), cols.tolist(), values.tolist()):
            wanted[r, c] += v if c >= least else 0
        found = create_sparse(rows, cols, values, (4, 4), least)
        np.testing.assert_array_equal(found.to_dense(), wanted, err_msg=where)
