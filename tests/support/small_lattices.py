"""A small lang, scores of frames and recognisers with lattices, for tests worked out by hand."""

import math

import numpy as np
import torch

from neve.decoding import DecodingConfig, Recognizer
from neve.decoding.word_lm import WordLm
from neve.graphs import GraphConfig, build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig

MODEL = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
WIDE = {"output_beam": 30.0, "search_beam": 40.0, "nbest": 10}


def small_lang(tmp_path):
    """Words A to E, each of the phone of its name, and LONG of three phones."""
    (tmp_path / "text").write_text("u1 A B C D E LONG\n")
    (tmp_path / "lexicon.txt").write_text("A a\nB b\nC c\nD d\nE e\nLONG l m n\n")
    settings = LangConfig(kind="phone", write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    return Lang.load(tmp_path / "lang")


def scores_of(lang, *rows):
    """(1, T, C) log-probabilities of frames given as {token: probability}; "-" is blank."""
    values = np.full((1, len(rows), lang.num_tokens), 1e-9, np.float64)
    for frame, row in enumerate(rows):
        for token, probability in row.items():
            values[0, frame, 0 if token == "-" else lang.tokens[token]] = probability
    return np.log(values).astype(np.float32)


def sentences(lang, path, *weighted):
    """A G of whole sentences, each with its probability, as a G.fst.txt."""
    lines, state, firsts = [], 1, {}
    for text, probability in weighted:
        here, cost = 0, -math.log(probability)
        for word in text.split():
            if (here, word) not in firsts:
                firsts[here, word] = state
                lines.append(f"{here} {state} {lang.words[word]} {lang.words[word]} 0")
                state += 1
            here = firsts[here, word]
        lines.append(f"{here} {cost}")
    lines.sort(key=lambda line: int(line.split()[0]))
    path.write_text("\n".join(lines) + "\n")
    return path


def recognizer(lang, G=None, **changes):
    config = DecodingConfig(**{**WIDE, **changes})
    kind = "HLG" if G else "HL"
    graph = build_graph(lang.directory, G, GraphConfig(kind=kind))
    own = WordLm.read(G, lang) if G else WordLm.uniform([lang.words[w] for w in lang.vocabulary])
    torch.manual_seed(0)
    model = CtcModel(MODEL, 8, lang.num_tokens).eval()
    return Recognizer(model, lang, graph, config, 0.01, lm=own)


def search(found, scores, scales=None, texts=None):
    (nbest,) = found.search(scores, np.array([scores.shape[1]]), scales, texts)
    return nbest


def texts_of(nbest):
    return [hypothesis.text for hypothesis in nbest]


def noise(lang, frames=25, seed=0, rows=1):
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(rows, frames, lang.num_tokens)) * 2)
    return values.log_softmax(-1).float().numpy()
