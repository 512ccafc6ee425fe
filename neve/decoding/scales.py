"""Choosing scales on dev sets."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from typing import NamedTuple

from neve.costs import Spent
from neve.decoding.config import CANDIDATES, DecodingConfig
from neve.decoding.methods import Scales
from neve.decoding.recognizer import Recognizer
from neve.errors import ConfigError

log = logging.getLogger(__name__)


KEPT = 2000  # utterances whose first pass a sweep keeps at most, for the memory that lattices take


class FirstPass(NamedTuple):
    """The first pass over a batch, and what it took."""

    found: object
    spent: Spent


class Trial(NamedTuple):
    """Scales, and the errors in how many dev words they gave."""

    scales: Scales
    errors: int
    words: int


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
    return [Scales(**dict(zip(CANDIDATES, values))) for values in itertools.product(*choices)]


def best_of(trials: Iterable[Trial]) -> Scales:
    """The scales with the fewest errors; of equals, the first."""
    return min(trials, key=lambda trial: trial.errors).scales


def sweep(
    recognizer: Recognizer, batches: Iterable[tuple], kept: list[FirstPass] | None = None
) -> list[Trial]:
    """The dev word errors of all scales that the configuration allows.

    Each batch is searched once for all scales that only the second pass heeds. Where there is no
    choice nothing is decoded, and the one trial has no words.

    Args:
        recognizer: decodes.
        batches: of the dev sets: outputs, lengths (as `Recognizer.encode` gives them) and
            reference texts.
        kept: gets the first passes over the batches of the first `KEPT` utterances, in their order,
            where all scales share them.

    Raises:
        ConfigError: there is a choice, but no batch to choose on.
    """
    from kaldialign import edit_distance

    method = recognizer.method
    choices = candidates(recognizer.config, method.scales)
    if len(choices) == 1:
        return [Trial(choices[0], 0, 0)]
    batches = list(batches)
    if not batches:
        keys = [f"decoding.{CANDIDATES[name]}" for name in method.scales]
        raise ConfigError(
            f"{' or '.join(keys)} give a choice, but there is no dev set to choose on; name one in "
            "data.dev or give one value of each"
        )
    errors = [0] * len(choices)
    words = sum(len(text.split()) for _, _, texts in batches for text in texts)
    alike: dict[tuple, list[int]] = {}
    for number, scales in enumerate(choices):
        first = tuple(getattr(scales, name) for name in method.first_scales)
        alike.setdefault(first, []).append(number)
    # all batches for some scales, then for others: what a method makes of its graph or its phrases
    # for these scales it keeps until there are others
    for numbers in alike.values():
        utterances = 0
        for outputs, lengths, texts in batches:
            spent = Spent()
            with spent.measured():
                found = method.first_pass(outputs, lengths, choices[numbers[0]])
            utterances += len(texts)
            if kept is not None and len(alike) == 1 and utterances <= KEPT:
                kept.append(FirstPass(found, spent))
            for number in numbers:
                for text, nbest in zip(texts, method.second_pass(found, choices[number], texts)):
                    said = nbest[0].text.split() if nbest else []
                    errors[number] += edit_distance(text.split(), said)["total"]
    for scales, wrong in zip(choices, errors):
        tried = (
            f"{name.replace('_', ' ')} {getattr(scales, name):g}"
            for name in method.scales
            if len(getattr(recognizer.config, CANDIDATES[name])) > 1
        )
        log.info("%s: %d errors in %d dev words", ", ".join(tried), wrong, words)
    return [Trial(scales, wrong, words) for scales, wrong in zip(choices, errors)]
