"""The small functions around the engine: lattices of a batch, words, maps, text, pictures."""

import shutil

import pytest
import torch

from neve.errors import NeveError
from neve.fsa import (
    Fsa,
    FsaVec,
    RaggedTensor,
    SymbolTable,
    cat,
    compose_arc_maps,
    create_sparse,
    ctc_topo,
    get_aux_labels,
    get_lattice,
    one_best_decoding,
    swoosh_l,
    swoosh_l_forward_and_deriv,
    swoosh_r,
    to_dot,
    to_str,
    to_str_simple,
    to_tensor,
)

ARCS = "0 1 5 2 -0.5\n0 1 3 0 0.25\n1 2 -1 -1 0\n2\n"


def test_a_lattice_of_a_batch_and_its_words():
    log_prob = torch.log(torch.tensor([[[0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8]]]))
    log_prob = log_prob.repeat(2, 1, 1)
    lattice = get_lattice(log_prob, torch.tensor([3, 2]), ctc_topo(2))
    assert get_aux_labels(one_best_decoding(lattice)) == [[1, 2], [1]]
    longer = get_lattice(log_prob, torch.tensor([3, 5]), ctc_topo(2), subsampling_factor=4)
    assert get_aux_labels(one_best_decoding(longer)) == [[1, 2], [1, 2]]
    with pytest.raises(NeveError, match="log_prob_len"):
        get_lattice(log_prob, torch.tensor([3]), ctc_topo(2))


def test_words_of_paths_that_emit_several_on_an_arc():
    paths = FsaVec([Fsa.from_str("0 1 5 [2 0 3]\n1 2 -1 [-1]\n2", acceptor=False)] * 2)
    assert get_aux_labels(paths) == [[2, 3], [2, 3]]


def test_arc_maps_of_two_steps():
    plain = torch.tensor([4, -1, 7], dtype=torch.int32)
    ragged = RaggedTensor.from_list([[4, 5], [], [7]])
    index = torch.tensor([2, -1, 0], dtype=torch.int32)
    lists = RaggedTensor.from_list([[2, 0], [1], []])
    assert compose_arc_maps(plain, index).tolist() == [7, -1, 4]
    assert compose_arc_maps(ragged, index).tolist() == [[7], [], [4, 5]]
    assert compose_arc_maps(plain, lists).tolist() == [[7, 4], [-1], []]
    assert compose_arc_maps(ragged, lists).tolist() == [[7, 4, 5], [], []]


def test_sparse_posteriors():
    rows, cols = torch.tensor([0, 1, 1, 1]), torch.tensor([2, 0, 1, 1])
    found = create_sparse(rows, cols, torch.tensor([1.0, 2, 3, 4]), (2, 3), min_col_index=1)
    assert found.to_dense().tolist() == [[0, 0, 1], [0, 7, 0]]
    with pytest.raises(NeveError, match="one length"):
        create_sparse(rows, cols[:2], torch.ones(4))


def test_text_of_one_and_of_several():
    fsa = Fsa.from_str(ARCS, acceptor=False)
    fsa.extra = torch.tensor([1, 2, 3], dtype=torch.int32)
    assert to_str_simple(fsa) == ARCS
    assert fsa.extra.tolist() == [1, 2, 3]
    vec = cat([FsaVec([fsa]), FsaVec([fsa, fsa])])
    assert len(vec) == 3 and to_str(vec).count("FsaVec[") == 3
    assert to_tensor(fsa).shape == (3, 4) and to_tensor(vec)[0] == 3


def test_a_picture(tmp_path):
    fsa = Fsa.from_str(ARCS, acceptor=False)
    fsa.labels_sym = SymbolTable.from_str('a"b 5\nc 3\n')
    dot = fsa.draw(tmp_path / "fsa.dot", title="one")
    assert (tmp_path / "fsa.dot").read_text() == dot.source == to_dot(fsa, "one")
    assert '\t0 -> 1 [label="a\\"b:2/-0.5"];' in dot and '0 -> 1 [label="c:0/0.25"]' in dot
    assert "2 [shape=doublecircle]" in dot and 'label="one"' in dot
    with pytest.raises(NeveError, match="a picture's name ends in"):
        fsa.draw(tmp_path / "fsa.txt")
    with pytest.raises(NeveError, match="holds 2"):
        to_dot(FsaVec([fsa, fsa]))
    if shutil.which("dot") is None:
        with pytest.raises(NeveError, match="apt install"):
            fsa.draw(tmp_path / "fsa.svg")
    else:
        fsa.draw(tmp_path / "fsa.svg")
        assert "<svg" in (tmp_path / "fsa.svg").read_text()


def test_symbol_tables_go_around(tmp_path):
    table = SymbolTable.from_str("<eps> 0\n\na 1\nb 7\n")
    assert (table["a"], table[7], table.ids) == (1, "b", [0, 1, 7])
    table.to_file(tmp_path / "words.txt")
    assert SymbolTable.from_file(tmp_path / "words.txt").to_str() == table.to_str()
    other = SymbolTable.from_str("a 1\nc 2")
    assert table.merge(other).symbols == ["<eps>", "a", "c", "b"]
    with pytest.raises(NeveError, match="a has the id 1"):
        table.merge(SymbolTable.from_str("a 3"))
    with pytest.raises(NeveError, match="text:3: 'b'"):
        SymbolTable.from_str("a 1\n\nb")


@pytest.mark.parametrize(
    ("curve", "shift", "constant"), [(swoosh_l, 4, 0.035), (swoosh_r, 1, 0.313261687)]
)
def test_swoosh_and_its_slope(curve, shift, constant):
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)
    wanted = torch.log1p(torch.exp(x - shift)) - 0.08 * x - constant
    torch.testing.assert_close(curve(x), wanted, rtol=1e-6, atol=1e-6)
    single = x.float().requires_grad_()
    curve(single).sum().backward()
    slope = torch.sigmoid(x - shift) - 0.08
    assert float((single.grad - slope).abs().max()) < 1 / 500  # kept in 8 bits
    assert torch.autograd.gradcheck(curve, x[::40].clone().requires_grad_())
    if curve is swoosh_l:
        value, deriv = swoosh_l_forward_and_deriv(x)
        torch.testing.assert_close(value, wanted)
        torch.testing.assert_close(deriv, slope)
