"""The methods of fast beam search: lists, words with times, graphs LG, bad input."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from table_transducer import encoded, table_transducer
from tiny_lms import unigram_arpa

from neve.cli.decode import graph_path
from neve.cli.main import main
from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.transducer.fast_beam_methods import load_LG
from neve.decoding.transducer.histories import Contexts
from neve.errors import ConfigError
from neve.graphs import GraphConfig, build_graph, save_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import ModelConfig, TransducerModel


@pytest.fixture
def lang(tmp_path):
    """Characters; the words AB, A and B."""
    (tmp_path / "text_train").write_text("u1 AB A\nu2 B\n")
    build_lang(
        LangConfig(kind="char", write_pt=False), [tmp_path / "text_train"], None, tmp_path / "lang"
    )
    return Lang.load(tmp_path / "lang")


def LG_of(lang, costs):
    """The graph of a unigram with these costs of words."""
    lines = [f"0 0 {lang.words[word]} {lang.words[word]} {cost}" for word, cost in costs.items()]
    path = lang.directory / "G.fst.txt"
    path.write_text("\n".join([*lines, "0 0.25", ""]))
    return build_graph(lang.directory, path, GraphConfig(kind="LG"))


def recognizer_of(lang, graph=None, **changes):
    """A recogniser whose model is a table over the tokens of `lang`."""
    model = TransducerModel(
        ModelConfig(
            kind="transducer", encoder="tdnn", dim=8, layers=2, predictor_dim=8, joiner_dim=16
        ),
        8,
        lang.num_tokens,
    ).eval()
    table = table_transducer(lang.num_tokens)
    changes = {"method": "fast-beam", **changes}
    made = Recognizer(model, lang, graph, DecodingConfig(**changes), 0.01)
    made.method.model, made.method.contexts = table, Contexts(table, torch.device("cpu"))
    return made


def spoken(lang, *frames):
    """(1, T, D) tables in which frames {token: probability} are so after every context."""
    rows = torch.full((len(frames), lang.num_tokens), 1e-6)
    for frame, row in enumerate(frames):
        for token, probability in row.items():
            rows[frame, 0 if token == "-" else lang.tokens[token]] = probability
    return encoded(rows.log().unsqueeze(1).expand(-1, lang.num_tokens, -1))


def test_lists_are_ranked_by_the_sum_of_alignments(lang):
    # as TWO_WAYS, after the boundary that begins a word
    first, second = {"-": 0.3, "A": 0.3, "B": 0.4}, {"-": 0.5, "A": 0.45, "B": 0.05}
    outputs, lengths = spoken(lang, {"▁": 1.0}, first, second), np.array([3])
    # A: 0.3 * 0.5 + 0.3 * 0.45 = 0.285; B: 0.4 * 0.5 + 0.3 * 0.05 = 0.215; A A 0.135 ...
    ((best,),) = recognizer_of(lang).search(outputs, lengths)
    assert best.text == "B" and best.score == pytest.approx(np.log(0.2), abs=1e-3)
    (listed,) = recognizer_of(lang, method="fast-beam-nbest", nbest=2).search(outputs, lengths)
    assert [one.text for one in listed] == ["A", "B"]
    assert [one.score for one in listed] == pytest.approx(np.log([0.285, 0.215]), abs=1e-3)
    assert not best.partial and not listed[0].partial
    oracle = recognizer_of(lang, method="fast-beam-nbest-oracle", nbest=2)
    (ranked,) = oracle.search(outputs, lengths, None, ["AA"])
    assert ranked[0].text == "AA" and ranked[1].text == "A"
    with pytest.raises(ConfigError, match="needs the reference texts"):
        oracle.search(outputs, lengths)


def test_words_have_times_and_confidences(lang):
    frames = [{"▁": 1.0}, {"A": 0.7, "B": 0.1, "-": 0.2}, {"-": 1.0}, {"B": 0.5, "A": 0.5}]
    outputs, lengths = spoken(lang, *frames, {"-": 1.0}), np.array([5])
    graph = LG_of(lang, {"AB": 1.0, "A": 1.0, "B": 5.0})
    for changes in ({}, {"fast_beam_graph": "LG"}):
        made = recognizer_of(lang, graph, **changes)
        seconds = made.frame_seconds
        ((found,),) = made.search(outputs, lengths, Scales(lm_scale=0.5))
        if not changes:
            assert found.text in ("AB", "AA")
            continue
        (word,) = found.words
        assert (word.text, word.start, word.end) == (
            "AB", pytest.approx(0.0), pytest.approx(4 * seconds)
        )  # fmt: skip
        # the boundary is sure, A is 0.7 of the 0.8 that are no blank, B one of two
        assert word.confidence == pytest.approx((1.0 * 0.875 * 0.5) ** (1 / 3), abs=1e-3)
        wanted = np.log(0.7 * 0.5) - 0.5 * (1.0 + 0.25)
        assert found.score == pytest.approx(wanted, abs=1e-3)


def test_scales_of_the_graph_decide(lang):
    # A B sounds likelier than A alone, but the graph says A
    frames = [{"▁": 1.0}, {"A": 1.0}, {"B": 0.6, "-": 0.4}]
    outputs, lengths = spoken(lang, *frames), np.array([3])
    made = recognizer_of(
        lang, LG_of(lang, {"AB": 2.0, "A": 1.0, "B": 1.0}), fast_beam_graph="LG"
    )  # fmt: skip
    texts = {}
    for scale in (0.0, 0.3, 0.5, 1.0):
        ((found,),) = made.search(outputs, lengths, Scales(lm_scale=scale))
        texts[scale] = found.text
    # log(0.6 / 0.4) is 0.405
    assert texts == {0.0: "AB", 0.3: "AB", 0.5: "A", 1.0: "A"}
    two = spoken(lang, {"▁": 1.0}, {"A": 1.0}, {"▁": 0.5, "-": 0.5}, {"B": 0.5, "-": 0.5})
    said = {}
    for bonus in (-3.0, 3.0):
        scales = Scales(lm_scale=0.0, word_score=bonus)
        ((found,),) = made.search(two, np.array([4]), scales)
        said[bonus] = found.text
    assert said == {-3.0: "A", 3.0: "A B"} or said == {-3.0: "AB", 3.0: "A B"}


def test_a_list_of_words_sums_what_spells_them(lang):
    outputs, lengths = spoken(lang, {"▁": 1.0}, {"A": 0.6, "-": 0.4}, {"A": 0.6, "-": 0.4}), [3]
    graph = LG_of(lang, {"AB": 1.0, "A": 1.0, "B": 1.0})
    made = recognizer_of(lang, graph, fast_beam_graph="LG", method="fast-beam-nbest", nbest=3)
    (found,) = made.search(outputs, np.array(lengths), Scales(lm_scale=1.0))
    by_text = {one.text: one.score for one in found}
    # A at either of two frames, its cost and that of the end
    assert by_text["A"] == pytest.approx(np.log(2 * 0.24) - 1.25, abs=1e-3)
    (one,) = found[0].words
    assert one.text == "A" and one.confidence == pytest.approx(1.0, abs=1e-3)
    assert (
        made.method.sizes(made.method.first_pass(outputs, np.array(lengths), Scales()))[0][1] >= 1
    )


def test_partial_results_are_marked(lang):
    outputs, lengths = spoken(lang, {"▁": 1.0}, {"A": 1.0}), np.array([2])
    graph = LG_of(lang, {"AB": 1.0})
    for method in ("fast-beam", "fast-beam-nbest"):
        given = {"fast_beam_graph": "LG", "method": method, "search_beam": 5.0}
        ((found,),) = recognizer_of(lang, graph, **given).search(outputs, lengths)
        assert found.partial
        ((none,),) = recognizer_of(lang, graph, allow_partial=False, **given).search(
            outputs, lengths
        )
        assert none.words == [] and none.score == -1e30 and not none.partial


def test_listed_phrases_are_of_tokens_or_of_the_words_of_the_graph(lang, tmp_path):
    # the word A is heard with 0.6, B with 0.4
    outputs, lengths = spoken(lang, {"▁": 1.0}, {"A": 0.6, "B": 0.4}), np.array([2])
    (tmp_path / "phrases.txt").write_text("B\n")
    listed = {"phrases": str(tmp_path / "phrases.txt")}
    graph = LG_of(lang, {"AB": 1.0, "A": 1.0, "B": 1.0})
    # two tokens, or one word, whose costs are those of A
    for count, cost, changes in ((2, 0.0, {}), (1, 1.25, {"fast_beam_graph": "LG"})):
        for method in ("fast-beam", "fast-beam-nbest"):
            given = {"method": method, **changes}
            ((plain, *_),) = recognizer_of(lang, graph, **given).search(outputs, lengths)
            assert plain.text == "A"
            assert plain.score == pytest.approx(np.log(0.6) - cost, abs=1e-3)
            made = recognizer_of(lang, graph, **given, **listed)
            for boost, text, score in ((0.1, "A", 0.6), (0.5, "B", 0.4)):
                ((found, *_),) = made.search(outputs, lengths, Scales(phrase_boost=boost))
                earned = count * boost * (text == "B")
                assert found.text == text
                assert found.score == pytest.approx(np.log(score) - cost + earned, abs=1e-3)


def test_a_graph_LG_and_a_model_that_rescores_have_scales_of_their_own(lang, tmp_path):
    # AB and A are heard alike; the graph says A with e^-1, AB with e^-1.5, the n-gram B with 0.6,
    # so that taken off it makes AB the first
    frames = [{"▁": 1.0}, {"A": 1.0}, {"B": 0.5, "-": 0.5}]
    outputs, lengths = spoken(lang, *frames), np.array([3])
    graph = LG_of(lang, {"AB": 1.5, "A": 1.0, "B": 1.0})
    shares = {"▁": 0.2, "A": 0.1, "B": 0.6, "</s>": 0.1}
    token_lm = str(unigram_arpa(tmp_path / "lm.arpa", shares))
    made = recognizer_of(
        lang, graph, method="fast-beam-rescoring", fast_beam_graph="LG", token_lm=token_lm, nbest=2
    )
    assert made.method.first_scales == ("blank_penalty", "history_scale", "word_score")
    for scale, texts in ((0.0, ["A", "AB"]), (1.0, ["A", "AB"]), (-1.0, ["AB", "A"])):
        (row,) = made.search(outputs, lengths, Scales(lm_scale=scale))
        assert [one.text for one in row] == texts
        for one in row:
            own = np.log(0.5) - 0.25 - (1.0 if one.text == "A" else 1.5)
            said = np.log(0.2 * 0.1 * 0.1) + np.log(0.6) * (one.text == "AB")
            assert one.score == pytest.approx(own + scale * said, abs=1e-3)
    (none,) = made.search(outputs, np.array([0]), Scales())
    assert len(none) == 1 and not none[0].words
    plain = recognizer_of(lang, graph, method="fast-beam-nbest", fast_beam_graph="LG")
    sizes = [
        each.method.sizes(each.method.first_pass(outputs, lengths, Scales()))
        for each in (made, plain)
    ]
    assert sizes[0] == sizes[1] and sizes[0][0][1] == 2


def test_an_utterance_without_frames_says_nothing(lang):
    outputs = spoken(lang, {"A": 1.0})
    for method in ("fast-beam", "fast-beam-nbest"):
        ((found,),) = recognizer_of(lang, method=method).search(outputs, np.array([0]))
        assert found.words == [] and found.score == 0.0


# Graphs, and bad input


def test_LG_takes_tokens_once_and_says_words(lang):
    graph = LG_of(lang, {"AB": 1.0, "A": 2.0, "B": 3.0})
    assert (graph.labels != 0).all() and graph.max_label < lang.num_tokens
    said = {lang.words[word] for word in graph.aux_values.tolist() if word > 0}
    assert said == {"AB", "A", "B"}
    with pytest.raises(Exception, match="graph.kind LG needs a language model"):
        build_graph(lang.directory, None, GraphConfig(kind="LG"))


def test_the_verb_makes_LG_of_the_transducers_lang_and_an_lm_of_other_ids(lang, tmp_path, capsys):
    (tmp_path / "text_train").write_text("u1 AB A\nu2 B\n")
    (tmp_path / "lexicon.txt").write_text("A A\nAA A A\nAAA A A A\nAB A B\nB B\n")
    phones = LangConfig(kind="phone", write_pt=False)
    train = [tmp_path / "text_train"]
    build_lang(phones, train, tmp_path / "lexicon.txt", tmp_path / "phones")
    (tmp_path / "lm").mkdir()
    ids = Lang.load(tmp_path / "phones").words
    rows = [f"0 0 {ids[word]} {ids[word]} {cost}" for word, cost in (("AB", 1.0), ("B", 2.0))]
    (tmp_path / "lm" / "G.fst.txt").write_text("\n".join([*rows, "0 0.25", ""]))
    verb = ["graph", "--graph.kind", "LG", "--paths.lang", str(lang.directory)]
    verb += ["--paths.ctc-lang", str(tmp_path / "phones"), "--paths.lm", str(tmp_path / "lm")]
    assert main([*verb, "--paths.graph", str(tmp_path / "graph")]) == 0
    assert "LG: " in capsys.readouterr().out
    made, wanted = load_LG(tmp_path / "graph" / "LG", lang), LG_of(lang, {"AB": 1.0, "B": 2.0})
    assert ids["B"] != lang.words["B"]
    for name in ("row_splits", "dst", "labels", "scores", "aux_values"):
        assert np.array_equal(getattr(made, name), getattr(wanted, name))


def test_LG_of_other_tokens_or_words_is_refused(lang, tmp_path):
    save_graph(LG_of(lang, {"A": 1.0}), tmp_path / "graph", "LG")
    for name in ("tokens.txt", "words.txt"):
        (tmp_path / "graph" / name).write_bytes((lang.directory / name).read_bytes())
    assert load_LG(tmp_path / "graph" / "LG", lang).num_arcs
    for name in ("tokens", "words"):
        path = tmp_path / "graph" / f"{name}.txt"
        before = path.read_text()
        path.write_text(before.replace("B ", "Z "))
        with pytest.raises(ConfigError, match=f"is of other {name}"):
            load_LG(tmp_path / "graph" / "LG", lang)
        path.write_text(before)


def test_bad_graphs_and_settings_are_refused(lang):
    with pytest.raises(ConfigError, match="is LG, but there is no graph"):
        recognizer_of(lang, fast_beam_graph="LG")
    (lang.directory / "G.fst.txt").write_text(f"0 0 {lang.words['A']} {lang.words['A']}\n0\n")
    HLG = build_graph(lang.directory, lang.directory / "G.fst.txt")
    with pytest.raises(ConfigError, match="arcs for blanks, as an HLG has"):
        recognizer_of(lang, HLG, fast_beam_graph="LG")
    LG = LG_of(lang, {"A": 1.0})
    LG.labels = np.where(LG.labels > 0, lang.num_tokens + 3, LG.labels)
    LG.__dict__.pop("max_label", None)
    with pytest.raises(ConfigError, match=f"has token {lang.num_tokens + 3}, the transducer only"):
        recognizer_of(lang, LG, fast_beam_graph="LG")
    LG = LG_of(lang, {"A": 1.0})
    LG.aux_values = np.where(LG.aux_values > 0, 99, LG.aux_values)
    with pytest.raises(ConfigError, match="has word 99, which"):
        recognizer_of(lang, LG, fast_beam_graph="LG")
    for key in ("search_beam", "max_states", "max_contexts", "num_paths", "nbest_scale"):
        with pytest.raises(ConfigError, match=rf"decoding\.{key}=0 must be positive"):
            recognizer_of(lang, **{key: 0})
    shape = ModelConfig(
        kind="transducer", encoder="tdnn", dim=8, layers=2, predictor="lstm", predictor_dim=8
    )
    model = TransducerModel(shape, 8, lang.num_tokens)
    with pytest.raises(ConfigError, match="needs a predictor that sees the last tokens only"):
        Recognizer(model, lang, None, DecodingConfig(method="fast-beam"), 0.01)


def test_which_graph_is_searched():
    def path(kind="HLG", **changes):
        config = SimpleNamespace(
            decoding=DecodingConfig(**changes),
            graph=GraphConfig(kind=kind),
            paths=SimpleNamespace(graph="graphs/g"),
        )
        found = graph_path(config)
        return found and str(found)

    assert path(method="fast-beam") is None
    assert path(method="fast-beam", fast_beam_graph="LG") == "graphs/g/LG"
    assert path(method="graph") == "graphs/g/HLG"
    with pytest.raises(ConfigError, match="graph.kind LG has no topology of CTC"):
        path(kind="LG", method="graph")
