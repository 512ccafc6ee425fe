"""A recogniser from a model directory that `neve pack` wrote."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from neve.config import load, option
from neve.decoding.config import (
    CANDIDATES,
    RESCORING_METHODS,
    DecodingConfig,
    searches_graph,
)
from neve.decoding.methods import Scales
from neve.decoding.recognizer import Recognizer
from neve.errors import ConfigError, NeveError
from neve.graphs import load_graph
from neve.lang import Lang
from neve.models import ModelConfig, load_model

FORMAT = 1


@dataclass
class Settings:
    model: ModelConfig = option(ModelConfig, "the model")
    decoding: DecodingConfig = option(DecodingConfig, "how to search")


@dataclass
class PackedModel:
    """What a model directory holds, ready to be used."""

    directory: Path
    recognizer: Recognizer
    scales: Scales


def load_packed(
    directory: str | os.PathLike, overrides: list[tuple[str, str]] | None = None
) -> PackedModel:
    """The recogniser of a model directory, on the CPU; `overrides` change its decoding settings.

    The scales are those that were chosen on the dev sets, unless `overrides` give others. Raises
    NeveError naming the file that is missing, damaged or of another version.
    """
    directory = Path(directory)
    path = directory / "model.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeveError(
            f"{directory}: is not a model directory (there is no model.yaml in it); "
            "`neve pack`, stage 9 of a recipe, makes one"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise NeveError(f"{path}: cannot be read ({error}); pack the model again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NeveError(f"{path}: is not format {FORMAT}; pack the model again with this version")
    try:
        features = content["features"]
        values = [(f"{s}.{k}", v) for s in ("model", "decoding") for k, v in content[s].items()]
        scales = {key: float(content[key]) for key in CANDIDATES if key in content}
        bins, shift = int(features["num_bins"]), float(features["frame_shift"])
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise NeveError(f"{path}: {error} is missing or wrong; pack the model again") from error
    try:
        settings = load(Settings, (), values)
    except ConfigError as error:
        raise NeveError(f"{path}: {error}; pack the model again with this version") from error
    settings = load(Settings, (), [*values, *(overrides or [])])
    given = {key.replace("-", "_") for key, _ in overrides or ()}
    method = settings.decoding.method
    phrases = directory / "phrases.txt"
    if "decoding.phrases" not in given and phrases.exists():
        settings.decoding.phrases = str(phrases)
    for name, key in CANDIDATES.items():
        if f"decoding.{key}" in given:
            options = getattr(settings.decoding, key)
            if len(options) != 1:
                raise ConfigError(f"decoding.{key}: there is no dev set here; give one value")
            scales[name] = options[0]
    lang = ctc_lang = Lang.load(directory / "lang")
    if (directory / "ctc_lang").exists():
        ctc_lang = Lang.load(directory / "ctc_lang")
    model = load_model(
        directory / "model.pt", settings.model, bins, lang.num_tokens, ctc_lang.num_tokens
    )
    graph = None
    if method in RESCORING_METHODS:
        raise ConfigError(
            f"decoding.method {method} needs a G, and a packed model has none; use it in `neve "
            "decode`"
        )
    if searches_graph(settings.decoding):
        if not (directory / "graph").exists():
            raise NeveError(
                f"{directory}: was packed without a graph, for decoding.method "
                f"{content['decoding']['method']}; pack it with decoding.method {method}"
            )
        graph = load_graph(directory / "graph")
    recognizer = Recognizer(model, lang, graph, settings.decoding, shift, ctc_lang)
    return PackedModel(directory, recognizer, Scales(**scales))
