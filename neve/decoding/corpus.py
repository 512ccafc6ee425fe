"""Decoding whole sets: features and a trained model to a file of results for each set."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from neve.decoding.recognizer import CtcRecognizer, choose_scales, load_model
from neve.errors import ConfigError
from neve.files import atomic_open
from neve.graphs import load_graph
from neve.lang import Lang
from neve.results import Result, write_results
from neve.tensors import pick_device

log = logging.getLogger(__name__)


def decode(
    config,
    *,
    batches: Callable[[str], Iterable[dict]],
    lang: Path,
    graph: Path | None,
    exp: Path,
    out: Path,
) -> dict:
    """Decode the dev and test sets into `out`/hyps-<split>.jsonl.

    Scales that the configuration leaves open are chosen on the dev sets and written to
    `out`/scales.json.

    Args:
        config: the root configuration; sections data, features, model, decoding.
        batches: gives the batches of a split, as a data loader yields them.
        lang, graph, exp: directories of the earlier stages; graph None for greedy decoding.
        out: an existing directory.

    Returns:
        The number of utterances decoded in each split.
    """
    options = config.decoding
    if options.threads:
        torch.set_num_threads(options.threads)
    symbols = Lang.load(lang)
    model = load_model(
        Path(exp) / options.checkpoint, config.model, config.features.num_bins, symbols.num_tokens
    ).to(pick_device(options.device))
    recognizer = CtcRecognizer(
        model,
        symbols,
        load_graph(graph) if graph is not None and options.method == "graph" else None,
        options,
        config.features.frame_shift,
    )
    known = [*config.data.dev, *config.data.test]
    splits = options.splits or known
    unknown = [split for split in splits if split not in known]
    if unknown:
        raise ConfigError(
            f"decoding.splits: {', '.join(unknown)} is not in data.dev or data.test "
            f"({', '.join(known)})"
        )
    several = len(options.acoustic_scales) * len(options.word_scores) > 1
    several = several and options.method != "greedy"
    forward = {}  # log-probabilities of the dev sets serve the choice of scales and the decoding
    chosen_on = config.data.dev if several else []
    for split in chosen_on:
        forward[split] = list(scored_batches(recognizer, batches(split)))
    dev = [
        (log_probs, lengths, batch["texts"])
        for scored in forward.values()
        for log_probs, lengths, batch in scored
    ]
    acoustic_scale, word_score = choose_scales(recognizer, dev, options)
    with atomic_open(Path(out) / "scales.json") as file:
        scales = {"acoustic_scale": acoustic_scale, "word_score": word_score}
        json.dump({**scales, "chosen_on": list(chosen_on)}, file)
        file.write("\n")
    counts = {}
    for split in splits:
        start, seconds, results = time.monotonic(), 0.0, []
        for log_probs, lengths, batch in forward.get(split) or scored_batches(
            recognizer, batches(split)
        ):
            hypotheses = recognizer.search(log_probs, lengths, acoustic_scale, word_score)
            for i, hypothesis in enumerate(hypotheses):
                results.append(
                    Result(
                        id=batch["ids"][i],
                        ref=batch["texts"][i],
                        nbest=[hypothesis],
                        duration=batch["durations"][i],
                        speaker=batch["speakers"][i],
                        fields=supervision_fields(batch["cuts"][i]),
                    )
                )
            seconds += sum(batch["durations"])
        results.sort(key=lambda result: result.id)
        counts[split] = write_results(Path(out) / f"hyps-{split}.jsonl", results)
        spent = time.monotonic() - start
        log.info(
            "%s: %d utterances, %.0f s of audio in %.1f s (real-time factor %.4f)",
            split,
            counts[split],
            seconds,
            spent,
            spent / max(seconds, 1e-9),
        )
    return counts


def scored_batches(recognizer: CtcRecognizer, batches: Iterable[dict]):
    """Yield (log-probabilities, lengths, batch) of each batch."""
    for batch in batches:
        log_probs, lengths = recognizer.log_probs(batch["features"], batch["feature_lens"])
        yield log_probs, lengths, batch


def supervision_fields(cut) -> dict[str, str]:
    """What the supervision says besides the text: gender, language, custom fields."""
    supervision = cut.supervisions[0]
    fields = {"gender": supervision.gender, "language": supervision.language}
    fields.update(supervision.custom or {})
    return {name: str(value) for name, value in fields.items() if isinstance(value, str | int)}
