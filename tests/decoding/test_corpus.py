"""Decoding whole sets: files of results, scales that are chosen on dev, settings that are wrong."""

import itertools
import json
import types

import pytest
import torch
from kaldialign import edit_distance

from neve import costs
from neve.cli.decode import lm_names
from neve.cli.main import load_config, main
from neve.data import DataConfig
from neve.decoding import DecodingConfig, decode
from neve.decoding import scales as scales_module
from neve.decoding.rescoring import WholeLatticeRescoring
from neve.errors import ConfigError, NeveError
from neve.frontend import FeatureConfig
from neve.graphs import GraphConfig, build_graph, save_graph
from neve.kernels import threads, token_passing, totals
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig, TransducerModel
from neve.results import read_results

SETS = {"dev": [("d2", "AB", 30), ("d1", "C", 21)], "test": [("t1", "C AB", 40)]}


def batches(split):
    for name, text, frames in SETS[split]:  # one utterance a batch
        torch.manual_seed(frames)
        supervision = types.SimpleNamespace(
            gender="F", language=None, custom={"age": 7, "weight": 1.5}
        )
        yield {
            "features": torch.randn(1, frames, 8),
            "feature_lens": torch.tensor([frames]),
            "ids": [name],
            "texts": [text],
            "durations": [frames / 100],
            "speakers": [f"s-{name}"],
            "cuts": [types.SimpleNamespace(supervisions=[supervision])],
        }


@pytest.fixture
def run(tmp_path):
    """Decode with random weights; the configuration's changes are those of its `decoding`."""
    (tmp_path / "text_train").write_text("u1 AB C\n")
    (tmp_path / "lexicon.txt").write_text("AB A B\nC C\n")
    lang = tmp_path / "lang"
    settings = LangConfig(write_pt=False)
    build_lang(settings, [tmp_path / "text_train"], tmp_path / "lexicon.txt", lang)
    save_graph(build_graph(lang, None, GraphConfig(kind="HL")), tmp_path / "graph", "HL")
    build_lang(LangConfig(kind="char", write_pt=False), [tmp_path / "text_train"], None,
               tmp_path / "char")  # fmt: skip
    (tmp_path / "out").mkdir()

    def go(dev=("dev",), batches=batches, kind="ctc", **changes):
        shape = ModelConfig(
            kind=kind, encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8,
            joiner_dim=8,
        )  # fmt: skip
        torch.manual_seed(0)
        tokens = {"lang": lang}
        if kind == "transducer":  # on characters, its CTC head on phones
            tokens = {"lang": tmp_path / "char", "ctc_lang": lang}
        sizes = [Lang.load(path).num_tokens for path in tokens.values()]
        model = {"ctc": CtcModel, "transducer": TransducerModel}[kind](shape, 8, *sizes)
        torch.save({"model": model.state_dict()}, tmp_path / "averaged.pt")
        config = types.SimpleNamespace(
            data=DataConfig(dev=list(dev), test=["test"]),
            features=FeatureConfig(num_bins=8),
            model=shape,
            graph=GraphConfig(kind="HL"),
            decoding=DecodingConfig(device="cpu", **changes),
        )
        graph = tmp_path / "graph"
        out = tmp_path / "out"
        counts = decode(config, batches=batches, graph=graph, exp=tmp_path, out=out, **tokens)
        return counts, json.loads((out / "scales.json").read_text()), out

    return go


def test_every_set_has_its_file_of_results(run):
    counts, scales, out = run()
    assert counts == {"dev": 2, "test": 1}
    plain = {"acoustic_scale": 1.0, "word_score": 0.0, "blank_penalty": 0.0, "lm_scale": 1.0}
    plain |= {"lodr_scale": -0.1, "ilm_scale": 0.0, "phrase_boost": 1.0, "history_scale": 1.0}
    heeded = ["acoustic_scale", "word_score", "blank_penalty"]
    assert scales == {**plain, "heeded": heeded, "chosen_on": []}
    first, second = read_results(out / "hyps-dev.jsonl")
    assert (first.id, second.id) == ("d1", "d2")  # by name, whatever the order of the batches
    assert (first.ref, first.duration, first.speaker) == ("C", 0.21, "s-d1")
    assert first.fields == {"gender": "F", "age": "7"}
    for result in [first, second, *read_results(out / "hyps-test.jsonl")]:
        words = result.nbest[0].words
        assert {word.text for word in words} <= {"AB", "C"}
        bounds = [time for word in words for time in (word.start, word.end)]
        assert bounds == sorted(bounds) and all(0 <= time for time in bounds)
        assert not bounds or bounds[-1] < result.duration + 0.03  # the last frame may be padded
        assert all(0 <= word.confidence <= 1 for word in words)


def test_scales_are_chosen_on_dev_and_used_for_all_sets(run):
    seen = []

    def counted(split):
        seen.append(split)
        return batches(split)

    options = {"acoustic_scales": [0.5, 1.0], "word_scores": [-3.0, 3.0]}
    counts, scales, out = run(batches=counted, **options)
    assert counts == {"dev": 2, "test": 1} and scales["chosen_on"] == ["dev"]
    assert seen == ["dev", "test"]  # the model looks at each set once
    chosen = [read_results(out / f"hyps-{split}.jsonl") for split in ("dev", "test")]
    run(acoustic_scales=[scales["acoustic_scale"]], word_scores=[scales["word_score"]])
    assert chosen == [read_results(out / f"hyps-{split}.jsonl") for split in ("dev", "test")]


def test_the_errors_of_all_that_was_tried_are_written(run, tmp_path):
    words = Lang.load(tmp_path / "lang").words
    # an LM that says AB, but C hardly ever
    G = f"0 0 {words['AB']} {words['AB']} 0.1\n0 0 {words['C']} {words['C']} 30\n0 0.1\n"
    (tmp_path / "G.fst.txt").write_text(G)
    for method in ("nbest-rescoring", "whole-lattice-rescoring"):
        _, scales, out = run(
            method=method, rescore_lm=str(tmp_path / "G.fst.txt"), lm_scales=[0.0, 1.0, 3.0],
            word_scores=[2.0], output_beam=40.0, search_beam=60.0,
        )  # fmt: skip
        table = json.loads((out / "sweep.json").read_text())
        assert table["sets"] == ["dev"]
        trials = {row["lm_scale"]: row for row in table["trials"]}
        assert list(trials) == [0.0, 1.0, 3.0]
        assert [row["chosen"] for row in table["trials"]].count(True) == 1
        best = min(row["errors"] for row in trials.values())
        assert trials[scales["lm_scale"]]["chosen"]
        assert trials[scales["lm_scale"]]["errors"] == best
        for row in trials.values():
            assert row["words"] == 2 and row["wer"] == 100 * row["errors"] / 2
        results = read_results(out / "hyps-dev.jsonl")
        wrong = sum(
            edit_distance(result.ref.split(), result.hyp.split())["total"] for result in results
        )
        assert wrong == best  # the sets are decoded with what was chosen


def test_the_model_and_the_search_run_as_often_for_many_scales_as_for_two(
    run, tmp_path, monkeypatch
):
    words = Lang.load(tmp_path / "lang").words
    (tmp_path / "G.fst.txt").write_text(f"0 0 {words['AB']} {words['AB']} 0.1\n0 0.1\n")
    calls = []
    for name in ("encode", "first_pass", "second_pass"):
        plain = getattr(WholeLatticeRescoring, name)
        monkeypatch.setattr(
            WholeLatticeRescoring,
            name,
            lambda *given, name=name, plain=plain: calls.append(name) or plain(*given),
        )
    counts = []
    for scales in ([0.0, 1.0], [x / 10 for x in range(11)]):
        calls.clear()
        run(method="whole-lattice-rescoring", rescore_lm=str(tmp_path / "G.fst.txt"),
            lm_scales=scales, output_beam=6.0)  # fmt: skip
        counts.append({name: calls.count(name) for name in set(calls)})
    # the two utterances of dev and that of test once, and the first of each to warm up
    assert counts[0]["encode"] == counts[1]["encode"] == 3 + 2
    # what the sweep has searched in dev is not searched again
    assert counts[0]["first_pass"] == counts[1]["first_pass"] == 3 + 2
    assert [count["second_pass"] for count in counts] == [3 + 2 + 2 * 2, 3 + 2 + 2 * 11]


def test_what_is_kept_of_the_sweep_changes_neither_results_nor_costs(run, tmp_path, monkeypatch):
    words = Lang.load(tmp_path / "lang").words
    (tmp_path / "G.fst.txt").write_text(f"0 0 {words['AB']} {words['AB']} 0.1\n0 0.1\n")
    clock = itertools.count()  # a second passes from one look at it to the next
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock))
    found = []
    for most in (2000, 1, 0):  # of the two utterances of dev
        monkeypatch.setattr(scales_module, "KEPT", most)
        _, _, out = run(method="nbest-rescoring", rescore_lm=str(tmp_path / "G.fst.txt"),
                        lm_scales=[0.0, 1.0], output_beam=6.0)  # fmt: skip
        results = {split: read_results(out / f"hyps-{split}.jsonl") for split in SETS}
        found.append((results, costs.read_costs(out)["dev"].search.wall))
    assert found[0][0] == found[1][0] == found[2][0]
    # a block of a first and a second pass takes a second, and so does each of them alone
    assert [seconds for _, seconds in found] == [4, 3, 2]


def test_a_choice_without_a_dev_set_is_refused(run):
    with pytest.raises(ConfigError, match="no dev set to choose on"):
        run(dev=(), acoustic_scales=[0.5, 1.0])


def test_what_each_set_took_is_written_without_the_choice_of_scales(run, monkeypatch):
    clock = itertools.count()  # a second passes from one look at it to the next
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock))
    _, _, out = run(method="nbest", output_beam=4.0, acoustic_scales=[0.5, 1.0])
    found = costs.read_costs(out)
    assert list(found) == ["dev", "test"]
    dev = found["dev"]  # two batches of an utterance, 30 and 21 feature frames, a third of outputs
    assert (dev.utterances, dev.frames, round(dev.audio, 2)) == (2, 10 + 7, 0.51)
    assert (dev.encoder.wall, dev.search.wall) == (2, 2)  # the sweep and the warming up are not in
    assert round(dev.real_time_factor, 3) == round(4 / 0.51, 3)
    assert round(dev.search_factor, 3) == round(2 / 0.51, 3)
    assert dev.encoder.cpu > 0 and dev.cpu_factor > 0
    assert dev.depth >= 1 and dev.list_size >= 1  # an arc a frame is one path
    assert (dev.method, dev.beams, dev.device) == ("nbest", "20 / 4", "cpu")
    _, _, out = run(method="lattice-oracle")
    assert costs.read_costs(out)["test"].list_size is None
    _, _, out = run(method="ctc-prefix-beam", beam=3)
    test = costs.read_costs(out)["test"]
    assert (test.beams, test.arcs, test.depth, test.list_size) == ("3", None, None, None)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"method": "graph"}, "3gram_phone"),
        ({"method": "ctc-greedy"}, ""),
        ({"method": "mbr", "graph.kind": "HL"}, ""),
        ({"method": "nbest-rescoring", "rescore_lm": "lm/big/lm.arpa"}, "3gram_phone, big"),
        ({"method": "modified-beam", "neural_lm": "lm/nn/model", "token_lm": "lm/2/lm.arpa"},
         "nn, 2"),
        ({"method": "fast-beam", "fast_beam_graph": "LG", "graph.kind": "LG"}, "3gram_phone"),
    ],
)  # fmt: skip
def test_the_language_models_of_a_decoding_are_named(keys, names):
    given = [(key if "." in key else f"decoding.{key}", value) for key, value in keys.items()]
    assert lm_names(load_config([], given)) == names


def test_all_kernels_heed_the_threads_that_are_given(run, monkeypatch):
    monkeypatch.setattr(threads, "_most", 0)  # as it was, when this is over
    monkeypatch.setattr(threads.numba.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: range(4))
    before, used = torch.get_num_threads(), set()
    plain = threads.num_threads

    def seen():
        used.add(plain())
        return plain()

    for module in (threads, token_passing, totals):
        monkeypatch.setattr(module, "num_threads", seen)
    try:
        for given, most in ((0, 4), (1, 1), (2, 2), (9, 4)):
            used.clear()
            _, _, out = run(method="nbest", threads=given)
            assert used == {most} and costs.read_costs(out)["dev"].threads == given
    finally:
        torch.set_num_threads(before)


def test_costs_that_are_damaged_are_named(tmp_path):
    assert costs.read_costs(tmp_path) == {}
    for text in ("[]", '{"dev": {"encoder": {"hours": 1}}}', "{"):
        (tmp_path / "costs.json").write_text(text)
        with pytest.raises(NeveError, match=r"costs\.json: not the costs of a decoding"):
            costs.read_costs(tmp_path)


def test_greedy_needs_no_scales(run):
    counts, scales, _ = run(method="greedy", dev=(), acoustic_scales=[0.5, 1.0])
    assert counts == {"test": 1} and scales["chosen_on"] == []


def test_a_transducers_blank_penalty_is_chosen_on_dev(run, caplog):
    caplog.set_level("INFO")
    options = {"method": "modified-beam", "nbest": 3, "acoustic_scales": [0.5, 1.0]}
    counts, scales, out = run(kind="transducer", blank_penalties=[0.0, 50.0, -50.0], **options)
    assert counts == {"dev": 2, "test": 1} and scales["chosen_on"] == ["dev"]
    tried = [line for line in caplog.messages if line.startswith("blank penalty")]
    assert len(tried) == 3 and "acoustic scale" not in "".join(tried)
    assert "blank penalty -50: 2 errors in 2 dev words" in tried
    assert scales["blank_penalty"] != 50.0  # a word in every frame is not what was said
    results = read_results(out / "hyps-test.jsonl")
    assert 1 <= len(results[0].nbest) <= 3
    run(kind="transducer", blank_penalties=[scales["blank_penalty"]], **options)
    assert read_results(out / "hyps-test.jsonl") == results


def test_a_transducers_ctc_head_decodes_with_tokens_and_graph_of_its_own(run):
    _, _, out = run(kind="transducer", method="graph", word_scores=[20.0])
    words = {w.text for r in read_results(out / "hyps-dev.jsonl") for w in r.nbest[0].words}
    assert words and words <= {"AB", "C"}
    _, _, out = run(kind="transducer", method="ctc-greedy", blank_penalties=[50.0])
    words = {w.text for r in read_results(out / "hyps-dev.jsonl") for w in r.nbest[0].words}
    assert words and words <= {"A", "B", "C"}  # phones


def test_only_the_splits_asked_for_are_decoded(run):
    counts, _, out = run(splits=["test"], acoustic_scales=[0.5, 1.0])
    assert counts == {"test": 1} and not (out / "hyps-dev.jsonl").exists()
    with pytest.raises(ConfigError, match=r"decoding\.splits: eval is not in .*dev, test"):
        run(splits=["eval", "test"])


def test_weights_that_are_missing_are_named(run):
    with pytest.raises(NeveError, match=r"epoch-9\.pt: no such checkpoint"):
        run(checkpoint="epoch-9.pt")


def test_a_graph_without_words_cannot_be_decoded_with(capsys):
    for verb in ("decode", "pack"):
        assert main([verb, "--graph.kind", "H"]) == 1
        assert "graph.kind H has tokens and no words" in capsys.readouterr().err
