"""Keywords in audio files, by a model directory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence

import torch

from neve.decoding import load_packed
from neve.decoding.keywords import KeywordSpotter, keyword_tokens
from neve.errors import NeveError
from neve.frontend import Frontend, read_audio
from neve.lang.lines import read_lines
from neve.transcribe.segments import cut_at_pauses

SHORTEST = 0.1  # s; a shorter piece holds no word


def read_keywords(
    path: str | os.PathLike, normal: Callable[[str], str] | None = None
) -> dict[str, float | None]:
    """Keywords and their own thresholds, if any, of a list: `keyword [TAB threshold]`.

    `normal` gives them their normal form. Raises NeveError with file and line for a threshold that
    is no number from 0 to 1, and for a line of which no word is left.
    """
    keywords: dict[str, float | None] = {}
    for number, line in read_lines(path, "list of keywords"):
        phrase, _, given = line.partition("\t")
        words = normal(phrase) if normal else " ".join(phrase.split())
        if not words:
            raise NeveError(f"{path}:{number}: there is no word in {line!r} (section text)")
        try:
            bar = float(given) if given.strip() else None
        except ValueError:
            bar = math.nan
        if bar is not None and not 0.0 < bar <= 1.0:
            raise NeveError(f"{path}:{number}: the threshold {given!r} is not a number from 0 to 1")
        keywords[words] = bar
    if not keywords:
        raise NeveError(f"{path}: is empty; write a keyword on each line")
    return keywords


def spot_keywords(
    file: str | os.PathLike,
    model_dir: str | os.PathLike,
    keywords: str | os.PathLike,
    threshold: float = 0.5,
    channel: int | None = None,
    overrides: Sequence[tuple[str, str]] = (),
) -> Iterator[tuple[float, float, float, str]]:
    """(start, end in seconds, score, keyword) of each detection in an audio file.

    Raises NeveError for files that cannot be read, and for a model without CTC outputs.
    """
    packed = load_packed(model_dir, list(overrides))
    method = packed.recognizer.method
    listed = read_keywords(keywords, method.lang.normal)
    if not hasattr(method, "of_labels"):
        raise NeveError(
            f"{model_dir}: keywords are found in the outputs of CTC; take a CTC model, or a "
            "transducer with a CTC head and --decoding.method ctc-greedy"
        )
    bars = {word: bar for word, bar in listed.items() if bar is not None}
    spotter = KeywordSpotter(keyword_tokens(method.lang, list(listed)), threshold, bars)
    frontend = Frontend.load(model_dir)
    rate = frontend.config.sampling_rate
    samples, _ = read_audio(file, rate, channel)
    for start, end in cut_at_pauses(samples, rate):
        if (end - start) / rate < SHORTEST:
            continue
        features = torch.from_numpy(frontend(samples[start:end], rate))
        outputs, lengths = method.encode(features[None], torch.tensor([len(features)]))
        for one in spotter.spot(outputs[0, : int(lengths[0])]):
            times = [start / rate + frame * method.frame_seconds for frame in (one.start, one.end)]
            yield (*times, one.score, one.keyword)
