"""A small task's graphs, lattices and totals against arrays that k2 1.23.4 made.

data/k2_small_hlg.npz: 20 phones, 60 words, a back-off bigram, 4 utterances; `wide` and `narrow`
are two sets of beams.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from neve.fsa import (
    DenseFsaVec,
    Fsa,
    RaggedTensor,
    intersect_dense_pruned,
    one_best,
    shortest_path,
)
from neve.graphs import build_LG
from neve.kernels import compose_ctc

DATA = np.load(Path(__file__).parent / "data/k2_small_hlg.npz")
LENGTHS = DATA["lens"]
FIRST_TOKEN_DISAMBIG, FIRST_WORD_DISAMBIG = 21, 61


@pytest.fixture(scope="module")
def k2_graph() -> Fsa:
    arcs = np.column_stack((DATA["HLG_arcs"], DATA["HLG_scores"].view(np.int32)))
    aux = RaggedTensor.from_splits(
        *(torch.from_numpy(DATA[f"HLG_aux{n}"]) for n in ("_splits", ""))
    )
    return Fsa(torch.from_numpy(arcs), aux)


@pytest.fixture(scope="module")
def dense() -> DenseFsaVec:
    rows = [(row, 0, length) for row, length in enumerate(LENGTHS)]
    return DenseFsaVec(torch.from_numpy(DATA["lp"]), torch.tensor(rows, dtype=torch.int32))


def beams(name):
    search, output, low, high = DATA[f"{name}_cfg"]
    return float(search), float(output), int(low), int(high)


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_lattices_are_k2s(k2_graph, dense, name):
    lattice = intersect_dense_pruned(
        k2_graph, dense, *beams(name), frame_idx_name="frame", pruning="k2"
    )
    assert (
        torch.diff(lattice.state_splits).tolist() == np.diff(DATA[f"{name}_state_splits"]).tolist()
    )
    arc_splits = DATA[f"{name}_arc_splits"][DATA[f"{name}_state_splits"]]
    assert lattice.arc_splits.tolist() == arc_splits.tolist()
    # states are numbered differently inside a frame: compare labels and scores
    for begin, end in zip(arc_splits, arc_splits[1:]):
        ours = zip(lattice.labels[begin:end].tolist(), lattice.scores[begin:end].tolist())
        theirs = zip(
            DATA[f"{name}_arcs"][begin:end, 2].tolist(),
            DATA[f"{name}_scores"][begin:end].tolist(),
        )
        assert Counter(ours) == Counter(theirs)
    for semiring, log in (("log", True), ("tropical", False)):
        total = lattice.get_tot_scores(use_double_scores=True, log_semiring=log)
        np.testing.assert_allclose(total, DATA[f"{name}_total_{semiring}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["wide", "narrow"])
@pytest.mark.parametrize("pruning", ["exact", "k2"])
def test_best_paths_are_k2s(k2_graph, dense, name, pruning):
    search, output, low, high = beams(name)
    lattice = intersect_dense_pruned(k2_graph, dense, search, output, low, high, pruning=pruning)
    best = shortest_path(lattice)
    paths = one_best(k2_graph.to_graph(), DATA["lp"], LENGTHS, search, low, high)
    for row, path in enumerate(paths):
        wanted = DATA[f"{name}_hyp{row}"].tolist()
        assert [word for word in best[row].aux_labels.values.tolist() if word > 0] == wanted
        assert k2_graph.to_graph().words(path.arcs)[0].tolist() == wanted
        assert abs(path.score - DATA[f"{name}_total_tropical"][row]) < 1e-4


def test_exact_pruning_keeps_a_part_of_what_k2_keeps(k2_graph, dense):
    exact = intersect_dense_pruned(k2_graph, dense, *beams("wide"))
    loose = intersect_dense_pruned(k2_graph, dense, *beams("wide"), pruning="k2")
    assert 0 < exact.num_arcs < loose.num_arcs
    totals = [lattice.get_tot_scores(True, True) for lattice in (exact, loose)]
    assert bool((totals[0] < totals[1]).all())
    assert bool((totals[1] - totals[0] < 0.3).all())


@pytest.fixture(scope="module")
def our_graph():
    lexicon, grammar = (
        Fsa.from_str(str(DATA[name]), acceptor=False).to_graph() for name in ("L_txt", "G_txt")
    )
    return compose_ctc(build_LG(lexicon, grammar, FIRST_TOKEN_DISAMBIG, FIRST_WORD_DISAMBIG))


def test_our_graph_of_the_same_lexicon_and_grammar_decodes_alike(our_graph):
    search, _, low, high = beams("wide")
    paths = one_best(our_graph, DATA["lp"], LENGTHS, search, low, high)
    for row, path in enumerate(paths):
        assert our_graph.words(path.arcs)[0].tolist() == DATA[f"wide_hyp{row}"].tolist()
        assert abs(path.score - DATA["wide_total_tropical"][row]) < 1e-3
    assert our_graph.num_arcs <= len(DATA["HLG_arcs"])
