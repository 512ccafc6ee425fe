"""Choosing scales on dev sets."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable

from neve.decoding.config import DecodingConfig
from neve.decoding.methods import Scales
from neve.decoding.recognizer import Recognizer
from neve.errors import ConfigError

log = logging.getLogger(__name__)

# name of a scale -> key of its candidates
CANDIDATES = {
    "acoustic_scale": "acoustic_scales",
    "word_score": "word_scores",
    "blank_penalty": "blank_penalties",
}


def candidates(config: DecodingConfig, heeded: Iterable[str]) -> list[Scales]:
    """What the configuration leaves to choose from; scales that are not heeded change nothing.

    Raises ConfigError for a list that is empty.
    """
    heeded, choices = set(heeded), []
    for name, key in CANDIDATES.items():
        values = getattr(config, key)
        if not values:
            raise ConfigError(f"decoding.{key} must not be empty")
        choices.append(values if name in heeded else [getattr(Scales, name)])
    return [Scales(*values) for values in itertools.product(*choices)]


def choose_scales(recognizer: Recognizer, batches: Iterable[tuple]) -> Scales:
    """The scales of the configuration with the fewest dev word errors; of equals, the first.

    Args:
        recognizer: decodes.
        batches: of the dev sets: outputs, lengths (as `Recognizer.encode` gives them) and
            reference texts.

    Raises:
        ConfigError: there is a choice, but no batch to choose on.
    """
    from kaldialign import edit_distance

    choices = candidates(recognizer.config, recognizer.method.scales)
    if len(choices) == 1:
        return choices[0]
    batches = list(batches)
    if not batches:
        keys = [f"decoding.{CANDIDATES[name]}" for name in recognizer.method.scales]
        raise ConfigError(
            f"{' or '.join(keys)} give a choice, but there is no dev set to choose on; name one in "
            "data.dev or give one value of each"
        )
    best = None
    for scales in choices:
        errors = words = 0
        for outputs, lengths, texts in batches:
            for text, nbest in zip(texts, recognizer.search(outputs, lengths, scales)):
                found = nbest[0].text.split() if nbest else []
                errors += edit_distance(text.split(), found)["total"]
                words += len(text.split())
        tried = (
            f"{name.replace('_', ' ')} {getattr(scales, name):g}"
            for name in recognizer.method.scales
            if len(getattr(recognizer.config, CANDIDATES[name])) > 1
        )
        log.info("%s: %d errors in %d dev words", ", ".join(tried), errors, words)
        if best is None or errors < best[0]:
            best = (errors, scales)
    return best[1]
