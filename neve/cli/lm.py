"""Estimate the n-gram language model (ARPA) and make the grammar G of it."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = ("lm", "text", "data.train", "!lm.arpa", "!lm.text", "!lm.interpolate", "!lm.memory")
USES = ("paths",)


def run(config, args) -> None:
    """Stage 4."""
    paths, manifests = config.paths, Path(config.paths.manifests)
    tokens = config.lm.unit == "tokens"
    lang, out = (paths.lang, paths.token_lm) if tokens else (paths.ctc_lang, paths.lm)
    lang = Path(lang)
    train, dev = (
        [manifests / f"text_{split}" for split in splits]
        for splits in (config.data.train, config.data.dev)
    )
    inputs = [lang / name for name in ("words.txt", "lexicon.txt", "tokens.txt")]
    inputs += [*train, *dev, *(Path(path) for path in config.lm.text)]
    inputs += [Path(path) for path in config.lm.interpolate]
    if tokens and (lang / "bpe.model").exists():
        inputs.append(lang / "bpe.model")
    if config.lm.arpa:
        inputs.append(Path(config.lm.arpa))
    with open_stage("lm", out, inputs, config, args, SECTIONS) as stage:
        if stage.finished:
            return
        from neve.lm import build_lm

        build_lm(config.lm, train, lang, stage.dir, dev=dev, text=config.text)
