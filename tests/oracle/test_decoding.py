"""Decoding methods with lattices: the same words from the engine and from the real k2."""

import dataclasses

import numpy as np
import pytest
import torch

from neve.decoding import DecodingConfig, Scales
from neve.decoding.lattices import BestPath, Nbest
from neve.decoding.mbr import MinimumBayesRisk
from neve.decoding.oracle import LatticeOracle, NbestOracle
from neve.decoding.rescoring import NbestRescoring, WholeLatticeRescoring
from neve.decoding.word_lm import WordLm
from neve.fsa.backends import use
from neve.fsa.backends.k2 import dense as k2_dense
from neve.kernels import Graph

WORDS = ["<eps>", "A", "B", "C", "D", "#0"]
METHODS = {
    "1best": BestPath,
    "nbest": Nbest,
    "nbest-oracle": NbestOracle,
    "lattice-oracle": LatticeOracle,
    "nbest-rescoring": NbestRescoring,
    "whole-lattice-rescoring": WholeLatticeRescoring,
    "mbr": MinimumBayesRisk,
}


class Words(list):
    """Ids of words and words of ids, as a symbol table has them."""

    def __getitem__(self, key):
        return self.index(key) if isinstance(key, str) else super().__getitem__(key)


class FewWords:
    """As much of a lang directory as the methods look at; no word has a known spelling."""

    silence, unk_word, free_word = "", "<UNK>", ""

    def __init__(self, directory):
        self.directory, self.words = directory, Words(WORDS)

    def is_written(self, word):
        return word in WORDS[1:5]

    def pronunciations(self, word):
        return []

    def decode(self, tokens):
        raise AssertionError("no word is spelled")


def unigram(rng) -> str:
    """A G of four words, with random probabilities."""
    chances = rng.dirichlet(np.ones(4) * 2 + 0.1)
    rows = [f"0 0 {word} {word} {-np.log(p)}" for word, p in zip(range(1, 5), chances)]
    return "\n".join([*rows, "0 0.7", ""])


def words_graph(rng, classes: int, states: int = 10, arcs: int = 40) -> Graph:
    """Random arcs, with a word on half of them; every state may end."""
    src = np.concatenate((rng.integers(0, states - 1, arcs), np.arange(states - 1)))
    ends = np.arange(len(src)) >= arcs
    labels = np.where(ends, -1, rng.integers(0, classes, len(src)))
    labels[0] = 0  # as every graph for CTC has blanks
    dst = np.where(ends, states - 1, rng.integers(0, states - 1, len(src)))
    words = rng.integers(1, 5, len(src)) * (rng.random(len(src)) < 0.5)
    order = np.argsort(src, kind="stable")
    columns = (src, dst, labels, rng.normal(size=len(src)), np.where(ends, -1, words))
    return Graph.from_arcs(states, *(column[order] for column in columns))


@pytest.mark.parametrize("method", METHODS)
def test_words_of(comparison, monkeypatch, tmp_path, method):
    monkeypatch.setattr(BestPath, "pruning", "k2")  # the only one that the real k2 has
    real, calls = k2_dense.real_k2, []
    monkeypatch.setattr(k2_dense, "real_k2", lambda: calls.append(1) or real())
    lang = FewWords(tmp_path)
    for rng in comparison.cases(most=40):
        classes = int(rng.integers(3, 10))
        graph = words_graph(rng, classes)
        frames = int(rng.integers(3, 20))
        outputs = torch.from_numpy(rng.normal(size=(2, frames, classes)) * 2).log_softmax(-1)
        outputs, lengths = outputs.float().numpy(), np.array([frames, max(1, frames - 2)])
        (tmp_path / "G.txt").write_text(unigram(rng))
        (tmp_path / "own.txt").write_text(unigram(rng))
        config = DecodingConfig(
            method=method, nbest=5, rescore_lm=str(tmp_path / "G.txt"), num_paths=20,
            max_active=1000, allow_partial=False, output_beam=6.0,
        )  # fmt: skip
        own = WordLm.read(tmp_path / "own.txt", lang)
        found = []
        for backend in ("cpu", "k2"):
            with use(backend):
                one = METHODS[method](None, lang, graph, config, 0.04, own)
                rows = one.first_pass(outputs, lengths, Scales(lm_scale=0.7))
                found.append(one.second_pass(rows, Scales(lm_scale=0.7), ["A B C", "D D"]))
        ours, theirs = ([[dataclasses.astuple(h) for h in row] for row in rows] for rows in found)
        scores = [[[h[1] for h in row] for row in rows] for rows in (ours, theirs)]
        said = [[[[w[0] for w in h[0]] for h in row] for row in rows] for rows in (ours, theirs)]
        comparison.same("words", *said)
        assert len(calls) == comparison.count  # lattices did come from there, and only theirs
        for mine, other in zip(*scores):
            comparison.close("scores", mine, other, 1e-3, relative=True)
