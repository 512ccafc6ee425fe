"""What decoding takes from the stages before it."""

import json
import shutil

import pytest

from neve.cli.config import Config
from neve.cli.decode import own_lm_path, scales_path, take_graph_keys, take_scales
from neve.cli.main import main
from neve.config import load
from neve.errors import ConfigError, NeveError
from neve.lang import LangConfig, build_lang
from neve.lm import LmConfig, build_lm


def test_rescoring_takes_off_the_G_that_the_graph_was_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("u1 A B\nu2 B A B\nu3 A\n")
    (tmp_path / "lexicon.txt").write_text("A a\nB b\nC c\n")
    (tmp_path / "names.txt").write_text("C c\n")
    text = [tmp_path / "text"]
    build_lang(LangConfig(write_pt=False), text, tmp_path / "lexicon.txt", tmp_path / "lang")
    for order, name in ((1, "small"), (2, "lm")):
        build_lm(LmConfig(order=order), text, tmp_path / "lang", tmp_path / name)
    graph = ["graph", "--paths.lang", "lang", "--paths.lm", "lm", "--graph.lm-scale", "0.8"]
    assert main([*graph, "--paths.graph", "g"]) == 0
    assert main([*graph, "--paths.graph", "g", "--add-words", "names.txt"]) == 0

    def own(graph, lm="lm", method="nbest-rescoring"):
        keys = {"paths.graph": graph, "paths.lm": lm, "decoding.method": method}
        config = load(Config, [], list(keys.items()))
        take_graph_keys(config)
        found = own_lm_path(config)
        return str(found) if found else None, config.graph.lm_scale

    # whatever LM the configuration names now, and whatever scale
    assert own("g") == own("g", lm="small") == ("lm/G.fst.txt", 0.8)
    assert own("g", method="1best") == (None, 1.0)
    # words were added on the command line of neve graph, of which the configuration knows nothing
    assert own("g_names") == (None, 0.8)
    # a graph that no stage has made is what the configuration says
    (tmp_path / "other").mkdir()
    assert own("other", lm="small") == ("small/G.fst.txt", 1.0)
    shutil.copytree("lm", "moved")
    shutil.copy("small/G.fst.txt", "lm/G.fst.txt")
    assert own("g", lm="moved") == ("moved/G.fst.txt", 0.8)
    with pytest.raises(ConfigError, match=r"lm/G\.fst\.txt is not what the graph in g was made of"):
        own("g")


def test_scales_may_be_those_of_another_decoding(tmp_path):
    def taken():
        keys = {
            "paths.exp": str(tmp_path), "decoding.name": "nbest", "decoding.scales_of": "graph",
            "decoding.lm_scales": [0.5, 1.0], "decoding.word_scores": [0.0, 1.0],
        }  # fmt: skip
        config = load(Config, [], list(keys.items()))
        take_scales(config, scales_path(config))
        found = config.decoding
        return found.acoustic_scales, found.word_scores, found.blank_penalties, found.lm_scales

    with pytest.raises(ConfigError, match="decode with decoding.name graph first"):
        taken()
    (tmp_path / "decode_graph").mkdir()
    file = tmp_path / "decode_graph/scales.json"
    scales = {"acoustic_scale": 1.4, "word_score": -1.0, "blank_penalty": 2.0, "lm_scale": 3.0}
    file.write_text(json.dumps({**scales, "heeded": list(scales)}))
    assert taken() == ([1.4], [-1.0], [2.0], [0.5, 1.0])  # of the last it is chosen
    # a method without words has no word score: its 0 says nothing
    file.write_text(json.dumps({**scales, "word_score": 0.0, "heeded": ["blank_penalty"]}))
    assert taken() == ([1.0], [0.0, 1.0], [2.0], [0.5, 1.0])
    for wrong in ('{"acoustic_scale": 1.4}', '{"heeded": ["word_score"]}', "[]"):
        file.write_text(wrong)
        with pytest.raises(NeveError, match=r"scales\.json: not scales of a decoding"):
            taken()


@pytest.fixture
def fresh(tmp_path, monkeypatch, capsys):
    """Says what `neve decode --dry-run` does in a recipe in which all stages before have run."""
    monkeypatch.chdir(tmp_path)
    made = ["exp/ctc-seed0/averaged.pt", "data/lang_phone/x", "data/graphs/phone_3gram/HLG/x"]
    made += [f"data/fbank/{name}" for name in ("frontend.json", "cuts_test.jsonl.gz")]
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def say(*words):
        splits = ["--data.dev", "[dev]", "--data.test", "[test]", "--decoding.splits", "[test]"]
        assert main(["decode", "--dry-run", *splits, *words]) == 0
        return capsys.readouterr().err

    return say


def test_a_dry_run_says_that_scales_are_not_chosen_yet(fresh):
    file = "exp/ctc-seed0/decode_graph/scales.json"
    words = ["--decoding.name", "nbest", "--decoding.scales-of", "graph"]
    assert f"needs {file}, which is not there yet" in fresh(*words)
    assert "would run" in fresh()


def test_dev_sets_that_scales_are_chosen_on_are_inputs(fresh):
    assert "would run" in fresh()
    assert "needs data/fbank/cuts_dev.jsonl.gz" in fresh("--decoding.acoustic-scales", "[1, 2]")
