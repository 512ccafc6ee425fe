"""Fast beam search of transducers: examples worked by hand, all paths there are, bad input."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from table_transducer import encoded, table_transducer

from neve.cli.decode import graph_path
from neve.cli.main import main
from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.transducer import greedy_search, modified_beam_search
from neve.decoding.transducer.fast_beam import Contexts, fast_beam_search, numbered
from neve.decoding.transducer.fast_beam_methods import load_LG
from neve.errors import ConfigError
from neve.fsa import Fsa, Graph, shortest_path, trivial_graph
from neve.graphs import GraphConfig, build_graph, save_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import ModelConfig, TransducerModel
from neve.models.predictor import StatelessPredictor

A, B, C = 1, 2, 3
WIDE = {"beam": 1e6, "max_states": 10**6, "max_contexts": 10**6}


def tables(*frames, tokens=3):
    """(T, V, V) logits of frames {context: (probability of each token)}; others are even."""
    found = torch.zeros(len(frames), tokens, tokens)
    for frame, rows in enumerate(frames):
        for context, row in rows.items():
            found[frame, context] = torch.tensor(row).clamp(min=1e-9).log()
    return found


def best_path(model, outputs, lengths=None, graph=None, **options):
    """(token of each frame, score) of each utterance's best path."""
    if lengths is None:
        lengths = [outputs.shape[1]] * len(outputs)
    graph = graph or trivial_graph(model.joiner.output.out_features - 1)
    best = shortest_path(fast_beam_search(model, outputs, lengths, graph, **options))
    ends = best.arc_splits.tolist()
    return [
        (best.labels[a:b].tolist()[:-1], float(best.scores[a:b].double().sum()))
        for a, b in zip(ends, ends[1:])
    ]


def tokens_of(labels):
    return [label for label in labels if label]


def test_a_frame_gives_one_token_where_greedy_may_take_two():
    model = table_transducer(3)
    outputs = encoded(tables({0: (0.1, 0.9, 0), A: (0.1, 0, 0.9), B: (1, 0, 0)}))
    (greedy,) = greedy_search(model, outputs, [1], max_symbols=2)
    assert greedy.tokens == [A, B]
    assert best_path(model, outputs) == [([A], pytest.approx(np.log(0.9), abs=1e-5))]


def test_what_is_best_first_need_not_be_best_in_the_end():
    # A (0.6) goes on with 0.3 at most, blank (0.4) with B (0.9)
    model = table_transducer(3)
    outputs = encoded(tables({0: (0.4, 0.6, 0)}, {0: (0.1, 0, 0.9), A: (0.3, 0.35, 0.35)}))
    (greedy,) = greedy_search(model, outputs, [2])
    assert greedy.tokens[0] == A
    assert best_path(model, outputs) == [([0, B], pytest.approx(np.log(0.36), abs=1e-5))]


# A is said by two alignments, 0.3 * 1 and 0.3 * 0.9, B by 0.4 * 0.9 and 0.3 * 0.05
TWO_WAYS = (
    {0: (0.3, 0.3, 0.4)},
    {0: (0.05, 0.9, 0.05), A: (1, 0, 0), B: (0.9, 0.05, 0.05)},
)


def test_the_best_path_is_one_where_modified_beam_sums():
    model, outputs = table_transducer(3), encoded(tables(*TWO_WAYS))
    (found,) = modified_beam_search(model, outputs, [2], beam=10, length_norm=False)
    assert found[0].tokens == [A]
    assert found[0].score == pytest.approx(np.log(0.57), abs=1e-5)
    assert best_path(model, outputs) == [([B, 0], pytest.approx(np.log(0.36), abs=1e-5))]


def word_graph(final=0.0):
    """A A is a word (1), B another (2); only after a word may it end."""
    return Graph.from_arcs(
        4,
        [0, 0, 1, 2, 2, 2],
        [1, 2, 2, 1, 2, 3],
        [A, B, A, A, B, -1],
        [-0.5, -1.0, 0, -0.5, -1.0, final],
        [1, 2, 1, 2, -1],
        [0, 1, 2, 2, 3, 4, 5],
    )


def test_a_graph_allows_only_its_words():
    # one A is likeliest, but no word; its graph scores are -0.5 for A A, -1 for B
    model = table_transducer(3)
    frame = {context: (0.2, 0.6, 0.2) for context in range(3)}
    quiet = {context: (0.9, 0.05, 0.05) for context in range(3)}
    outputs = encoded(tables(frame, quiet))
    assert best_path(model, outputs)[0][0] == [A, 0]
    graph = numbered(Fsa.from_graph(word_graph(final=-2.0), acceptor=True))
    ((labels, score),) = best_path(model, outputs, graph=graph)
    # B blank: 0.2 * 0.9 * e^-1; A A: 0.6 * 0.05 * e^-0.5; and the end of the graph, e^-2
    assert labels == [B, 0] and score == pytest.approx(np.log(0.18) - 3.0, abs=1e-5)


def test_the_last_frame_may_give_a_token():
    model = table_transducer(3)
    outputs = encoded(tables({0: (1, 0, 0)}, {0: (0, 0, 1)}))
    assert best_path(model, outputs)[0][0] == [0, B]


def test_what_does_not_end_is_partial():
    model = table_transducer(3)
    graph = Fsa.from_graph(word_graph(), acceptor=True)
    only_a = encoded(tables({context: (0, 1, 0) for context in range(3)}))
    none = {"allow_partial": False, "beam": 5.0}
    assert fast_beam_search(model, only_a, [1], graph, **none).num_arcs == 0
    lattice = fast_beam_search(model, only_a, [1], graph, beam=5.0)
    assert lattice.labels.tolist() == [A, -1] and lattice.graph_arc.tolist() == [0, -1]
    assert lattice.scores.tolist() == pytest.approx([-0.5, 0.0], abs=1e-5)


def logits(rng, frames, tokens, size=1):
    values = rng.normal(size=(frames, tokens**size, tokens)) * 2
    return torch.from_numpy(values.astype(np.float32))


def all_paths(table, graph, size, penalty, temperature):
    """(labels of frames, score) of all paths of a graph (src, dst, label, score) to its end."""
    frames, contexts, tokens = table.shape
    plain = table.clone()
    plain[..., 0] -= penalty
    scores = torch.log_softmax(plain / temperature, -1).double().numpy()
    final = max(dst for _, dst, _, _ in graph)
    ways = [((), 0, 0, 0.0)]
    for frame in range(frames):
        new = []
        for labels, context, state, total in ways:
            row = scores[frame, context]
            new.append(((*labels, 0), context, state, total + row[0]))
            for src, dst, label, score in graph:
                if src == state and label > 0:
                    after = (context * tokens + label) % contexts
                    new.append(((*labels, label), after, dst, total + score + row[label]))
        ways = new
    return [
        (labels, total + score)
        for labels, _, state, total in ways
        for src, dst, label, score in graph
        if src == state and dst == final
    ]


def rows_of(graph):
    return list(
        zip(*(getattr(graph, name).tolist() for name in ("src", "dst", "labels", "scores")))
    )


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("words", [False, True])
def test_a_wide_beam_holds_all_paths(size, words):
    model = table_transducer(3, size)
    graph = Fsa.from_graph(word_graph(-0.3), acceptor=True) if words else trivial_graph(2)
    for seed in range(5):
        table = logits(np.random.default_rng(seed), 4, 3, size)
        options = {"blank_penalty": 0.4, "temperature": 1.3}
        lattice = fast_beam_search(model, encoded(table), [4], graph, **WIDE, **options)
        wanted = all_paths(table, rows_of(graph), size, 0.4, 1.3)
        total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
        every = np.logaddexp.reduce([score for _, score in wanted])
        assert float(total[0]) == pytest.approx(every, abs=1e-4)
        labels, score = max(wanted, key=lambda way: way[1])
        found = best_path(model, encoded(table), graph=graph, **WIDE, **options)
        assert found == [(list(labels), pytest.approx(score, abs=1e-4))]


def test_limits_are_kept():
    model, rng = table_transducer(4), np.random.default_rng(0)
    outputs = encoded(logits(rng, 12, 4))
    wide, narrow = (
        fast_beam_search(model, outputs, [12], trivial_graph(3), max_contexts=most)
        for most in (4, 2)
    )
    assert wide.num_arcs > narrow.num_arcs
    states = [narrow.num_states - 2, wide.num_states - 2]  # without start and end
    assert states[0] <= 12 * 2 and states[1] > 12 * 2
    tight = fast_beam_search(model, outputs, [12], trivial_graph(3), beam=0.5)
    assert tight.num_arcs < narrow.num_arcs


@pytest.mark.parametrize("words", [False, True])
def test_a_batch_gives_what_its_rows_give(words):
    model, rng = table_transducer(3, 2), np.random.default_rng(1)
    graph = Fsa.from_graph(word_graph(), acceptor=True) if words else trivial_graph(2)
    lengths = [15, 0, 4, 9, 15]
    parts = [logits(rng, 15, 3, 2) for _ in lengths]
    together = best_path(model, encoded(*parts), lengths, graph)
    for part, length, (labels, score) in zip(parts, lengths, together):
        alone = best_path(model, encoded(part), [length], graph)
        assert alone == [(labels, pytest.approx(score, abs=1e-4))]
        assert len(labels) == (length if length or not words else 0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_contexts_are_those_of_the_predictors_own_forward(size, monkeypatch):
    torch.manual_seed(0)
    predictor = StatelessPredictor(4, 8, size).eval()
    joiner = SimpleNamespace(project_predictor=lambda x: x, output=SimpleNamespace(out_features=4))
    model = SimpleNamespace(predictor=predictor, joiner=joiner)
    contexts = Contexts(model, torch.device("cpu"))
    said = [row for n in range(size + 1) for row in itertools.product((1, 2, 3), repeat=n)]
    padded = np.array([(0,) * (size - len(row)) + row for row in said])
    order = np.random.default_rng(0).permutation(len(said))
    for part in (order[:3], order[2:9], order):
        found = contexts.outputs(padded[part])
        for row, place in zip(found, part):
            with torch.no_grad():
                wanted = predictor(torch.tensor([[0, *said[place]]]))[0, -1]
            assert torch.allclose(row, wanted, atol=1e-6)
    assert len(contexts) == len(said)
    monkeypatch.setattr("neve.decoding.transducer.fast_beam.MOST_CONTEXTS", 1)
    contexts.outputs(np.array([[0] * size]))
    assert len(contexts) == len(said)  # nothing was new
    contexts._clear()
    contexts.outputs(padded[:2])
    contexts.outputs(padded[2:4])
    assert len(contexts) == 2  # forgotten when there were too many


# Methods


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
    made.method.model = made.method.seen.model = table
    made.method.seen.size = 1
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
