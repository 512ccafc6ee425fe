"""Decoding whole sets: features and a trained model to a file of results for each set."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from neve.costs import Cost, write_costs
from neve.decoding.config import (
    FAST_BEAM_METHODS,
    GRAPH_METHODS,
    LIST_RESCORING_METHODS,
    RESCORING_METHODS,
    DecodingConfig,
    searches_graph,
)
from neve.decoding.methods import Scales
from neve.decoding.recognizer import Recognizer
from neve.decoding.scales import FirstPass, Trial, best_of, candidates, sweep
from neve.decoding.transducer.fast_beam_methods import load_LG
from neve.decoding.word_lm import WordLm
from neve.errors import ConfigError
from neve.files import atomic_open
from neve.fsa import Graph
from neve.graphs import load_graph, spoken_words
from neve.kernels.threads import limit_threads
from neve.lang import Lang
from neve.models import load_model
from neve.results import Result, write_results
from neve.tensors import pick_device

log = logging.getLogger(__name__)

# Those that heed decoding.beam.
BEAM_METHODS = ("ctc-prefix-beam", "modified-beam", "beam", *LIST_RESCORING_METHODS)


def decode(
    config,
    *,
    batches: Callable[[str], Iterable[dict]],
    lang: Path,
    graph: Path | None,
    exp: Path,
    out: Path,
    ctc_lang: Path | None = None,
    own_lm: Path | None = None,
    lm_names: str = "",
) -> dict:
    """Decode the dev and test sets into `out`/hyps-<split>.jsonl.

    Scales that the configuration leaves open are chosen on the dev sets and written to
    `out`/scales.json, which names those that the method heeds; `out`/sweep.json has the errors of
    all that were tried, `out`/costs.json what each set took.

    Args:
        config: the root configuration; sections data, features, model, decoding.
        batches: gives the batches of a split, as a data loader yields them.
        lang, graph, exp: directories of the earlier stages; graph is for methods that search one.
        out: an existing directory.
        ctc_lang: lang directory of a transducer's CTC head; None: `lang`.
        own_lm: for rescoring, the G.fst.txt that the graph HLG was made of.
        lm_names: what costs.json says of the language models.

    Returns:
        The number of utterances decoded in each split.
    """
    options = config.decoding
    if options.threads:
        torch.set_num_threads(options.threads)
    limit_threads(options.threads)
    symbols = Lang.load(lang)
    ctc_symbols = Lang.load(ctc_lang or lang)
    model = load_model(
        Path(exp) / options.checkpoint,
        config.model,
        config.features.num_bins,
        symbols.num_tokens,
        ctc_symbols.num_tokens,
        attention_decoder=options.method == "attention-rescoring",
    ).to(pick_device(options.device))
    recognizer = Recognizer(
        model,
        symbols,
        graph_of(options, graph, symbols),
        options,
        config.features.frame_shift,
        ctc_symbols,
        own_words(config, ctc_symbols, own_lm),
    )
    known = [*config.data.dev, *config.data.test]
    splits = options.splits or known
    unknown = [split for split in splits if split not in known]
    if unknown:
        raise ConfigError(
            f"decoding.splits: {', '.join(unknown)} is not in data.dev or data.test "
            f"({', '.join(known)})"
        )
    several = len(candidates(options, recognizer.method.scales)) > 1
    costs = {
        split: Cost(
            options.method, lm_names, beam_sizes(options), options.threads, str(recognizer.device)
        )
        for split in dict.fromkeys([*splits, *config.data.dev])
    }
    forward = {}  # outputs for the dev sets serve the choice of scales and the decoding
    chosen_on = config.data.dev if several else []
    for split in chosen_on:
        forward[split] = list(encoded_batches(recognizer, batches(split), costs[split]))
    dev = [
        (outputs, lengths, batch["texts"])
        for encoded in forward.values()
        for outputs, lengths, batch in encoded
    ]
    kept: list[FirstPass] = []
    trials = sweep(recognizer, dev, kept)
    rest = iter(kept)
    passes = {split: list(itertools.islice(rest, len(each))) for split, each in forward.items()}
    scales = best_of(trials)
    if several:
        write_sweep(trials, scales, chosen_on, Path(out) / "sweep.json")
    with atomic_open(Path(out) / "scales.json") as file:
        heeded = list(recognizer.method.scales)
        found = {**dataclasses.asdict(scales), "heeded": heeded, "chosen_on": list(chosen_on)}
        json.dump(found, file)
        file.write("\n")
    counts = {}
    for split in splits:
        encoded = forward.get(split)
        if encoded is None:
            encoded = encoded_batches(recognizer, batches(split), costs[split])
        results = searched(recognizer, encoded, scales, costs[split], passes.pop(split, []))
        counts[split] = write_results(Path(out) / f"hyps-{split}.jsonl", results)
        log.info("%s: %d utterances, %s", split, counts[split], costs[split].line())
    write_costs(out, {split: costs[split] for split in splits})
    return counts


def encoded_batches(recognizer: Recognizer, batches: Iterable[dict], cost: Cost):
    """Yield (outputs, lengths, batch) of each batch; see `Recognizer.encode`."""
    for number, batch in enumerate(batches):
        features, lengths = batch["features"], batch["feature_lens"]
        if number == 0:
            warm_up(recognizer, batch)
        with cost.encoder.measured():
            outputs, lengths = recognizer.encode(features, lengths)
        cost.utterances += len(lengths)
        cost.audio += sum(batch["durations"])
        cost.frames += int(lengths.sum())
        yield outputs, lengths, batch


def beam_sizes(options: DecodingConfig) -> str:
    """The beams of a method in short: of lattices, that of the search / that of the output; of
    fast-beam, that of the search, contexts x states."""
    search = f"{options.search_beam:g}"
    if options.method in FAST_BEAM_METHODS:
        return f"{search}, {options.max_contexts} x {options.max_states}"
    if options.method in (*GRAPH_METHODS, "ctc-lattice"):
        return search if options.method == "graph" else f"{search} / {options.output_beam:g}"
    return str(options.beam) if options.method in BEAM_METHODS else ""


def warm_up(recognizer: Recognizer, batch: dict) -> None:
    """Decode a batch's first utterance and forget it: what is compiled or loaded once is not
    counted as the cost of a set."""
    length = batch["feature_lens"][:1]
    outputs, lengths = recognizer.encode(batch["features"][:1, : int(length)], length)
    recognizer.search(outputs, lengths, None, batch["texts"][:1])


def searched(
    recognizer: Recognizer, encoded, scales: Scales, cost: Cost, passes: list[FirstPass]
) -> list[Result]:
    """The results of what `encoded_batches` gave, by the names of utterances.

    passes: over the first of the batches, which are not made again.
    """
    results, method = [], recognizer.method
    for (outputs, lengths, batch), first in itertools.zip_longest(encoded, passes):
        if first is not None:
            cost.search.add(first.spent)
        with cost.search.measured():
            found = first.found if first else method.first_pass(outputs, lengths, scales)
            rows = method.second_pass(found, scales, batch["texts"])
        cost.add_sizes(method.sizes(found))
        for i, nbest in enumerate(rows):
            results.append(
                Result(
                    id=batch["ids"][i],
                    ref=batch["texts"][i],
                    nbest=nbest,
                    duration=batch["durations"][i],
                    speaker=batch["speakers"][i],
                    fields=supervision_fields(batch["cuts"][i]),
                )
            )
    return sorted(results, key=lambda result: result.id)


def graph_of(options: DecodingConfig, path: Path | None, lang: Lang) -> Graph | None:
    """The graph that the method searches; `lang` has the tokens of a transducer."""
    if path is None or not searches_graph(options):
        return None
    if options.method in FAST_BEAM_METHODS:
        return load_LG(path, lang)
    return load_graph(path)


def own_words(config, lang: Lang, own_lm: Path | None) -> WordLm | None:
    """What the graph's own G says of words, if the method has a use for it."""
    if config.decoding.method not in RESCORING_METHODS:
        return None
    if own_lm is not None:
        return WordLm.read(own_lm, lang, config.graph.lm_scale)
    if config.graph.kind == "HL":
        return WordLm.uniform(spoken_words(lang.directory), config.graph.lm_scale)
    return None


def write_sweep(trials: list[Trial], chosen: Scales, sets: list[str], path: Path) -> None:
    """The table of all trials, as they were tried."""
    rows = [
        {
            **dataclasses.asdict(trial.scales),
            "errors": trial.errors,
            "words": trial.words,
            "wer": round(100 * trial.errors / max(1, trial.words), 3),
            "chosen": trial.scales == chosen,
        }
        for trial in trials
    ]
    with atomic_open(path) as file:
        json.dump({"sets": list(sets), "trials": rows}, file, indent=1)
        file.write("\n")


def supervision_fields(cut) -> dict[str, str]:
    """What the supervision says besides the text: gender, language, custom fields."""
    supervision = cut.supervisions[0]
    fields = {"gender": supervision.gender, "language": supervision.language}
    fields.update(supervision.custom or {})
    return {name: str(value) for name, value in fields.items() if isinstance(value, str | int)}
