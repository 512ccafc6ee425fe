"""A script written for k2 finds what it calls in neve.fsa, with arguments in the same order.

data/k2_signatures.json holds the names and parameters of k2 1.23.4's Python.
"""

import inspect
import json
import re
from pathlib import Path

import pytest
import torch

import neve.fsa as k2

HERE = Path(__file__).parent
SIGNATURES = json.loads((HERE / "data/k2_signatures.json").read_text())
PAGE = (HERE.parents[1] / "docs/k2.md").read_text(encoding="utf-8")
# what the page says is not there
ABSENT = set(re.findall(r"`(\w+)`", PAGE.split("## Not there")[1]))
# constructors that a script does not call by position
OTHERWISE = {"Fsa.__init__", "SymbolTable.__init__", "SymbolTable.add", "SymbolTable.get"}
OTHERWISE |= {"Fsa.from_openfst"}


def parameters(thing):
    return list(inspect.signature(thing).parameters)


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_name_and_parameters(name):
    if name in ABSENT:
        assert not hasattr(k2, name)
        return
    ours, theirs = getattr(k2, name), SIGNATURES[name]
    if theirs is None:
        assert callable(ours)
        return
    if isinstance(theirs, list):
        assert parameters(ours)[: len(theirs)] == theirs
        return
    for member, wanted in theirs.items():
        if f"{name}.{member}" in OTHERWISE:
            continue
        if isinstance(wanted, list):
            wanted = [x for x in wanted if x not in ("args", "kwargs")]
            assert parameters(getattr(ours, member))[: len(wanted)] == wanted, member


def test_every_export_can_be_had():
    for name in k2.__all__:
        assert getattr(k2, name) is not None


def test_a_script_of_k2_runs():
    """The steps of icefall's CTC training and decoding, word for word but for the import."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(2, 20, 5, generator=generator).log_softmax(-1).requires_grad_()
    supervision_segments = torch.tensor([[0, 0, 20], [1, 0, 15]], dtype=torch.int32)
    dense_fsa_vec = k2.DenseFsaVec(log_probs, supervision_segments, allow_truncate=3)
    decoding_graph = k2.ctc_graph([[1, 2, 2], [4]], modified=False, device="cpu")
    loss = k2.ctc_loss(
        decoding_graph=decoding_graph,
        dense_fsa_vec=dense_fsa_vec,
        output_beam=10,
        reduction="sum",
        use_double_scores=True,
    )
    loss.backward()
    assert log_probs.grad.shape == log_probs.shape
    H = k2.ctc_topo(4, modified=False)
    G = k2.Fsa.from_str(
        "0 1 1 1 -0.5\n0 1 2 2 -1\n0 0 3 3 -2\n1 1 4 4 -0.25\n1 2 -1 -1 0\n2", num_aux_labels=1
    )
    HG = k2.connect(k2.compose(k2.arc_sort(H), k2.arc_sort(G)))
    HG = k2.arc_sort(HG)
    lattice = k2.intersect_dense_pruned(
        HG,
        dense_fsa_vec,
        search_beam=20,
        output_beam=8,
        min_active_states=30,
        max_active_states=10000,
    )
    best_path = k2.shortest_path(lattice, use_double_scores=True)
    hyps = k2.get_aux_labels(best_path)
    assert len(hyps) == 2 and all(set(hyp) <= {1, 2, 3, 4} for hyp in hyps)
    path = k2.random_paths(lattice, num_paths=10, use_double_scores=True)
    word_seq = k2.RaggedTensor(path.shape, lattice.aux_labels[path.values.long()])
    word_seq = word_seq.remove_values_leq(0)
    unique, _, new2old = word_seq.unique(need_num_repeats=True, need_new2old_indexes=True)
    assert unique.num_axes == 3 and len(new2old) == unique.tot_size(1)
    total = lattice.get_tot_scores(use_double_scores=True, log_semiring=False)
    torch.testing.assert_close(best_path.get_tot_scores(True, False), total)
