"""Forced alignment of whole sets and of single recordings, with a trained model."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from neve.decoding.alignment import Alignment, CannotAlign, align
from neve.decoding.alignment_files import (
    file_name,
    with_alignment,
    write_ctm,
    write_textgrid,
)
from neve.decoding.methods import CtcMethod
from neve.decoding.recognizer import Recognizer
from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang import Lang
from neve.models import load_model
from neve.tensors import pick_device

log = logging.getLogger(__name__)

FORMATS = ("cuts", "ctm", "textgrid")
METHOD = "ctc-greedy"  # gives log-probabilities of CTC and needs no graph


def experiment_method(config, lang: Path, exp: Path, ctc_lang: Path | None = None) -> CtcMethod:
    """The CTC outputs of an experiment's model, and their tokens.

    Args:
        config: the root configuration; sections features, model, decoding.
        lang, exp: directories of the earlier stages; decoding.checkpoint is a file in `exp`.
        ctc_lang: lang directory of a transducer's CTC head; None: `lang`.

    Raises:
        NeveError: a transducer without CTC head; files that are missing or do not fit.
    """
    options = dataclasses.replace(config.decoding, method=METHOD)
    if options.threads:
        torch.set_num_threads(options.threads)
    symbols, ctc_symbols = Lang.load(lang), Lang.load(ctc_lang or lang)
    model = load_model(
        Path(exp) / options.checkpoint,
        config.model,
        config.features.num_bins,
        symbols.num_tokens,
        ctc_symbols.num_tokens,
    ).to(pick_device(options.device))
    shift = config.features.frame_shift
    return Recognizer(model, symbols, None, options, shift, ctc_symbols).method


def align_set(
    method: CtcMethod, batches: Iterable[dict], out: Path, formats: Sequence[str] = FORMATS
) -> tuple[int, int]:
    """Align the utterances of `batches` and write, into the directory `out`:

    cuts.jsonl.gz    Lhotse cuts, each supervision with alignments "word" and "token"
    words.ctm, tokens.ctm
    textgrid/ID.TextGrid    tiers "words" and "tokens"
    skipped.jsonl    id and reason of the utterances that cannot be aligned

    All but the last hold the aligned utterances alone, by name. Files of an earlier run are
    replaced; `out` is made if need be.

    Returns:
        Numbers of utterances aligned and skipped.

    Raises:
        NeveError: words that cannot be spelled (unless lang.oov is unk or drop), named with the
            utterance; an utterance that stands twice.
    """
    done: dict[str, Alignment] = {}
    durations: dict[str, float] = {}
    cuts: dict[str, str] = {}
    skipped: list[CannotAlign] = []
    for batch in batches:
        device = next(method.model.parameters()).device
        outputs, lengths = method.encode(
            batch["features"].to(device), batch["feature_lens"].to(device)
        )
        for row, name in enumerate(batch["ids"]):
            if name in durations:
                raise NeveError(f"utterance {name} is given twice; ids must be unique")
            durations[name] = batch["durations"][row]
            try:
                done[name] = align(
                    name,
                    batch["texts"][row],
                    outputs[row, : int(lengths[row])],
                    method.lang,
                    method.frame_seconds,
                    durations[name],
                )
            except CannotAlign as error:
                log.warning("skipped: %s", error)
                skipped.append(error)
                continue
            if "cuts" in formats:
                cut = with_alignment(batch["cuts"][row], done[name])
                cuts[name] = json.dumps(cut.to_dict(), ensure_ascii=False)
    names = sorted(done)
    if "cuts" in formats:
        with atomic_open(out / "cuts.jsonl.gz") as stream:
            stream.writelines(cuts[name] + "\n" for name in names)
    if "ctm" in formats:
        write_ctm(out / "words.ctm", ((name, done[name].words) for name in names))
        write_ctm(out / "tokens.ctm", ((name, done[name].tokens) for name in names))
    if "textgrid" in formats:
        for name in names:
            tiers = {"words": done[name].words, "tokens": done[name].tokens}
            path = out / "textgrid" / f"{file_name(name)}.TextGrid"
            write_textgrid(path, durations[name], tiers)
    with atomic_open(out / "skipped.jsonl") as stream:
        for error in sorted(skipped, key=lambda error: error.utterance):
            row = {"id": error.utterance, "reason": error.reason}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(done), len(skipped)
