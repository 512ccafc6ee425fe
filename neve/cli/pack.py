"""Pack a model directory that stands alone: weights, lang, graph, configuration, scores."""

from __future__ import annotations

from pathlib import Path

from neve.cli.decode import ctc_lang_path, graph_path
from neve.cli.main import open_stage
from neve.decoding.config import (
    FUSION_METHODS,
    LIST_RESCORING_METHODS,
    LM_METHODS,
    RESCORING_METHODS,
    refuse_idle_lms,
)
from neve.errors import ConfigError

SECTIONS = ("model", "decoding", "!decoding.device", "!decoding.threads")
USES = ("tag", "paths")


def run(config, args) -> None:
    """Stage 9."""
    check_method(config.decoding)
    refuse_idle_lms(config.decoding)
    paths = config.paths
    sources = {
        "weights": Path(paths.exp) / config.decoding.checkpoint,
        "frontend": Path(paths.fbank) / "frontend.json",
        "lang": Path(paths.lang),
        "graph": graph_path(config),
        "ctc_lang": ctc_lang_path(config),
        "scales": Path(paths.decode) / "scales.json",
        "scores": Path(paths.report),
    }
    inputs = [path for path in sources.values() if path is not None]
    if config.decoding.phrases:
        inputs.append(("decoding.phrases", config.decoding.phrases))
    with open_stage("pack", paths.model, inputs, config, args, SECTIONS) as stage:
        if stage.finished:
            return
        from neve.config import to_dict
        from neve.export import pack

        everything = to_dict(config)
        pack(
            stage.dir,
            **sources,
            settings={name: everything[name] for name in ("features", "model", "decoding")},
            name=Path(paths.exp).name,
        )
    if not args.dry_run:
        print(f"try it: neve transcribe FILE --model {paths.model}")


def check_method(decoding) -> None:
    """ConfigError for a decoding that needs what a model directory does not hold."""
    needs = {
        **dict.fromkeys(RESCORING_METHODS, "decoding.rescore_lm and the graph's own G"),
        **dict.fromkeys(
            ("nbest-oracle", "lattice-oracle", "fast-beam-nbest-oracle"), "the reference texts"
        ),
        "neural-rescoring": "decoding.neural_lm",
        **dict.fromkeys(LIST_RESCORING_METHODS, "decoding.neural_lm, rescore_lm or token_lm"),
        "attention-rescoring": "the attention decoder",
    }
    missing = needs.get(decoding.method)
    other = "graph, with the decoding.name of such a decoding"
    fused = [f"decoding.{key}" for key in LM_METHODS if getattr(decoding, key)]
    if decoding.method in FUSION_METHODS and fused:
        missing = " and ".join(fused)
        other = f"{decoding.method} without, in a decoding of that name"
    elif decoding.method in LIST_RESCORING_METHODS:
        other = decoding.method.removesuffix("-rescoring")
    if missing:
        raise ConfigError(
            f"decoding.method {decoding.method} needs {missing}, which a model directory does not "
            f"hold: pack with decoding.method {other}"
        )
