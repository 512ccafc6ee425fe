"""Building decoding graphs: L from a lang directory, G from kaldilm's text, then HLG."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from neve.errors import ConfigError, NeveError
from neve.fsa import compose_determinize_minimize, graph_from_openfst_text, read_text
from neve.graphs.agreement import check_ids, tell_differences
from neve.graphs.arcs import Arcs
from neve.graphs.config import GraphConfig
from neve.kernels import Graph, compose_ctc, connect, remove_epsilon
from neve.lang import Lang, LexiconFst
from neve.lang.lang import has_unknown_model


def build_L(lang_dir: str | os.PathLike) -> Graph:
    """The lexicon with disambiguation symbols, tokens in and words out.

    It is read from lang_dir/L_disambig.npz or, as icefall has it, lang_dir/L_disambig.pt.
    """
    path = Path(lang_dir) / "L_disambig.npz"
    if not path.exists():
        from neve.fsa import load_fsa

        return load_fsa(path.with_suffix(".pt")).to_graph()
    lexicon = LexiconFst.load(path)
    src, dst, labels = lexicon.arcs[:, :3].T
    num_states = int(dst.max(initial=-1)) + 1
    try:
        return Graph.from_arcs(num_states, src, dst, labels, lexicon.scores, lexicon.aux_labels)
    except NeveError as error:
        raise NeveError(f"{path}: {error}; make the lang directory again (stage 3)") from None


def build_G(g_fst_txt: str | os.PathLike, lm_scale: float = 1.0) -> Graph:
    """The language model from OpenFst's text form of it, as kaldilm writes it; words in and out.

    Raises NeveError naming file and line if a line cannot be read, and for a G without words.
    """
    graph = graph_from_openfst_text(read_text(g_fst_txt).lstrip("\n"), where=g_fst_txt)
    if not (graph.labels > 0).any():
        raise NeveError(f"{g_fst_txt}: the grammar is empty: there is no word in it (stage 4)")
    graph.scores *= np.float32(lm_scale)
    return graph


def build_LG(L: Graph, G: Graph, first_token_disambig: int, first_word_disambig: int) -> Graph:
    """L composed with G: determinised, minimised, without disambiguation symbols and epsilons.

    Labels are tokens; each arc emits any number of words. Symbols numbered first_token_disambig
    (first_word_disambig) or more are disambiguation symbols.

    Raises NeveError if nothing is left: lexicon and language model share no word.
    """
    graph = compose_determinize_minimize(L, G)
    graph.labels[graph.labels >= first_token_disambig] = 0
    emits = (graph.aux_values > 0) & (graph.aux_values < first_word_disambig)
    counts = np.concatenate(([0], np.cumsum(emits)))
    graph.aux_splits = counts[graph.aux_splits].astype(np.int32)
    graph.aux_values = graph.aux_values[emits]
    graph, _ = connect(graph)
    graph, _, _ = remove_epsilon(graph)
    if graph.num_states == 0:
        raise NeveError("LG is empty: the lexicon can spell no sentence of the language model")
    return graph


def build_HL(lang_dir: str | os.PathLike, config: GraphConfig | None = None) -> Graph:
    """The decoding graph of a lexicon alone: any sequence of its words, all equally likely.

    Words that stand for no speech (!SIL, <s>, </s>) are left out.
    """
    config = config or GraphConfig()
    spoken = spoken_words(lang_dir)
    score = -np.log(len(spoken)) * config.lm_scale
    loop = np.array([*sorted(spoken), -1])
    G = Graph.from_arcs(2, 0 * loop, (loop == -1) * 1, loop, np.where(loop > 0, score, 0.0), loop)
    return _compose(lang_dir, G, config)


def spoken_words(lang_dir: str | os.PathLike) -> list[int]:
    """The ids of the words of a graph HL. Raises NeveError if there is none."""
    words = read_symbols(Path(lang_dir) / "words.txt")
    special = {"<eps>", "!SIL", "<s>", "</s>"}
    first_disambig = _first_disambig(words, lang_dir, "words.txt")
    spoken = [n for word, n in words.items() if word not in special and n < first_disambig]
    if not spoken:
        raise NeveError(f"{lang_dir}/words.txt: no words; make the lang directory again (stage 3)")
    return spoken


def build_H(max_token: int, config: GraphConfig | None = None) -> Graph:
    """The CTC topology alone: frames' tokens in, tokens out."""
    config = config or GraphConfig()
    tokens = np.array([*range(1, max_token + 1), -1])
    loop = Graph.from_arcs(2, 0 * tokens, (tokens == -1) * 1, tokens, 0.0 * tokens, tokens)
    return compose_ctc(loop, config.topology == "modified")


def build_graph(
    lang_dir: str | os.PathLike,
    g_fst_txt: str | os.PathLike | None = None,
    config: GraphConfig | None = None,
    G: Graph | None = None,
) -> Graph:
    """The graph that config.kind asks for; HLG, LG need a G, as a file or a graph (`make_G`)."""
    config = config or GraphConfig()
    if config.unk_score and (config.kind == "H" or not has_unknown_model(lang_dir)):
        raise ConfigError(
            f"graph.unk_score: in a graph {config.kind} of {lang_dir} the unknown word is not said "
            "as a model of its own says; leave it 0, or set lang.unk_model (stage 3)"
        )
    if config.kind == "H":
        tokens = read_symbols(Path(lang_dir) / "tokens.txt")
        return build_H(_first_disambig(tokens, lang_dir, "tokens.txt") - 1, config)
    if config.kind == "HL":
        return build_HL(lang_dir, config)
    if G is not None:
        scaled = dataclasses.replace(G, scores=G.scores * np.float32(config.lm_scale))
    elif g_fst_txt is not None:
        scaled = build_G(g_fst_txt, config.lm_scale)
        check_ids(scaled, read_symbols(Path(lang_dir) / "words.txt"), g_fst_txt)
    else:
        raise NeveError(
            f"graph.kind {config.kind} needs a language model; build it first (stage 4)"
        )
    make = _LG if config.kind == "LG" else _compose
    return make(lang_dir, scaled, config)


def _compose(lang_dir, G: Graph, config: GraphConfig) -> Graph:
    return compose_ctc(_LG(lang_dir, G, config), config.topology == "modified")


def _LG(lang_dir, G: Graph, config: GraphConfig) -> Graph:
    tables = [read_symbols(Path(lang_dir) / name) for name in ("tokens.txt", "words.txt")]
    first = [
        _first_disambig(table, lang_dir, name)
        for table, name in zip(tables, ("tokens.txt", "words.txt"))
    ]
    L = build_L(lang_dir)
    tell_differences(L, G, tables[1], first[1])
    L = _with_loops(L, G, *tables)
    if has_unknown_model(lang_dir):
        from neve.graphs.unknown import with_unknown

        L = with_unknown(L, G, Lang.load(lang_dir), config.unk_score)
    return build_LG(L, G, *first)


def _with_loops(L: Graph, G: Graph, tokens: dict[str, int], words: dict[str, int]) -> Graph:
    """L that also lets those disambiguation symbols of G pass which words.txt does not have."""
    extra = np.unique(G.labels[G.labels > max(words.values())])
    if not len(extra):
        return L
    arcs = Arcs.of(L)
    loop = np.flatnonzero((arcs.labels == tokens["#0"]) & (arcs.src == arcs.dst))
    if not len(loop):
        raise NeveError("L has no loop of #0; make the lang directory again (stage 3)")
    state, free = int(arcs.src[loop[0]]), max(tokens.values()) + 1
    rows = [(state, state, free + i, word, 0.0) for i, word in enumerate(extra.tolist())]
    return arcs.with_rows(rows).graph()


def _first_disambig(symbols: dict[str, int], lang_dir, name: str) -> int:
    """The number of #0, after which only disambiguation symbols (and <s>, </s>) come."""
    if "#0" not in symbols:
        raise NeveError(f"{lang_dir}/{name}: no symbol #0; make the lang directory again (stage 3)")
    first = symbols["#0"]
    late = [s for s, n in symbols.items() if n > first and s[0] != "#" and s not in ("<s>", "</s>")]
    if late:
        raise NeveError(
            f"{lang_dir}/{name}: {late[0]} has a larger number than #0; disambiguation "
            "symbols must come last"
        )
    return first


def read_symbols(path: Path) -> dict[str, int]:
    """A symbol table, lines "symbol number"; NeveError names the line that is not one."""
    symbols = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise NeveError(f"{path}: {error.strerror}; make the lang directory (stage 3)") from None
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdigit():
            raise NeveError(f"{path}, line {number}: expected a symbol and its number: {line!r}")
        symbols[fields[0]] = int(fields[1])
    return symbols
