"""Decoding methods with lattices on AN4: the same words with the engine and with the real k2.

an4/log_probs.npz has what the phone CTC head of `conf/transducer.yaml` says of every twelfth
utterance of the dev set, in the order of their names; the n-grams are of the training transcripts,
the lexicon is the corpus's. benchmarks/decoding.py does the same with whole sets.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from neve.decoding import DecodingConfig, Recognizer
from neve.decoding.word_lm import WordLm
from neve.fsa.backends import use
from neve.fsa.backends.k2 import dense as k2_dense
from neve.graphs import build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import arpa_to_fst
from neve.models import CtcModel, ModelConfig

DATA = Path(__file__).with_name("an4")
METHODS = (
    "1best",
    "nbest",
    "nbest-oracle",
    "lattice-oracle",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "mbr",
    "ctc-lattice",
)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Lang, graph, its G, (N, T, C) log-probabilities, lengths and texts."""
    scratch = tmp_path_factory.mktemp("an4")
    words = [line.split()[0] for line in (DATA / "lexicon.txt").read_text().splitlines()]
    (scratch / "text").write_text(f"u1 {' '.join(dict.fromkeys(words))}\n")
    settings = LangConfig(kind="phone", write_pt=False)
    build_lang(settings, [scratch / "text"], DATA / "lexicon.txt", scratch / "lang")
    lang, G = Lang.load(scratch / "lang"), scratch / "G.fst.txt"
    arpa_to_fst(DATA / "2gram.arpa.gz", lang.directory / "words.txt", G)
    with np.load(DATA / "log_probs.npz") as file:
        lengths, texts = file["lengths"], file["texts"].tolist()
        assert file["tokens"].tolist() == [lang.tokens[i] for i in range(lang.num_tokens)]
        flat = torch.from_numpy(file["log_probs"]).float().log_softmax(-1).numpy()
    log_probs = np.zeros((len(lengths), lengths.max(), flat.shape[1]), np.float32)
    for row, (end, length) in enumerate(zip(np.cumsum(lengths), lengths)):
        log_probs[row, :length] = flat[end - length : end]
    return lang, build_graph(lang.directory, G), G, log_probs, lengths, texts


@pytest.mark.parametrize("method", METHODS)
def test_words_of(k2, monkeypatch, task, method):
    lang, graph, G, log_probs, lengths, texts = task
    real, calls = k2_dense.real_k2, []
    monkeypatch.setattr(k2_dense, "real_k2", lambda: calls.append(1) or real())
    large = {"rescore_lm": str(DATA / "4gram.arpa.gz")} if "rescoring" in method else {}
    config = DecodingConfig(method=method, threads=1, **large)
    model = CtcModel(ModelConfig(encoder="tdnn", dim=8, layers=1), 8, lang.num_tokens).eval()
    found = Recognizer(model, lang, graph, config, 0.04, lm=WordLm.read(G, lang))
    said = {}
    for backend in ("cpu", "k2"):
        with use(backend):
            rows = found.search(log_probs, lengths, None, texts)
        said[backend] = [row[0].text for row in rows]
    assert calls  # the lattices did come from there
    assert said["cpu"] == said["k2"]
    assert any(said["cpu"]) and said["cpu"] != said["cpu"][::-1]
