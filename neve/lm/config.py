"""The n-gram language model: the keys of the `lm` section."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neve.config import option
from neve.errors import ConfigError


@dataclass
class LmConfig:
    unit: str = option(
        "words",
        "what the n-grams are made of: words, or the tokens of the lang directory of a transducer, "
        "for decoding.token_lm (an ARPA file alone, in paths.token_lm)",
        choices=("words", "tokens"),
    )
    order: int = option(3, "words an n-gram has at most; 1 or more")
    arpa: str = option("", "an ARPA file (also .gz) to use instead of estimating a model")
    text: list[str] = option(
        [],
        "files of further text, one sentence a line (also .gz), added to the training transcripts",
    )
    transcripts: bool = option(True, "estimate on the training transcripts")
    vocabulary: str = option(
        "lexicon",
        "words the model knows beside those of the text: all of the lang directory, each with a "
        "share of the unknown word's probability, or none; lexicon-only: these are all, n-grams "
        "with other words of the text are counted and left out",
        choices=("lexicon", "text", "lexicon-only"),
    )
    discount_fallback: list[float] = option(
        [0.5, 1.0, 1.5],
        "discounts for n-grams seen once, twice, more often, where the text is too small or too "
        "regular to estimate them; empty: an error",
    )
    prune: list[int] = option(
        [],
        "for each order from 1, leave out n-grams seen at most so often, e.g. [0, 0, 1]; the last "
        "number holds for all higher orders",
    )
    prune_entropy: float = option(
        0.0,
        "leave out n-grams without which the perplexity rises by a smaller share than this "
        "(Stolcke, 1998); 1e-8 to 1e-6 are usual; 0: none",
    )
    max_ngrams: int = option(
        0, "leave out the n-grams that matter least, until so many of all orders are left; 0: none"
    )
    interpolate: list[str] = option(
        [],
        "ARPA files of models to mix with the one of the text (or lm.arpa) into one; with "
        "lm.transcripts false and no lm.text, with each other",
    )
    weights: str = option(
        "auto",
        "weights of the mixture, first that of the model of the text, e.g. '0.7 0.3'; auto: those "
        "that suit the dev transcripts best",
    )
    memory: str = option(
        "2G",
        "memory for the estimation, beside the vocabulary: a number with K, M or G. A text that "
        "needs more is counted on disk; the model is the same",
    )


def memory_bytes(value: str) -> int:
    """Bytes of `lm.memory`: 500M, 2G, 1.5G. Raises ConfigError for anything else."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?\s*", value, re.IGNORECASE)
    number = match and int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    if not number:
        raise ConfigError(f"lm.memory is {value!r}: expected a size as 500M or 2G")
    return number


def mixture_weights(value: str, count: int) -> list[float] | None:
    """The numbers of `lm.weights` for `count` models; None for auto. Raises ConfigError."""
    if value.strip() == "auto":
        return None
    try:
        weights = [float(part) for part in value.replace(",", " ").split()]
    except ValueError:
        weights = []
    if len(weights) != count or min(weights) < 0.0 or abs(sum(weights) - 1.0) > 1e-6:
        raise ConfigError(
            f"lm.weights is {value!r}: expected auto, or {count} numbers that are not negative and "
            "1 in sum"
        )
    return weights
