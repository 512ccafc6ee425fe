"""A 10,000-word trigram task against what k2 found with its own HLG.

NEVE_CONFORMANCE names the directory that holds hlg_10k/.
"""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from neve.fsa import one_best
from neve.graphs import build_G, build_L, build_LG
from neve.kernels import compose_ctc
from neve.lang import LexiconEntry, SymbolTable
from neve.lang.lexicon_fst import make_lexicon_fst
from neve.lm.grammar import arpa_to_fst

TASK = Path(os.environ.get("NEVE_CONFORMANCE", "")) / "hlg_10k"
pytestmark = pytest.mark.skipif(
    "NEVE_CONFORMANCE" not in os.environ, reason="NEVE_CONFORMANCE names no directory"
)


@pytest.fixture(scope="module")
def lg(tmp_path_factory):
    out = tmp_path_factory.mktemp("hlg_10k")
    (out / "lm.arpa").write_bytes(gzip.decompress((TASK / "lm.arpa.gz").read_bytes()))
    arpa_to_fst(out / "lm.arpa", TASK / "words.txt", out / "G.fst.txt")
    lines = (TASK / "lexicon_disambig.txt").read_text().splitlines()
    entries = [LexiconEntry(word, tuple(tokens)) for word, *tokens in map(str.split, lines)]
    tables = [SymbolTable.read(TASK / name) for name in ("tokens.txt", "words.txt")]
    fst = make_lexicon_fst(entries, *tables, silence="SIL", disambig=True)
    fst.save(out / "L_disambig.npz")
    first = [table["#0"] for table in tables]
    return build_LG(build_L(out), build_G(out / "G.fst.txt"), *first)


@pytest.fixture(scope="module")
def hlg(lg):
    return compose_ctc(lg)


def test_the_graph_is_small(hlg):
    assert hlg.num_states <= 600_000
    assert hlg.num_arcs <= 2_500_000


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_hypotheses_and_scores_are_k2s(hlg, name):
    log_probs = np.load(TASK / f"posteriors_{name}.npz")["lp"]
    wanted = np.load(TASK / f"k2_{name}.npz")
    paths = one_best(hlg, log_probs, [log_probs.shape[1]] * len(log_probs), 20.0, 30, 10000)
    for row, path in enumerate(paths):
        assert hlg.words(path.arcs)[0].tolist() == wanted[f"hyp{row}"].tolist()
        assert abs(path.score - wanted["best"][row]) < 1e-2


def test_token_sequences_score_as_through_k2s_lg(lg):
    sequences = json.loads((TASK / "eq_seqs.json").read_text())
    wanted = json.loads((TASK / "eq_k2.json").read_text())
    for sequence, score, words in zip(sequences, wanted["s"], wanted["w"]):
        frames = np.full((1, len(sequence), lg.max_label + 1), -np.inf, np.float32)
        frames[0, np.arange(len(sequence)), sequence] = 0
        (path,) = one_best(lg, frames, [len(sequence)], 1e9, 0, 10**9)
        assert abs(path.score - score) < 1e-3
        assert lg.words(path.arcs)[0].tolist() == words
