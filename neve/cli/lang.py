"""Make the lang directory: tokens, words, lexicon; check that it covers the transcripts."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = ("text", "data.train", "data.dev")
USES = ("paths", "lang", "ctc_lang")


def run(config, args) -> None:
    """Stage 3: the lang directory, and that of the CTC head if it is another."""
    make(config, args, "lang", config.paths.lang)
    if config.paths.ctc_lang != config.paths.lang:
        make(config, args, "ctc_lang", config.paths.ctc_lang)


def make(config, args, section: str, out: str) -> None:
    """The lang directory `out`, as that section of the configuration says."""
    settings = getattr(config, section)
    manifests = Path(config.paths.manifests)
    train, dev = (
        [manifests / f"text_{split}" for split in splits]
        for splits in (config.data.train, config.data.dev)
    )
    lexicon = Path(settings.lexicon) if settings.lexicon else None
    if settings.kind != "phone" and lexicon is not None and not lexicon.exists():
        lexicon = None
    inputs = [*train, *dev, *([lexicon] if lexicon else [])]
    depends = (section, *SECTIONS, f"!{section}.name", f"!{section}.lexicon")
    with open_stage("lang", out, inputs, config, args, depends) as stage:
        if stage.finished:
            return
        from neve.lang import build_lang, normal_lexicon

        pronounce = None
        if settings.oov == "g2p" and lexicon is not None:
            from neve.lm.g2p import Pronouncer

            pronounce = Pronouncer(lambda: normal_lexicon(lexicon, config.text)[0])
        build_lang(
            settings,
            train,
            lexicon,
            stage.dir,
            dev=dev,
            text=config.text,
            pronounce=pronounce,
        )
