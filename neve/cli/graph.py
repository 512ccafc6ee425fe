"""Compose lexicon, language model and CTC topology to the decoding graph."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = ("graph",)
USES = ("paths",)


def run(config, args) -> None:
    """Stage 5."""
    lang = Path(config.paths.ctc_lang)
    lexicon = lang / "L_disambig.npz"
    if not lexicon.exists() and lexicon.with_suffix(".pt").exists():  # a lang directory of icefall
        lexicon = lexicon.with_suffix(".pt")
    inputs = [lexicon, lang / "tokens.txt", lang / "words.txt"]
    g = Path(config.paths.lm) / "G.fst.txt"
    if config.graph.kind == "HLG":
        inputs.append(g)
    with open_stage("graph", config.paths.graph, inputs, config, args, SECTIONS) as stage:
        if stage.finished:
            return
        import shutil

        from neve.graphs import build_graph, save_graph

        graph = build_graph(lang, g if config.graph.kind == "HLG" else None, config.graph)
        save_graph(graph, stage.dir, config.graph.kind)
        for name in ("tokens.txt", "words.txt"):
            shutil.copy2(lang / name, stage.dir / name)
        print(f"{config.graph.kind}: {graph.num_states:,} states, {graph.num_arcs:,} arcs")
