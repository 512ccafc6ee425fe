"""Methods by name: which model has which, and what they make of a model's outputs."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_lms import neural_lm

from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.by_name import CTC, METHODS, TRANSDUCER
from neve.decoding.config import (
    GRAPH_METHODS,
    LIST_RESCORING_METHODS,
    RESCORING_METHODS,
)
from neve.decoding.methods import CtcGreedy, TransducerGreedy
from neve.decoding.transducer import greedy_search, modified_beam_search
from neve.decoding.transducer.fusion import Fusion
from neve.decoding.word_lm import WordLm
from neve.errors import ConfigError
from neve.graphs import GraphConfig, build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.lm.units import Units
from neve.models import CtcModel, ModelConfig, TransducerModel
from neve.models.config import ZipformerConfig
from neve.models.lm import load_lm

SHAPE = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8, joiner_dim=16)
LISTED = ("nbest", "nbest-oracle", "nbest-rescoring", "neural-rescoring", "attention-rescoring")
LEXICON = "AB A B\nABC A B C\nC C\n"


@pytest.fixture
def langs(tmp_path):
    """Characters, and phones with a lexicon."""
    (tmp_path / "text_train").write_text("u1 AB C\nu2 ABC\n")
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    for kind, lexicon in (("char", None), ("phone", tmp_path / "lexicon.txt")):
        settings = LangConfig(kind=kind, write_pt=False)
        build_lang(settings, [tmp_path / "text_train"], lexicon, tmp_path / kind)
    return Lang.load(tmp_path / "char"), Lang.load(tmp_path / "phone")


def transducer_of(lang, ctc_lang=None, **changes):
    torch.manual_seed(0)
    shape = dataclasses.replace(SHAPE, kind="transducer", **changes)
    model = TransducerModel(
        shape, 8, lang.num_tokens, ctc_lang.num_tokens if ctc_lang else 0, attention_decoder=True
    )
    for parameter in model.parameters():
        parameter.data.mul_(2.0)  # so that it says something
    return model.eval()


def batch(*frames):
    torch.manual_seed(1)
    return torch.randn(len(frames), max(frames), 8), torch.tensor(frames)


def results_of(model, langs, frames=(60, 21, 33), scales=None, graph=None, lm=None, **changes):
    lang, ctc_lang = langs
    config = DecodingConfig(**changes)
    recognizer = Recognizer(model, lang, graph, config, 0.01, ctc_lang, lm)
    texts = ["AB C"] * len(frames)
    return recognizer.search(*recognizer.encode(*batch(*frames)), scales, texts)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_transducers_words_in_their_order(langs, method):
    lang, ctc_lang = langs
    model = transducer_of(lang, ctc_lang)
    graph = build_graph(ctc_lang.directory, None, GraphConfig(kind="HL"))
    needs = {}
    if method in RESCORING_METHODS:
        lines = [f"0 0 {n} {n} 1.5" for n in map(ctc_lang.words.__getitem__, ctc_lang.vocabulary)]
        (ctc_lang.directory / "G.txt").write_text("\n".join([*lines, "0 0.5", ""]))
        lm = WordLm.uniform([ctc_lang.words[word] for word in ctc_lang.vocabulary])
        needs = {"lm": lm, "rescore_lm": str(ctc_lang.directory / "G.txt")}
    if method in ("neural-rescoring", *LIST_RESCORING_METHODS):
        needs = {"neural_lm": str(neural_lm(lang, ctc_lang.directory / "neural"))}
    rows = results_of(model, langs, graph=graph, method=method, nbest=3, **needs)
    assert len(rows) == 3 and any(row[0].words for row in rows)
    beams = ("ctc-prefix-beam", "modified-beam", "beam", *LIST_RESCORING_METHODS)
    several = method in (
        *beams,
        "ctc-lattice",
        "fast-beam-nbest",
        "fast-beam-nbest-oracle",
        *LISTED,
    )
    for row, frames in zip(rows, (60, 21, 33)):
        assert 1 <= len(row) <= 3 and (several or len(row) == 1)
        for hypothesis in row:
            bounds = [time for word in hypothesis.words for time in (word.start, word.end)]
            assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
            # words that begin in one frame may overlap, within the utterance
            assert not bounds or 0 <= min(bounds) and max(bounds) <= frames / 100 + 0.03
            starts = bounds[::2]
            assert starts == sorted(starts)
            assert all(word.start < word.end for word in hypothesis.words)
    if method in GRAPH_METHODS:
        assert {word.text for row in rows for word in row[0].words} <= {"AB", "ABC", "C"}
    if method.startswith("ctc-"):
        assert {word.text for row in rows for word in row[0].words} <= {"A", "B", "C"}


def test_the_words_of_a_transducer_are_those_of_its_tokens(langs):
    lang, _ = langs
    model = transducer_of(lang)
    encoder_out, lengths = model.encode(*batch(60))
    (path,) = greedy_search(model, encoder_out, lengths)
    ((found,),) = results_of(model, langs, (60,), method="greedy")
    assert found.text == lang.decode(path.tokens) != ""
    assert found.score == pytest.approx(path.score)
    said = [lang.tokens[token] for token in path.tokens]
    bounds = [place for place, token in enumerate(said) if token == "▁"]
    edges = sorted({0, *bounds, len(said)})
    words = [
        ("".join(said[a:b]).strip("▁"), path.frames[a] * 0.03, path.frames[b - 1] * 0.03 + 0.03)
        for a, b in zip(edges, edges[1:])
        if said[a:b] != ["▁"]
    ]
    assert len(words) > 2
    for word, (text, start, end) in zip(found.words, words, strict=True):
        assert (word.text, word.start, word.end) == (
            text, pytest.approx(start), pytest.approx(end)
        )  # fmt: skip


def test_greedy_is_that_of_the_model_and_ctc_greedy_that_of_its_head(langs):
    lang, ctc_lang = langs
    for model, kind in (
        (transducer_of(lang), TransducerGreedy),
        (CtcModel(SHAPE, 8, lang.num_tokens), CtcGreedy),
    ):
        recognizer = Recognizer(model, lang, None, DecodingConfig(method="greedy"), 0.01)
        assert type(recognizer.method) is kind
    both = Recognizer(
        transducer_of(lang, ctc_lang), lang, None, DecodingConfig(method="ctc-greedy"), 0.01,
        ctc_lang,
    )  # fmt: skip
    assert type(both.method) is CtcGreedy and both.method.lang is ctc_lang


def test_a_model_without_what_a_method_needs_is_refused(langs):
    lang, _ = langs
    for method in CTC:
        with pytest.raises(ConfigError, match=f"method {method} needs a CTC head"):
            results_of(transducer_of(lang), langs, method=method)
    for method in set(TRANSDUCER) - {"greedy"}:
        with pytest.raises(ConfigError, match=f"method {method} needs a transducer"):
            results_of(CtcModel(SHAPE, 8, lang.num_tokens), langs, method=method)
    for key in ("beam", "max_symbols", "nbest", "temperature"):
        with pytest.raises(ConfigError, match=rf"decoding\.{key}=0 must be positive"):
            results_of(transducer_of(lang), langs, method="greedy", **{key: 0})


def test_the_best_hypotheses_come_first_and_are_different(langs):
    lang, _ = langs
    model = transducer_of(lang)
    for method in ("modified-beam", "beam"):
        (row,) = results_of(model, langs, (60,), method=method, nbest=5, beam=5, length_norm=False)
        scores = [hypothesis.score for hypothesis in row]
        assert len(row) > 2 and scores == sorted(scores, reverse=True)
        (best,) = results_of(model, langs, (60,), method=method, beam=5, length_norm=False)
        assert best == row[:1]


def test_temperature_and_blank_penalty_reach_the_search(langs):
    lang, _ = langs
    model = transducer_of(lang)
    for method in set(TRANSDUCER) - set(LIST_RESCORING_METHODS):  # they search as these
        plain = results_of(model, langs, method=method)
        warm = results_of(model, langs, method=method, temperature=2.0)
        assert plain[0][0].score != pytest.approx(warm[0][0].score, rel=1e-3)
        never = results_of(model, langs, scales=Scales(blank_penalty=-100.0), method=method)
        assert not any(row[0].words for row in never)


def scores_of(lang, *rows):
    """(1, T, C) log-probabilities of frames given as {token: probability}; "-" is blank."""
    values = np.full((1, len(rows), lang.num_tokens), 1e-6, np.float32)
    for frame, row in enumerate(rows):
        for token, probability in row.items():
            values[0, frame, 0 if token == "-" else lang.tokens[token]] = probability
    return np.log(values / values.sum(axis=-1, keepdims=True))


def ctc_method(lang, **changes):
    model = CtcModel(SHAPE, 8, lang.num_tokens).eval()
    return Recognizer(model, lang, None, DecodingConfig(**changes), 0.01)


def test_the_prefix_beam_sums_what_greedy_does_not(langs):
    lang, _ = langs
    # blank is best in each frame, but most of the alignments have an A
    scores = scores_of(lang, {"▁": 1.0}, *[{"-": 0.5, "A": 0.4, "B": 0.1}] * 2)
    lengths = np.array([3])
    ((greedy,),) = ctc_method(lang, method="ctc-greedy").search(scores, lengths)
    (nbest,) = ctc_method(lang, method="ctc-prefix-beam", nbest=2, beam=8).search(scores, lengths)
    assert greedy.text == "" and [each.text for each in nbest] == ["A", ""]
    assert nbest[0].score == pytest.approx(np.log(0.5 * 0.4 * 2 + 0.4**2), abs=1e-3)
    (word,) = nbest[0].words
    assert (word.start, word.end) in [
        (pytest.approx(0.0), pytest.approx(0.06)),
        (pytest.approx(0.0), pytest.approx(0.09)),
    ]
    assert word.confidence == pytest.approx(0.4**0.5, abs=1e-3)


def test_a_penalty_on_blank_brings_tokens_out_of_ctc_and_leaves_confidences(langs):
    lang, _ = langs
    scores, lengths = scores_of(lang, {"▁": 1.0}, {"-": 0.6, "A": 0.4}), np.array([2])
    for method in ("ctc-greedy", "ctc-prefix-beam"):
        recognizer = ctc_method(lang, method=method)
        for penalty, text in ((0.0, ""), (1.0, "A")):
            ((found,),) = recognizer.search(scores, lengths, Scales(blank_penalty=penalty))
            assert found.text == text
        assert found.words[0].confidence == pytest.approx(0.4**0.5, abs=1e-3)
    assert np.exp(scores[0, 1, 0]) == pytest.approx(0.6, abs=1e-3)  # not changed in place


def test_chunks_need_a_causal_encoder(langs):
    lang, ctc_lang = langs
    for model in (transducer_of(lang), CtcModel(SHAPE, 8, lang.num_tokens)):
        with pytest.raises(ConfigError, match=r"decoding\.chunk_size needs an encoder"):
            results_of(model, langs, method="greedy", chunk_size=16)


def test_a_causal_zipformer_sees_chunks_as_the_configuration_says(langs):
    lang, _ = langs
    own = ZipformerConfig(
        encoder_dims=[16, 24], num_encoder_layers=[1, 1], downsampling_factors=[1, 2],
        feedforward_dims=[32, 32], num_heads=[2], kernels=[7], query_head_dim=8, pos_dim=8,
        value_head_dim=4, subsampling_channels=[4, 4, 8], causal=True, chunk_sizes=[8, 16, -1],
    )  # fmt: skip
    model = transducer_of(lang, encoder="zipformer", zipformer=own)
    features, lengths = batch(200)

    def encoded(cut=200, **changes):
        config = DecodingConfig(method="greedy", **changes)
        recognizer = Recognizer(model, lang, None, config, 0.01)
        assert recognizer.frame_seconds == pytest.approx(0.04)
        changed = features.clone()
        changed[:, cut:] += 1.0
        return recognizer.encode(changed, lengths)[0][0]

    whole, early = encoded(), slice(0, 12)  # 12 x 40 ms
    assert not torch.allclose(whole[early], encoded(cut=100)[early], atol=1e-5)
    live = encoded(chunk_size=8, left_context=16)
    assert not torch.allclose(live, whole, atol=1e-4)
    # what comes later than the chunk is not seen
    assert torch.allclose(live[early], encoded(cut=100, chunk_size=8, left_context=16)[early])
    # and what is longer ago than the left context has less to say than with all of it
    assert not torch.allclose(live, encoded(chunk_size=8), atol=1e-5)
    assert torch.equal(encoded(), whole)  # 0 is the whole utterance, whatever was before
    with pytest.raises(ConfigError, match="chunks of 3 frames"):
        encoded(chunk_size=3)


def chosen_words(langs, method, outputs, model=None, scale=1.0, **changes):
    """The texts of the n-best list, the best first, with their scores, of one row of outputs."""
    lang, phones = langs
    graph = build_graph(phones.directory, None, GraphConfig(kind="HL"))
    config = DecodingConfig(method=method, nbest=3, output_beam=5.0, **changes)
    model = model or CtcModel(SHAPE, 8, phones.num_tokens).eval()
    found = Recognizer(model, phones, graph, config, 0.01)
    lengths = np.array([len(outputs[0][0] if isinstance(outputs, tuple) else outputs[0])])
    (row,) = found.search(outputs, lengths, Scales(lm_scale=scale))
    return {hypothesis.text: hypothesis.score for hypothesis in row}


@pytest.mark.parametrize("unit", ["tokens", "words"])
def test_a_neural_lm_decides_between_what_sounds_alike(langs, unit, tmp_path):
    _, phones = langs
    # AB is "A B" and ABC "A B C"; with the last frame C 0.6 or blank 0.4, ABC sounds better
    scores = scores_of(phones, {"A": 1.0}, {"B": 1.0}, {"C": 0.6, "-": 0.4})
    plain = chosen_words(langs, "nbest", scores)
    assert list(plain)[:2] == ["ABC", "AB"]
    # the model says C or ABC with e^-5 of what it says other units with
    silent = {"C" if unit == "tokens" else "ABC": -5.0}
    directory = neural_lm(phones, tmp_path / "neural", unit, silent)
    given = {"neural_lm": str(directory)}
    new = chosen_words(langs, "neural-rescoring", scores, **given)
    assert next(iter(new)) == "AB"
    # so ABC loses 5, and, of tokens, one more among `others` equally likely ones
    others = Units(phones, unit).size - 1 + np.exp(-5.0)
    fall = (plain["ABC"] - new["ABC"]) - (plain["AB"] - new["AB"])
    assert fall == pytest.approx(5.0 + (np.log(others) if unit == "tokens" else 0.0), abs=1e-3)
    same = chosen_words(langs, "neural-rescoring", scores, scale=0.0, **given)
    assert list(same) == list(plain) and same == pytest.approx(plain)


def test_the_attention_decoder_decides_between_what_sounds_alike(langs):
    _, phones = langs
    torch.manual_seed(0)
    model = CtcModel(SHAPE, 8, phones.num_tokens, attention_decoder=True).eval()
    output = model.attention_decoder.output
    output.weight.data.zero_()
    output.bias.data.zero_()
    output.bias.data[phones.tokens["C"]] = -5.0
    scores = scores_of(phones, {"A": 1.0}, {"B": 1.0}, {"C": 0.6, "-": 0.4})
    plain = chosen_words(langs, "nbest", scores)
    outputs = (scores, torch.randn(1, 3, model.encoder.dim))
    new = chosen_words(langs, "attention-rescoring", outputs, model)
    assert next(iter(new)) == "AB"
    # one token more, C: e^-5 among the others of equal weight
    fall = (plain["ABC"] - new["ABC"]) - (plain["AB"] - new["AB"])
    assert fall == pytest.approx(5.0 + np.log(phones.num_tokens - 1 + np.exp(-5.0)), abs=1e-3)
    without = CtcModel(SHAPE, 8, phones.num_tokens).eval()
    with pytest.raises(ConfigError, match="needs an attention decoder"):
        chosen_words(langs, "attention-rescoring", outputs, without)


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_fusion_adds_the_lms_score_of_all_that_was_said(langs, tmp_path, kind):
    lang, _ = langs
    model = transducer_of(lang)
    directory = neural_lm(lang, tmp_path / "neural", kind=kind)
    lm = load_lm(directory)
    options = {"method": "modified-beam", "nbest": 40, "beam": 40, "length_norm": False}
    plain = results_of(model, langs, (12, 9), **options)
    # with scale 0 nothing changes
    given = options | {"neural_lm": str(directory)}
    assert results_of(model, langs, (12, 9), Scales(lm_scale=0.0), **given) == plain
    # of the tokens' paths themselves: a wide beam loses none of 4 and 3 frames of 4 tokens
    encoder_out, lengths = model.encode(*batch(12, 9))
    most = {"beam": 2000, "length_norm": False}
    before = modified_beam_search(model, encoder_out, lengths, **most)
    fusion = Fusion(lm, 0.7, lang.num_tokens)
    after = modified_beam_search(model, encoder_out, lengths, fusion=fusion, **most)
    for old, new in zip(before, after, strict=True):
        old = {tuple(path.tokens): path for path in old}
        assert len(old) == len(new) > 20
        for path in new[:50]:
            said = tuple(path.tokens)
            wanted = old[said].score + 0.7 * float(lm.score([said], ended=False))
            assert path.score == pytest.approx(wanted, abs=1e-4)
    # the confidences know nothing of it
    same = {tuple(path.tokens): path for path in before[0]}[tuple(after[0][0].tokens)]
    if same.frames == after[0][0].frames:
        assert after[0][0].log_probs == pytest.approx(same.log_probs, abs=1e-4)


def test_fusion_needs_an_lm_over_the_transducers_tokens(langs, tmp_path):
    lang, phones = langs
    directory = neural_lm(phones, tmp_path / "neural")
    with pytest.raises(ConfigError, match="is not over the tokens of"):
        results_of(transducer_of(lang), langs, method="modified-beam", neural_lm=str(directory))
