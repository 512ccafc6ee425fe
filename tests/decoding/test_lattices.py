"""Methods with lattices, on inputs small enough to be worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from small_lattices import (
    MODEL,
    noise,
    recognizer,
    scores_of,
    search,
    sentences,
    small_lang,
    texts_of,
)

from neve.decoding import DecodingConfig, Recognizer, Scales, lattices
from neve.decoding.lattices import BestPath
from neve.decoding.scales import sweep
from neve.decoding.word_lm import NEVER, WordLm
from neve.errors import ConfigError, NeveError
from neve.graphs import BiasingGraph, build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import read_arpa
from neve.models import CtcModel
from neve.results import Result, read_results, write_results


@pytest.fixture
def lang(tmp_path):
    return small_lang(tmp_path)


def test_the_best_path_of_the_lattice_is_that_of_the_graph(lang):
    scores, lengths = noise(lang, rows=4), np.array([25, 0, 12, 3])
    scales = Scales(0.7, 0.5, 0.3)
    graph = recognizer(lang, method="graph").search(scores, lengths, scales)
    best = recognizer(lang, method="1best").search(scores, lengths, scales)
    assert any(row[0].words for row in graph)
    for (one,), (other,) in zip(graph, best, strict=True):
        assert one.words == other.words
        assert one.score == pytest.approx(other.score, rel=1e-5)


def test_the_nbest_list_has_each_word_sequence_once_with_its_best_path(lang):
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 0.7, "a": 0.3})
    # of the HL graph each of 6 words costs log 6. A: "a -" 0.6 x 0.7 (and "a a", 0.6 x 0.3, which
    # is the same words and not so good); B: "b -" 0.4 x 0.7; B A: "b a" 0.4 x 0.3 / 36
    found = search(recognizer(lang, method="nbest"), scores)
    assert texts_of(found)[:3] == ["A", "B", "B A"]
    wanted = [0.6 * 0.7 / 6, 0.4 * 0.7 / 6, 0.4 * 0.3 / 36]
    assert np.exp([one.score for one in found[:3]]) == pytest.approx(wanted, rel=1e-4)
    assert len(set(texts_of(found))) == len(found)
    assert texts_of(search(recognizer(lang, method="1best"), scores)) == ["A"]


def test_lattices_pruned_in_windows_are_made_exact(lang, monkeypatch):
    scores, lengths = noise(lang, 40), np.array([40])
    found = {}
    for pruning in ("exact", "k2"):
        monkeypatch.setattr(BestPath, "pruning", pruning)
        method = recognizer(lang, method="nbest", output_beam=2.0).method
        first = method.first_pass(scores, lengths, Scales())
        said = [(one.text, round(one.score, 3)) for one in method.second_pass(first, Scales())[0]]
        found[pruning] = method.sizes(first), said
    assert found["exact"] == found["k2"] and len(found["exact"][1]) > 1
    monkeypatch.setattr(lattices, "within_beam", lambda fsas, beam: fsas)
    ((arcs, _),) = method.sizes(method.first_pass(scores, lengths, Scales()))
    assert arcs > found["exact"][0][0][0]  # as they come from k2 they are larger


def test_oracles_are_nearest_to_the_reference(lang):
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 1.0})
    nbest = search(recognizer(lang, method="nbest-oracle"), scores, texts=["B"])
    assert texts_of(nbest)[:2] == ["B", "A"]  # by errors, while A has the better score
    # one path is sampled, at the middle of the distribution: A has 0.6 of it (0.55 after the
    # square root of nbest_scale), so that the list is A alone; the lattice has B too
    few = {"num_paths": 1}
    listed = search(recognizer(lang, method="nbest-oracle", **few), scores, texts=["B"])
    assert texts_of(listed) == ["A"]
    lattice = search(recognizer(lang, method="lattice-oracle", **few), scores, texts=["B"])
    assert texts_of(lattice) == ["B"]
    # with no word of the reference in reach a single substitution is best, whose score decides
    narrow = recognizer(lang, method="lattice-oracle", output_beam=8.0)
    lattice = search(narrow, scores, texts=["E"])
    assert texts_of(lattice) == ["A"]
    with pytest.raises(ConfigError, match="lattice-oracle needs the reference"):
        search(recognizer(lang, method="lattice-oracle"), scores)


@pytest.mark.parametrize("seed", range(3))
def test_the_lattice_oracle_has_no_more_errors_than_any_listed_sequence(lang, seed):
    from kaldialign import edit_distance

    scores, reference = noise(lang, 8, seed), "A C LONG B"
    (oracle,) = search(recognizer(lang, method="lattice-oracle"), scores, texts=[reference])
    listed = search(recognizer(lang, method="nbest", nbest=1000, num_paths=300), scores)
    errors = [edit_distance(reference.split(), one.text.split())["total"] for one in listed]
    own = edit_distance(reference.split(), oracle.text.split())["total"]
    assert len(errors) > 10 and own <= min(errors)


def test_the_lattice_of_tokens_sums_alignments_that_greedy_does_not(lang):
    # blank is best in each frame; but A has the alignments "a -", "- a", "a a": 0.2 + 0.2 + 0.16
    scores = scores_of(lang, *[{"-": 0.5, "a": 0.4, "b": 0.1}] * 2)
    assert texts_of(search(recognizer(lang, method="ctc-greedy"), scores)) == [""]
    found = search(recognizer(lang, method="ctc-lattice"), scores)
    # then nothing, 0.25; then b, 0.05 + 0.05 + 0.01; then a b and b a, 0.04 each
    assert texts_of(found)[:3] == ["a", "", "b"]
    assert np.exp([one.score for one in found[:3]]) == pytest.approx([0.56, 0.25, 0.11], rel=1e-3)


def test_rescoring_puts_the_larger_model_in_place_of_the_graphs_own(lang, tmp_path):
    own = sentences(lang, tmp_path / "own.txt", ("A", 0.7), ("B", 0.3))
    larger = sentences(lang, tmp_path / "larger.txt", ("A", 0.1), ("B", 0.9))
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 1.0})
    # own: A 0.42, B 0.12. The acoustics alone: A 0.6, B 0.4. With the larger: A 0.06, B 0.36
    plain = search(recognizer(lang, own, method="nbest"), scores)
    assert np.exp([one.score for one in plain]) == pytest.approx([0.42, 0.12], rel=1e-4)
    for method in ("nbest-rescoring", "whole-lattice-rescoring"):
        rescoring = recognizer(lang, own, method=method, rescore_lm=str(larger))
        for scale, text, score in ((0.0, "A", 0.6), (1.0, "B", 0.36), (2.0, "B", 0.324)):
            best = search(rescoring, scores, Scales(lm_scale=scale))[0]
            assert best.text == text and math.exp(best.score) == pytest.approx(score, rel=1e-4)
    # a list of one path has A alone, so that only the whole lattice can give B
    few = {"num_paths": 1, "rescore_lm": str(larger)}
    assert texts_of(search(recognizer(lang, own, method="nbest-rescoring", **few), scores)) == ["A"]
    whole = recognizer(lang, own, method="whole-lattice-rescoring", **few)
    assert texts_of(search(whole, scores)) == ["B"]


ARPA = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99 <s> -0.3
-0.5 </s>
-0.4 A -0.2
-0.9 B -0.5
-1.0 C
-1.2 LONG

\\2-grams:
-0.2 <s> A
-0.7 A B
-0.3 B </s>
-0.1 B C

\\end\\
"""


@pytest.mark.parametrize("seed", range(3))
def test_rescoring_with_the_graphs_own_model_changes_nothing(lang, tmp_path, seed):
    from neve.lm import arpa_to_fst

    (tmp_path / "lm.arpa").write_text(ARPA)
    G = tmp_path / "G.fst.txt"
    arpa_to_fst(tmp_path / "lm.arpa", lang.directory / "words.txt", G)
    scores = noise(lang, 12, seed)
    plain = search(recognizer(lang, G, method="nbest"), scores)
    assert len(plain) == 10
    for given in (G, tmp_path / "lm.arpa"):
        same = search(recognizer(lang, G, method="nbest-rescoring", rescore_lm=str(given)), scores)
        assert texts_of(same) == texts_of(plain)
        for one, other in zip(same, plain):
            assert one.words == other.words
            assert one.score == pytest.approx(other.score, abs=1e-4)
        whole = recognizer(lang, G, method="whole-lattice-rescoring", rescore_lm=str(given))
        (best,) = search(whole, scores)
        (first,) = search(recognizer(lang, G, method="1best"), scores)
        assert best.words == first.words and best.score == pytest.approx(first.score, abs=1e-4)


def test_a_word_lm_has_the_scores_of_its_arpa_file(lang, tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    model, lm = read_arpa(tmp_path / "lm.arpa"), WordLm.read(tmp_path / "lm.arpa", lang)
    for text in ("A B C", "B", "", "C C A LONG B B", "A A"):
        wanted = model.score(text) * math.log(10)
        assert lm.score([lang.words[w] for w in text.split()]) == pytest.approx(wanted, abs=1e-4)
    # a word that it lacks: -99 as ARPA files have it, after which there is no history; and the end
    lacking = lm.score([lang.words["A"], lang.words["D"]])
    assert lacking == pytest.approx(NEVER + (-0.2 - 0.5) * math.log(10), abs=1e-3)
    halved = WordLm.read(tmp_path / "lm.arpa", lang, 0.5)
    assert halved.score([lang.words["A"]]) == pytest.approx(lm.score([lang.words["A"]]) / 2)
    (tmp_path / "two.txt").write_text("0 1 1 1 0.5\n0 0 1 1 0.5\n1 0\n")
    with pytest.raises(NeveError, match=r"two\.txt: .* two of one word from the same state"):
        WordLm.read(tmp_path / "two.txt", lang)


def test_rescoring_says_what_it_lacks(lang, tmp_path):
    G = sentences(lang, tmp_path / "G.txt", ("A", 1.0))
    with pytest.raises(ConfigError, match=r"needs decoding\.rescore_lm"):
        recognizer(lang, G, method="nbest-rescoring")
    config = DecodingConfig(method="whole-lattice-rescoring", rescore_lm=str(G))
    graph = build_graph(lang.directory, G)
    with pytest.raises(ConfigError, match="needs the G with which the graph was made"):
        Recognizer(CtcModel(MODEL, 8, lang.num_tokens), lang, graph, config, 0.01)


@pytest.mark.parametrize("method", ["graph", "1best", "nbest", "mbr", "lattice-oracle"])
def test_what_could_not_end_is_marked_as_partial(lang, tmp_path, method):
    # HL ends after whole words only, and the G has LONG alone, of which two phones of three are
    # said before the frames are over
    G = sentences(lang, tmp_path / "G.txt", ("LONG", 1.0))
    scores = np.concatenate([scores_of(lang, *said) for said in (
        ({"l": 1.0}, {"m": 1.0}, {"-": 1.0}), ({"l": 1.0}, {"m": 1.0}, {"n": 1.0}),
    )])  # fmt: skip
    lengths, options = np.array([2, 3]), {"method": method, "search_beam": 15.0}
    unfinished, whole = recognizer(lang, G, **options).search(scores, lengths, None, ["A", "LONG"])
    assert unfinished[0].partial and math.isfinite(unfinished[0].score)
    assert not whole[0].partial and whole[0].text == "LONG"
    rows = [Result(str(i), None, nbest) for i, nbest in enumerate((unfinished, whole))]
    write_results(tmp_path / "hyps.jsonl", rows)
    assert (tmp_path / "hyps.jsonl").read_text().count('"partial": true') == len(unfinished)
    assert [row.nbest[0].partial for row in read_results(tmp_path / "hyps.jsonl")] == [True, False]
    never = recognizer(lang, G, allow_partial=False, **options)
    ((nothing,), _) = never.search(scores, lengths, None, ["A", "LONG"])
    assert nothing.words == [] and not nothing.partial


def test_a_sweep_searches_once_and_rescores_for_each_scale(lang, tmp_path, monkeypatch):
    own = sentences(lang, tmp_path / "own.txt", ("A", 0.7), ("B", 0.3))
    larger = sentences(lang, tmp_path / "larger.txt", ("A", 0.1), ("B", 0.9))
    rescoring = recognizer(
        lang, own, method="nbest-rescoring", rescore_lm=str(larger), lm_scales=[0.0, 0.5, 1.0],
        acoustic_scales=[1.0, 0.5],
    )  # fmt: skip
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 1.0})
    calls, method = [], rescoring.method
    plain = method.first_pass
    monkeypatch.setattr(method, "first_pass", lambda *a: calls.append(a[2]) or plain(*a))
    trials = sweep(rescoring, [(scores, np.array([2]), ["B"])])
    assert [call.acoustic_scale for call in calls] == [1.0, 0.5]
    tried = [(t.scales.acoustic_scale, t.scales.lm_scale, t.errors, t.words) for t in trials]
    # B wins where 0.4^a 0.9^l > 0.6^a 0.1^l: l log 9 > a log 1.5, from l = 0.185 a on
    assert tried == [
        (1.0, 0.0, 1, 1), (1.0, 0.5, 0, 1), (1.0, 1.0, 0, 1),
        (0.5, 0.0, 1, 1), (0.5, 0.5, 0, 1), (0.5, 1.0, 0, 1),
    ]  # fmt: skip


def test_a_sweep_makes_what_scales_need_of_graph_and_phrases_once(lang, tmp_path, monkeypatch):
    (tmp_path / "phrases.txt").write_text("B\n")
    phrases = str(tmp_path / "phrases.txt")
    found = recognizer(
        lang, method="1best", word_scores=[0.0, 1.0, -1.0], phrases=phrases,
        phrase_boosts=[0.3, 0.6],
    )  # fmt: skip
    made, convert = {"graphs": 0, "boosts": 0}, lattices.Fsa.from_graph
    boosted = BiasingGraph.with_boosts

    def from_graph(*args, **options):
        made["graphs"] += 1
        return convert(*args, **options)

    def with_boosts(self, boosts):
        made["boosts"] += 1
        return boosted(self, boosts)

    monkeypatch.setattr(lattices, "Fsa", SimpleNamespace(from_graph=from_graph))
    monkeypatch.setattr(BiasingGraph, "with_boosts", with_boosts)
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"-": 1.0})
    trials = sweep(found, [(scores, np.array([2]), [text]) for text in ("B", "A", "B")])
    # six scales for three batches; each graph is made once, the list for each pair of scales
    assert made == {"graphs": 3, "boosts": 5}
    # B has 0.4 e^boost, A 0.6
    tried = [(trial.scales.phrase_boost, trial.errors) for trial in trials]
    assert tried == [(0.3, 2), (0.6, 1)] * 3


@pytest.mark.parametrize("oov", ["unk", "error"])
def test_an_unknown_word_that_was_recognised_is_kept_where_it_is_a_word(tmp_path, oov):
    (tmp_path / "text").write_text("u1 A B\n")
    lexicon = "A a\nB b\n<noise> n\n<UNK> SPN\n!SIL SIL\n"
    (tmp_path / "lexicon.txt").write_text(lexicon)
    settings = LangConfig(kind="phone", oov=oov, silence="SIL", write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    lang = Lang.load(tmp_path / "lang")
    own = sentences(lang, tmp_path / "G.txt", ("A <UNK> <noise> !SIL B", 0.6), ("B", 0.4))
    scores = scores_of(lang, *({name: 1.0} for name in ("a", "SPN", "n", "SIL", "b")))
    kept = "A <UNK> B" if oov == "unk" else "A B"
    for method in ("graph", "1best", "nbest", "nbest-oracle", "lattice-oracle", "mbr"):
        best, *_ = search(recognizer(lang, own, method=method), scores, texts=[kept])
        assert best.text == kept
    assert [word.start for word in best.words] == pytest.approx(
        [0.0, 0.03, 0.12] if oov == "unk" else [0.0, 0.12]
    )


def test_settings_that_make_no_sense_are_named(lang):
    for key in ("output_beam", "num_paths", "nbest_scale"):
        with pytest.raises(ConfigError, match=rf"decoding\.{key}=0 must be positive"):
            recognizer(lang, method="nbest", **{key: 0})
