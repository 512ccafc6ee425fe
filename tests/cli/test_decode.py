"""What decoding takes from the stages before it."""

import shutil

import pytest

from neve.cli.config import Config
from neve.cli.decode import own_lm_path
from neve.cli.main import main
from neve.config import load
from neve.errors import ConfigError
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
