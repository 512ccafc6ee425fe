"""Decoding graphs of a four-word lexicon and a bigram written by hand."""

import numpy as np
import pytest
import torch

from neve.errors import NeveError
from neve.fsa import one_best
from neve.graphs import GraphConfig, build_G, build_graph, build_H, build_L, build_LG
from neve.lang import LexiconEntry, SymbolTable
from neve.lang.lexicon_fst import make_lexicon_fst

TOKENS = ["<eps>", "SIL", "a", "b", "c", "#0", "#1"]
WORDS = ["<eps>", "!SIL", "AB", "ABC", "C", "SEE", "#0", "<s>", "</s>"]
# C and SEE sound alike; AB is the beginning of ABC
LEXICON = ["!SIL SIL", "AB a b", "ABC a b c", "C c #1", "SEE c #2"]
# words with costs: AB 2, ABC 3, C 4, SEE 5; back-off #0 = 6; state 0 is the start, 1 after AB
G = """\
0 1 2 2 1.0
0 2 3 3 2.0
0 2 4 4 1.0
0 2 5 5 0.5
1 2 4 4 0.25
1 2 6 0 3.0
2 1 2 2 1.5
2 2 4 4 2.5
2 2 5 5 2.0
1 0.5
2 0.125
"""


@pytest.fixture
def lang(tmp_path):
    return write_lang(tmp_path / "lang", LEXICON)


def write_lang(lang, lexicon, silence="SIL", tokens=(*TOKENS, "#2"), words=WORDS):
    lang.mkdir(parents=True)
    tables = {"tokens.txt": tokens, "words.txt": words}
    for name, symbols in tables.items():
        (lang / name).write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)))
    (lang / "G.fst.txt").write_text(G)
    entries = [LexiconEntry(word, tuple(phones)) for word, *phones in map(str.split, lexicon)]
    symbols = [SymbolTable.read(lang / name) for name in tables]
    fst = make_lexicon_fst(entries, *symbols, silence=silence, disambig=True)
    fst.save(lang / "L_disambig.npz")
    fst.save_pt(lang / "L_disambig.pt")
    return lang


def log_probs_of(frames, classes=5, right=0.9):
    """Log-probabilities that favour the given token in each frame."""
    scores = np.full((1, len(frames), classes), (1 - right) / (classes - 1), np.float32)
    scores[0, np.arange(len(frames)), frames] = right
    return np.log(scores)


def decode(graph, frames):
    (path,) = one_best(graph, log_probs_of(frames), [len(frames)], 100.0, 0, 10000)
    return [WORDS[word] for word in graph.words(path.arcs)[0]], path.score


# frames: 0 blank, 1 SIL, 2 a, 3 b, 4 c
def test_hlg_chooses_words_by_sound_and_language_model(lang):
    graph = build_graph(lang, lang / "G.fst.txt")
    assert decode(graph, [2, 2, 3, 0])[0] == ["AB"]
    assert decode(graph, [0, 4])[0] == ["SEE"]  # cheaper than C at the start
    # ABC (2 + 0.125) is better than AB C (1 + 0.25 + 0.125 and two choices of no silence) ...
    spoken = decode(graph, [2, 3, 4, 4])
    silence = -2 * np.log(0.5)
    costs = {("ABC",): 2 + 0.125 + silence, ("AB", "C"): 1.375 + 1.5 * silence}
    best = min(costs, key=costs.get)
    assert tuple(spoken[0]) == best
    np.testing.assert_allclose(spoken[1], 4 * np.log(0.9) - costs[best], rtol=1e-5)
    # ... and a silence between makes it two words
    assert decode(graph, [2, 3, 1, 4])[0] == ["AB", "C"]


def test_back_off_is_followed(lang):
    graph = build_graph(lang, lang / "G.fst.txt")
    words, score = decode(graph, [2, 3, 1, 2, 3])
    assert words == ["AB", "AB"]
    silence = -3 * np.log(0.5)
    wanted = 5 * np.log(0.9) - (1.0 + 3.0 + 1.5 + 0.5 + silence)
    np.testing.assert_allclose(score, wanted, rtol=1e-5)


def test_lm_scale_scales_the_language_model_alone(lang):
    full, half = (
        build_graph(lang, lang / "G.fst.txt", GraphConfig(lm_scale=scale)) for scale in (1.0, 0.5)
    )
    scores = [decode(graph, [0, 4])[1] for graph in (full, half)]
    np.testing.assert_allclose(scores[1] - scores[0], (0.5 + 0.125) / 2, rtol=1e-5)


def test_the_modified_topology_repeats_tokens_without_a_blank(lang):
    config = GraphConfig(kind="HL", topology="modified")
    assert decode(build_graph(lang, None, config), [4, 4])[0] in (["C"], ["SEE"])
    graph = build_graph(lang, None, config)
    (path,) = one_best(graph, log_probs_of([2, 3, 2, 3]), [4], 100.0, 0, 10000)
    assert len(graph.words(path.arcs)[0]) == 2
    standard = build_graph(lang, None, GraphConfig(kind="HL"))
    (path,) = one_best(standard, log_probs_of([4, 4]), [2], 100.0, 0, 10000)
    assert len(standard.words(path.arcs)[0]) == 1


def test_hl_knows_words_but_no_language_model(lang):
    graph = build_graph(lang, None, GraphConfig(kind="HL"))
    words, score = decode(graph, [2, 3, 1, 2, 3, 4])
    assert words == ["AB", "ABC"]
    wanted = 6 * np.log(0.9) + 2 * np.log(1 / 4) + 3 * np.log(0.5)
    np.testing.assert_allclose(score, wanted, rtol=1e-5)
    assert 1 not in graph.aux_values  # !SIL


def test_h_is_the_topology(lang):
    graph = build_graph(lang, None, GraphConfig(kind="H"))
    assert graph.max_label == 4
    (path,) = one_best(graph, log_probs_of([2, 2, 0, 2, 4]), [5], 100.0, 0, 10000)
    assert graph.words(path.arcs)[0].tolist() == [2, 2, 4]
    assert build_H(2, GraphConfig(topology="modified")).num_arcs == 10


def test_l_is_read_from_either_file(lang):
    arrays = build_L(lang)
    (lang / "L_disambig.npz").unlink()
    tensors = build_L(lang)
    for name in ("row_splits", "dst", "labels", "scores", "aux_values"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(tensors, name))


def test_words_that_sound_alike_need_disambiguation_symbols(tmp_path):
    lang = write_lang(tmp_path / "lang", ["AB a b", "C c", "SEE c"])
    with pytest.raises(NeveError, match="two word sequences have the same tokens"):
        build_graph(lang, lang / "G.fst.txt")


def test_a_lexicon_and_a_model_without_common_words_are_refused(tmp_path):
    lang = write_lang(tmp_path / "lang", ["!SIL SIL"])
    with pytest.raises(NeveError, match="LG is empty"):
        build_graph(lang, lang / "G.fst.txt")


def test_missing_and_bad_files_are_named(lang):
    with pytest.raises(NeveError, match="needs a language model"):
        build_graph(lang)
    with pytest.raises(NeveError, match=r"nowhere.txt: No such file.*stage"):
        build_graph(lang, lang / "nowhere.txt")
    (lang / "G.fst.txt").write_text("0 1 2 2 1.0\n0 1 AB AB 1.0\n1\n")
    with pytest.raises(NeveError, match=r"G.fst.txt, line 2: '0 1 AB AB 1.0'"):
        build_graph(lang, lang / "G.fst.txt")
    (lang / "G.fst.txt").write_text(G)
    (lang / "tokens.txt").write_text("<eps> 0\nSIL one\n")
    with pytest.raises(NeveError, match=r"tokens.txt, line 2: .*'SIL one'"):
        build_graph(lang, lang / "G.fst.txt")
    (lang / "tokens.txt").write_text("<eps> 0\nSIL 1\n")
    with pytest.raises(NeveError, match="tokens.txt: no symbol #0"):
        build_graph(lang, lang / "G.fst.txt")
    (lang / "tokens.txt").write_text("<eps> 0\n#0 1\nSIL 2\n")
    with pytest.raises(NeveError, match="SIL has a larger number than #0"):
        build_graph(lang, lang / "G.fst.txt")
    (lang / "tokens.txt").unlink()
    with pytest.raises(NeveError, match="tokens.txt: No such file"):
        build_graph(lang, lang / "G.fst.txt")
    (lang / "L_disambig.npz").unlink()
    (lang / "L_disambig.pt").unlink()
    with pytest.raises(NeveError, match="L_disambig.pt: no such file"):
        build_L(lang)


def test_a_lexicon_of_bad_arrays_is_named(lang):
    content = torch.load(lang / "L_disambig.pt")
    content["arcs"][0, 2] = -3
    torch.save(content, lang / "L_disambig.pt")
    (lang / "L_disambig.npz").unlink()
    with pytest.raises(NeveError, match=r"L_disambig.pt: labels: -3"):
        build_L(lang)


def test_lg_emits_words_only(lang):
    graph = build_LG(build_L(lang), build_G(lang / "G.fst.txt"), 5, 6)
    assert set(graph.aux_values) == {2, 3, 4, 5}
    assert graph.labels.min() == -1 and 0 not in graph.labels and graph.max_label == 4


def test_a_positive_back_off_loop_is_an_error(lang):
    (lang / "G.fst.txt").write_text("0 1 2 2 1.0\n1 0 6 0 0.5\n0 1 6 0 -1.5\n1\n")
    with pytest.raises(NeveError, match="positive|determinis"):
        build_graph(lang, lang / "G.fst.txt")
