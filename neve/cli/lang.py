"""Make the lang directory: tokens, words, lexicon; check that it covers the transcripts."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = ("lang", "text", "data.train", "data.dev", "!lang.name", "!lang.lexicon")
USES = ("paths",)


def run(config, args) -> None:
    """Stage 3."""
    manifests = Path(config.paths.manifests)
    train, dev = (
        [manifests / f"text_{split}" for split in splits]
        for splits in (config.data.train, config.data.dev)
    )
    lexicon = Path(config.lang.lexicon) if config.lang.lexicon else None
    if config.lang.kind != "phone" and lexicon is not None and not lexicon.exists():
        lexicon = None
    inputs = [*train, *dev, *([lexicon] if lexicon else [])]
    with open_stage("lang", config.paths.lang, inputs, config, args, SECTIONS) as stage:
        if stage.finished:
            return
        from neve.lang import build_lang

        build_lang(config.lang, train, lexicon, stage.dir, dev=dev, text=config.text)
