"""Decode the dev and test sets with a trained model and the graph."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import yaml

from neve.cli.main import open_stage
from neve.decoding.config import (
    CANDIDATES,
    FAST_BEAM_METHODS,
    GRAPH_METHODS,
    LM_METHODS,
    RESCORING_METHODS,
    refuse_idle_lms,
    searches_graph,
)
from neve.errors import ConfigError, NeveError
from neve.pipeline.fingerprint import CONFIG, MARKER, FileDigests, read_json

SECTIONS = (
    "decoding",
    "data.dev",
    "data.test",
    "!decoding.name",
    "!decoding.device",
    "!decoding.threads",
    "!decoding.max_duration",
)
USES = ("tag", "paths")
# What decoding.scales_of takes, of what the other decoding heeds.
TAKEN = ("acoustic_scale", "word_score", "blank_penalty", "history_scale")


def run(config, args) -> None:
    """Stage 7. Each decoding is noted in decodings.jsonl beside the experiments."""
    paths, decoding = config.paths, config.decoding
    splits = decoding.splits or [*config.data.dev, *config.data.test]
    fbank = Path(paths.fbank)
    weights = Path(paths.exp) / decoding.checkpoint
    others = scales_path(config)
    if others and (others.exists() or not args.dry_run):
        take_scales(config, others)
        others = None
    graph, ctc_lang = graph_path(config), ctc_lang_path(config)
    take_graph_keys(config)
    own_lm = own_lm_path(config)
    heard = [*splits, *(config.data.dev if leaves_a_choice(decoding) else [])]
    cuts = [fbank / f"cuts_{split}.jsonl.gz" for split in dict.fromkeys(heard)]
    inputs = [weights, *cuts, fbank / "frontend.json", Path(paths.lang)]
    inputs += [path for path in (graph, ctc_lang, own_lm, others) if path]
    refuse_idle_lms(decoding)
    for key in (*LM_METHODS, "phrases"):
        if getattr(decoding, key):
            inputs.append((f"decoding.{key}", getattr(decoding, key)))
    with open_stage("decode", paths.decode, inputs, config, args, SECTIONS, version=2) as stage:
        if stage.finished:
            return
        from neve.data import AugmentConfig, Loader
        from neve.decoding import decode
        from neve.pipeline.lock import command_line
        from neve.scoring import log_decoding, write_sweep_page

        data = dataclasses.replace(config.data, max_duration=decoding.max_duration)

        def batches(split):
            file = fbank / f"cuts_{split}.jsonl.gz"
            return Loader([file], data, AugmentConfig(), training=False)

        done = decode(
            config,
            batches=batches,
            lang=Path(paths.lang),
            graph=graph,
            exp=Path(paths.exp),
            out=stage.dir,
            ctc_lang=ctc_lang,
            own_lm=own_lm,
            lm_names=lm_names(config),
        )
        if (stage.dir / "sweep.json").exists():
            title = f"{Path(paths.exp).name}, {decoding.name}: scales"
            write_sweep_page(stage.dir / "sweep.json", stage.dir / "sweep.html", title)
        for split in done:
            log_decoding(
                Path(paths.experiments) / "decodings.jsonl",
                split=split,
                experiment=Path(paths.exp).name,
                decode_name=decoding.name,
                checkpoint=str(weights),
                command=command_line(),
                is_test=split in config.data.test,
            )


def scales_path(config) -> Path | None:
    """The file of the scales that the decoding decoding.scales_of has chosen, if one is named."""
    other = config.decoding.scales_of
    return Path(config.paths.decode).parent / f"decode_{other}" / "scales.json" if other else None


def take_scales(config, path: Path) -> None:
    """Set the scales that another decoding has chosen and written to `path`, so that they have a
    part in what the stage depends on; those that it did not heed stay."""
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))
        for name in set(TAKEN).intersection(chosen["heeded"]):
            setattr(config.decoding, CANDIDATES[name], [float(chosen[name])])
    except FileNotFoundError:
        raise ConfigError(
            f"decoding.scales_of: there is no {path}; decode with decoding.name "
            f"{config.decoding.scales_of} first"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeveError(f"{path}: not scales of a decoding ({error}); decode again") from error


def leaves_a_choice(decoding) -> bool:
    """Whether there are several candidates of a scale, which most methods choose from on dev."""
    return any(len(getattr(decoding, key)) > 1 for key in CANDIDATES.values())


def graph_path(config) -> Path | None:
    """The directory of the decoding graph; None if the decoding needs none."""
    if config.decoding.method in FAST_BEAM_METHODS:
        LG = config.decoding.fast_beam_graph == "LG"
        return Path(config.paths.graph) / "LG" if LG else None
    if config.decoding.method not in GRAPH_METHODS:
        return None
    if config.graph.kind == "LG":
        raise ConfigError(
            f"graph.kind LG has no topology of CTC, but decoding.method {config.decoding.method} "
            "searches one with it: decode with HLG or HL, or with fast-beam"
        )
    if config.graph.kind == "H":
        raise ConfigError(
            f"graph.kind H has tokens and no words, but decoding.method {config.decoding.method} "
            "searches a graph: decode with HLG or HL, or with a method such as ctc-prefix-beam"
        )
    return Path(config.paths.graph) / config.graph.kind


def made_with(config) -> dict:
    """The configuration with which the graph was made, as its stage has noted; else nothing."""
    directory = Path(config.paths.graph)
    if not read_json(directory / MARKER):
        return {}
    return yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))


def take_graph_keys(config) -> None:
    """For rescoring, set the keys of section `graph` to those with which the graph was made.

    A graph of other origin is taken to be what the configuration says.
    """
    made = made_with(config) if config.decoding.method in RESCORING_METHODS else {}
    for key in ("classes", "grammar", "add_words", "lm_scale"):
        if key in made.get("graph", {}):
            setattr(config.graph, key, made["graph"][key])


def own_lm_path(config) -> Path | None:
    """The G.fst.txt that the graph was made of, if the method has a use for it and there is one.

    Section `graph` says how the graph was made (`take_graph_keys`). Raises ConfigError if that G
    is no longer there.
    """
    graph, directory, lm = config.graph, Path(config.paths.graph), Path(config.paths.lm)
    if config.decoding.method not in RESCORING_METHODS or graph.kind != "HLG":
        return None
    if graph.classes or graph.grammar or graph.add_words:
        return None
    record, made, found = read_json(directory / MARKER) or {}, made_with(config), [lm / "G.fst.txt"]
    if made:
        found.append(Path(made["paths"]["lm"]) / "G.fst.txt")
    digests = [
        digest
        for name, digest in record.get("wanted", {}).get("inputs", {}).items()
        if name.endswith(" G.fst.txt")
    ]
    if not digests:
        return found[0]
    for path in found:
        if path.exists() and FileDigests().path(path) == digests[0]:
            return path
    raise ConfigError(
        f"{found[0]} is not what the graph in {directory} was made of, and that G is to be taken "
        "off: name its directory as paths.lm, or make the graph again (stage 5)"
    )


def lm_names(config) -> str:
    """The language models that a decoding uses, by their directories, for tables of results."""
    decoding, names = config.decoding, []
    if searches_graph(decoding) and config.graph.kind in ("HLG", "LG"):
        names.append(Path(config.paths.lm).name)
    for key, methods in LM_METHODS.items():
        path = Path(getattr(decoding, key))
        if path.name and decoding.method in methods:
            own = path.name == "model" or path.suffix in (".arpa", ".gz", ".txt")
            names.append(path.parent.name if own else path.name)
    return ", ".join(names)


def ctc_lang_path(config) -> Path | None:
    """The lang directory of a transducer's CTC head; None if it is that of the transducer."""
    paths = config.paths
    if config.model.kind != "transducer" or paths.ctc_lang == paths.lang:
        return None
    return Path(paths.ctc_lang)
