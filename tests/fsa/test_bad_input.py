"""What is no good as an argument is named, with what was expected: kinds, devices and ranges.

Tensors on "meta" stand for those that were left on another device.
"""

import pytest
import torch

import neve.fsa as k2
from neve.errors import NeveError

META = torch.device("meta")
LOG_PROBS = torch.zeros(2, 3, 4)
SEGMENTS = torch.tensor([[0, 0, 3], [1, 0, 2]], dtype=torch.int32)
SYMBOLS = torch.tensor([[1, 2], [2, 1]])
AM, LM, JOINED, BAND = (
    torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.zeros(2, 3, 3, 4), torch.zeros(2, 3, 2, 4),
)  # fmt: skip
RANGES = torch.tensor([[[0, 1]] * 3] * 2)
BOUNDARY = torch.tensor([[0, 0, 2, 3], [0, 0, 1, 3]])
PX, PY = torch.zeros(2, 2, 4), torch.zeros(2, 3, 3)


def dense():
    return k2.DenseFsaVec(LOG_PROBS, SEGMENTS)


def graph():
    return k2.ctc_graph([[1], [2]])


def one(device="cpu"):
    text = "0 1 1 5 0.5\n0 1 2 6 0.25\n1 2 -1 -1 0\n2"
    return k2.Fsa.from_str(text, acceptor=False).to(device)


def several(device="cpu"):
    return k2.FsaVec([one()]).to(device)


def chains(device="cpu"):
    return k2.linear_fsa([[1]]).to(device)


def numbers(*values, dtype=torch.int32, device="cpu"):
    return torch.tensor(values, dtype=dtype, device=device)


def assigned(name, value):
    setattr(one(), name, value)


CASES = [
    # dense scores
    (lambda: k2.DenseFsaVec(LOG_PROBS, SEGMENTS.to(META)), "supervision_segments: on meta"),
    (lambda: k2.DenseFsaVec(LOG_PROBS, SEGMENTS.long()), "supervision_segments: .* int32"),
    (lambda: k2.DenseFsaVec(LOG_PROBS, [[0, 0, 3]]), "supervision_segments: a tensor .* not list"),
    (lambda: k2.DenseFsaVec(LOG_PROBS.half(), SEGMENTS), "log_probs: float32 is needed"),
    (lambda: k2.DenseFsaVec(LOG_PROBS.numpy(), SEGMENTS), "log_probs: a tensor .* not ndarray"),
    # automata
    (lambda: k2.Fsa(torch.zeros(1, 4).int().to(META)), "arcs: on meta"),
    (lambda: k2.Fsa(torch.zeros(1, 4)), "arcs: int32 is needed, not torch.float32"),
    (lambda: assigned("scores", torch.zeros(3, device=META)), "scores: on meta, but .* on cpu"),
    (lambda: assigned("scores", torch.zeros(3).half()), "scores: float32 is needed"),
    (lambda: assigned("scores", torch.zeros(3) / 0), "scores: arc 0 is NaN"),
    (lambda: assigned("labels", numbers(1, 2, -1, device=META)), "labels: on meta"),
    (lambda: assigned("labels", numbers(-5, 2, -1)), "labels: arc 0 would be -5"),
    (lambda: assigned("cost", torch.zeros(3, device=META)), "cost: on meta, but .* on cpu"),
    (lambda: one().set_scores_stochastic_(torch.zeros(2)), r"scores: \(2,\) for 3 arcs"),
    (lambda: one().set_scores_stochastic_(torch.zeros(3, device=META)), "scores: on meta, but"),
    (lambda: k2.FsaVec([one(), one(META)]), "fsas: on several devices"),
    (lambda: k2.linear_fsa([1.5]), "labels: whole numbers are needed"),
    (lambda: k2.ctc_graph([[1.5]]), "symbols: whole numbers are needed, not float"),
    (lambda: k2.ctc_topo(2.5), "max_token: a whole number is needed, not 2.5"),
    (lambda: k2.trivial_graph(0), "max_token: at least 1 is needed, not 0"),
    # operations
    (lambda: k2.arc_sort(one(META)), "fsas: on meta"),
    (lambda: k2.connect(one(META)), "on meta"),
    (lambda: k2.remove_epsilon(one(META)), "on meta"),
    (lambda: several(META).get_tot_scores(True, True), "device meta: the engine computes on"),
    (lambda: k2.shortest_path(several(META), True), "device meta: the engine computes on"),
    (lambda: k2.intersect(one(), one(META)), "b_fsa: on meta, but a_fsa is on cpu"),
    (lambda: k2.compose(one(), one(META)), "b_fsa: on meta, but a_fsa is on cpu"),
    (lambda: k2.intersect_device(several(), chains(META), numbers(0)), "b_fsa: on meta"),
    (lambda: k2.intersect_device(several(), chains(), torch.zeros(1)), "b_to_a_map: .*float32"),
    (
        lambda: k2.intersect_device(several(), chains(), numbers(0, device=META)),
        "b_to_a_map: on meta",
    ),
    (lambda: k2.replace_fsa(chains(META), one(), 5), "src: on meta, but index is on cpu"),
    (lambda: k2.index_fsa(several(), torch.zeros(1)), "indexes: .*float32"),
    (lambda: k2.index_fsa(several(), numbers(0, device=META)), "indexes: on meta"),
    (
        lambda: k2.levenshtein_alignment(
            k2.levenshtein_graph([[1]]), k2.levenshtein_graph([[1]]).to(META), numbers(0)
        ),
        "b_fsa: on meta",
    ),
    (lambda: k2.random_paths(several(), False, -1), "num_paths: at least 1"),
    (lambda: k2.prune_on_arc_post(several(), 2.0, True), "threshold_prob: .* not 2.0"),
    # lattices
    (
        lambda: k2.intersect_dense_pruned(graph().to(META), dense(), 5, 5, 1, 9),
        "a_fsas: on meta, but b_fsas is on cpu",
    ),
    (
        lambda: k2.intersect_dense_pruned("HLG.pt", dense(), 5, 5, 1, 9),
        "a_fsas: an Fsa or a Graph is needed, not str",
    ),
    (lambda: k2.intersect_dense(graph(), dense(), 5, a_to_b_map=torch.zeros(2)), "a_to_b_map: "),
    (lambda: k2.intersect_dense(graph(), dense(), 5, a_to_b_map=[0, 1]), "a_to_b_map: .* list"),
    (
        lambda: k2.get_lattice(LOG_PROBS, torch.ones(2), k2.ctc_topo(3)),
        "log_prob_len: .* whole numbers .*float32",
    ),
    (
        lambda: k2.get_lattice(LOG_PROBS, numbers(3, 2, device=META), k2.ctc_topo(3)),
        "log_prob_len: on meta",
    ),
    (
        lambda: k2.one_best(graph()[0].to_graph(), LOG_PROBS.to(META), numbers(3, 2)),
        "log_probs: on meta",
    ),
    (
        lambda: k2.one_best(graph()[0].to_graph(), LOG_PROBS, numbers(3, 2, device=META)),
        "lengths: on meta",
    ),
    # CTC
    (lambda: k2.ctc_loss(graph().to(META), dense()), "decoding_graph: on meta"),
    (lambda: k2.ctc_loss(graph(), LOG_PROBS), "dense_fsa_vec: a DenseFsaVec is needed"),
    (
        lambda: k2.exact_ctc_loss(LOG_PROBS.int(), SYMBOLS, numbers(3, 2), numbers(1, 1)),
        "log_probs: floats are needed",
    ),
    (
        lambda: k2.exact_ctc_loss(LOG_PROBS, SYMBOLS, numbers(3, 2, device=META), numbers(1, 1)),
        "input_lengths: on meta",
    ),
    (
        lambda: k2.exact_ctc_loss(LOG_PROBS, SYMBOLS, numbers(4, 2), numbers(1, 1)),
        "input_lengths: .* not all within 0..3",
    ),
    # RNN-T
    (lambda: k2.rnnt_loss_simple(LM.to(META), AM, SYMBOLS, 0), "am: on cpu, but lm is on meta"),
    (lambda: k2.rnnt_loss_simple(LM, AM, SYMBOLS.to(META), 0), "symbols: on meta"),
    (lambda: k2.rnnt_loss_simple(LM, AM, SYMBOLS.int(), 0), "symbols: .* int64 is needed"),
    (lambda: k2.rnnt_loss_simple(LM, AM, SYMBOLS + 5, 0), "symbols: 7 is not one of the 4"),
    (lambda: k2.rnnt_loss_simple(LM.double(), AM, SYMBOLS, 0), "am: torch.float32, but lm is"),
    (lambda: k2.rnnt_loss_simple(LM, AM, SYMBOLS, 0, BOUNDARY.to(META)), "boundary: on meta"),
    (lambda: k2.rnnt_loss_simple(LM, AM, SYMBOLS, 0, BOUNDARY.int()), "boundary: .* int64"),
    (lambda: k2.rnnt_loss(JOINED, SYMBOLS.to(META), 0), "symbols: on meta"),
    (lambda: k2.rnnt_loss_pruned(BAND, SYMBOLS, RANGES.to(META), 0), "ranges: on meta"),
    (lambda: k2.get_rnnt_logprobs_joint(JOINED, SYMBOLS.to(META), 0), "symbols: on meta"),
    (lambda: k2.get_rnnt_prune_ranges(PX, PY.to(META), BOUNDARY, 2), "py_grad: on meta, but"),
    (lambda: k2.get_rnnt_prune_ranges(PX.double(), PY, BOUNDARY, 2), "py_grad: torch.float32"),
    (lambda: k2.do_rnnt_pruning(AM, LM, RANGES.to(META)), "ranges: on meta"),
    (lambda: k2.mutual_information_recursion(PX, PY.to(META)), "py: on meta, but px is on cpu"),
    (lambda: k2.mutual_information_recursion(PX.int(), PY.int()), "px: a tensor of floats"),
    (lambda: k2.mutual_information_recursion(PX, PY, BOUNDARY.to(META)), "boundary: on meta"),
    # small functions
    (lambda: k2.index_select(torch.zeros(3), torch.zeros(1)), "index: .* whole numbers"),
    (lambda: k2.index_select(torch.zeros(3), numbers(0, device=META)), "index: on meta"),
    (lambda: k2.index_select(torch.zeros(3), numbers(3)), "index: must be in -1..2"),
    (lambda: k2.index_add(numbers(0, 7), torch.zeros(2), torch.zeros(3)), "index: must be in"),
    (lambda: k2.index_add(numbers(0), torch.zeros(2), torch.zeros(3)), r"value: \(2,\) for 1"),
    (lambda: k2.compose_arc_maps(numbers(0), numbers(1)), "step2_arc_map: 1 is none of the 1"),
    (
        lambda: k2.compose_arc_maps(numbers(0), numbers(0, device=META)),
        "step2_arc_map: on meta, but step1_arc_map is on cpu",
    ),
    (lambda: k2.create_sparse(numbers(-1), numbers(0), torch.zeros(1)), "rows: -1 is negative"),
    (lambda: k2.create_sparse(torch.zeros(1), numbers(0), torch.zeros(1)), "rows: .* whole"),
    (
        lambda: k2.create_sparse(numbers(0), numbers(5), torch.zeros(1), (2, 2)),
        r"cols: 5 does not fit in size \(2, 2\)",
    ),
    (lambda: k2.swoosh_l("x"), "x: a tensor is needed, not str"),
    (
        lambda: k2.RaggedTensor(chains().arcs.shape(), torch.zeros(2, device=META)),
        "values: ",
    ),
    (
        lambda: k2.RnntDecodingStreams(
            [k2.RnntDecodingStream(k2.trivial_graph(3))], k2.RnntDecodingConfig(4, 1, 5.0, 5, 5)
        ).advance(torch.zeros(1, 4, device=META)),
        "logprobs: on meta",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message for _, message in CASES])
def test_the_argument_is_named(call, message):
    with pytest.raises(NeveError, match=message):
        call()
