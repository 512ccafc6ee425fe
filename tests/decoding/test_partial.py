"""What a lattice without a complete path gives, for each method that searches one."""

import math

import numpy as np
import pytest
import torch

from neve.decoding import DecodingConfig, Recognizer
from neve.decoding.config import GRAPH_METHODS, RESCORING_METHODS
from neve.decoding.word_lm import WordLm
from neve.graphs import GraphConfig, build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig
from neve.tasks.lm import train_lm
from neve.tasks.lm_config import NeuralLmConfig
from neve.training import TrainingConfig


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Words A and LONG, and a G in which LONG is followed by A."""
    path = tmp_path_factory.mktemp("partial")
    (path / "text").write_text("u1 A LONG\nu2 LONG A\n")
    (path / "lexicon.txt").write_text("A a\nLONG l m n\n")
    settings = LangConfig(write_pt=False)
    build_lang(settings, [path / "text"], path / "lexicon.txt", path / "lang")
    words = Lang.load(path / "lang").words
    ids = words["LONG"], words["A"]
    (path / "G.txt").write_text("".join(f"{i} {i + 1} {n} {n} 0\n" for i, n in enumerate(ids)))
    with open(path / "G.txt", "a") as stream:
        stream.write("2 0\n")
    return path


def make(place, method, **changes):
    lang = Lang.load(place / "lang")
    given = {"rescore_lm": str(place / "G.txt")} if method in RESCORING_METHODS else {}
    if method == "neural-rescoring":
        training = TrainingConfig(epochs=1, device="cpu", precision="fp32")
        config = NeuralLmConfig(training=training)
        config.model.kind, config.model.dim, config.model.layers = "lstm", 8, 1
        if not (place / "neural").exists():
            train_lm(config, place / "neural", place / "lang", [place / "text"])
        given["neural_lm"] = str(place / "neural/model")
    torch.manual_seed(0)
    shape = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
    model = CtcModel(shape, 8, lang.num_tokens, attention_decoder=method.startswith("att")).eval()
    graph = build_graph(place / "lang", place / "G.txt", GraphConfig())
    config = DecodingConfig(method=method, search_beam=15.0, **given, **changes)
    return Recognizer(model, lang, graph, config, 0.01, lm=WordLm.read(place / "G.txt", lang))


def log_probs(lang, *said):
    values = np.full((len(said), lang.num_tokens), math.log(1e-9), np.float32)
    for frame, token in enumerate(said):
        values[frame, lang.tokens[token]] = 0.0
    return values


@pytest.mark.parametrize("method", [*GRAPH_METHODS, "ctc-lattice"])
def test_what_was_said_until_the_end_is_given_and_marked(place, method):
    lang = Lang.load(place / "lang")
    whole, cut = ("l", "m", "n", "a"), ("l", "m", "n", "l")  # A must follow; LONG cannot
    scores = np.stack([log_probs(lang, *said) for said in (whole, cut, whole)])
    scores[1, 3] = math.log(1.0 / lang.num_tokens)  # nothing is heard clearly in the last frame
    scores[1, 3, lang.tokens["a"]] = -40.0
    lengths, texts = np.array([4, 4, 2]), ["LONG A"] * 3

    def found(**changes):
        recognizer = make(place, method, **changes)
        outputs = scores
        if method == "attention-rescoring":
            torch.manual_seed(0)
            outputs = scores, torch.randn(3, 4, recognizer.model.encoder.dim)
        return recognizer.search(outputs, lengths, None, texts)

    rows = found()
    assert len(rows) == 3 and all(rows)
    marked = [[bool(one.partial) for one in row] for row in rows]
    if method == "ctc-lattice":  # tokens may end anywhere
        assert not any(map(any, marked))
        return
    assert rows[0][0].text == "LONG A" and rows[1][0].text == "LONG"
    assert not any(marked[0]) and all(marked[1]) and all(marked[2])
    assert all(math.isfinite(one.score) for row in rows for one in row)
    nothing = found(allow_partial=False)
    assert nothing[0][0].text == "LONG A"
    for row in nothing[1:]:
        assert [one.words for one in row] == [[]] and not row[0].partial
