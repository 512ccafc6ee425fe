"""Compose lexicon, language model and CTC topology to the decoding graph.

--add-words makes a graph, and a lang directory for it, that know further words and phrases; nothing
is trained, and those that were there stay as they are.
"""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage
from neve.errors import ConfigError

SECTIONS = ("graph", "!graph.classes", "!graph.grammar", "!graph.add_words", "!graph.g2p")
USES = ("paths", "text")


def add_arguments(parser) -> None:
    """Short names of two configuration keys."""
    add = parser.add_argument
    add("--add-words", metavar="FILE", help="the same as --graph.add-words")
    add("--add-words-prob", metavar="P", help="the same as --graph.add-words-prob")


def run(config, args) -> None:
    """Stage 5."""
    settings = config.graph
    settings.add_words = args.add_words or settings.add_words
    settings.add_words_prob = args.add_words_prob or settings.add_words_prob
    if settings.kind not in ("HLG", "LG"):
        for key in ("classes", "grammar") + (("add_words",) if settings.kind == "H" else ()):
            if getattr(settings, key):
                raise ConfigError(f"graph.{key} has no use in a graph.kind {settings.kind}")
    old = lang = Path(config.paths.lang if settings.kind == "LG" else config.paths.ctc_lang)
    of_lm = Path(config.paths.ctc_lang) / "words.txt"
    out = config.paths.graph
    if settings.add_words:
        name = Path(settings.add_words).stem
        lang, out = Path(f"{old}_{name}"), f"{out}_{name}"
        extend(config, args, old, lang)
    lexicon = lang / "L_disambig.npz"
    if not lexicon.exists() and lexicon.with_suffix(".pt").exists():  # a lang directory of icefall
        lexicon = lexicon.with_suffix(".pt")
    from neve.lang.lang import has_unknown_model

    inputs = [lexicon, lang / "tokens.txt", lang / "words.txt", *sources(config, old)]
    if has_unknown_model(lang):
        inputs += [lang / "lang.yaml", lang / "lexicon.txt"]
    sections = SECTIONS
    if settings.classes or settings.grammar or settings.add_words:
        sections = (*SECTIONS, "text")
    with open_stage("graph", out, inputs, config, args, sections) as stage:
        if stage.finished:
            return
        import shutil

        from neve.graphs import build_graph, make_G, read_new_words, save_graph
        from neve.lang import Lang

        normal = normal_form(config)
        if settings.classes or settings.grammar or settings.add_words:
            Lang.load(lang).check_text(config.text)
        G = new = None
        if settings.add_words:
            new = read_new_words(settings.add_words, Lang.load(lang), normal)
        if settings.kind in ("HLG", "LG"):
            G = make_G(
                lang,
                config.paths.lm,
                settings,
                normal=normal,
                new=new,
                old_words=of_lm if of_lm.parent != lang else None,
            )
        graph = build_graph(lang, None, settings, G)
        save_graph(graph, stage.dir, settings.kind)
        for name in ("tokens.txt", "words.txt"):
            shutil.copy2(lang / name, stage.dir / name)
        print(f"{settings.kind}: {graph.num_states:,} states, {graph.num_arcs:,} arcs")
    if settings.add_words:
        own = settings.kind == "LG" or config.paths.lang == config.paths.ctc_lang
        key = "lang" if own else "ctc-lang"
        print(f"to decode with it: --paths.{key} {lang} --paths.graph {out}")


def sources(config, old: Path) -> list[Path]:
    """The files beside the lang directory that the graph depends on."""
    settings = config.graph
    lm = Path(config.paths.lm)
    found = []
    if settings.add_words:
        found += [Path(settings.add_words), old / "words.txt"]
    if settings.kind not in ("HLG", "LG"):
        return found
    if settings.kind == "LG" and config.paths.ctc_lang != config.paths.lang:
        found.append(Path(config.paths.ctc_lang) / "words.txt")
    if settings.classes:
        found.append(Path(settings.classes))
    if settings.grammar:
        return [*found, Path(settings.grammar)]
    if settings.classes or settings.add_words_prob.startswith("$"):
        return [*found, lm / "lm.arpa"]
    if settings.add_words and (lm / "lm.arpa").exists():
        found.append(lm / "lm.arpa")
    return [*found, lm / "G.fst.txt"]


def normal_form(config):
    """The function that gives words the form of the transcripts."""
    from neve.text import normalize

    return lambda word: normalize(word, config.text)


def extend(config, args, old: Path, out: Path) -> None:
    """The lang directory with the added words, a stage of its own."""
    settings = config.graph
    inputs = [Path(settings.add_words)]
    inputs += [old / name for name in ("tokens.txt", "words.txt", "lexicon.txt")]
    inputs += [path for path in (old / "lang.yaml", old / "bpe.model") if path.exists()]
    inputs += [Path(settings.g2p)] if settings.g2p else []
    sections = ("text", "graph.g2p_variants")
    with open_stage("words", out, inputs, config, args, sections) as stage:
        if stage.finished:
            return
        from neve.graphs import extend_lang, read_new_words
        from neve.lang import Lang, read_lexicon
        from neve.lm.g2p import Pronouncer

        lang = Lang.load(old)
        pronounce = Pronouncer(
            lambda: [e for e in read_lexicon(old / "lexicon.txt")[0] if lang.is_word(e.word)],
            settings.g2p,
            settings.g2p_variants,
        )
        new = read_new_words(settings.add_words, lang, normal_form(config), pronounce)
        extended = extend_lang(lang, new.lexicon, stage.dir)
        count = len(extended.words) - len(lang.words)
        print(f"{count} new words, {len(new.lexicon)} pronunciations or spellings:")
        for word, tokens in new.lexicon:
            print(f"  {word} {' '.join(tokens)}")
