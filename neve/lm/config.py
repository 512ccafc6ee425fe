"""The n-gram language model: the keys of the `lm` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LmConfig:
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
        "share of the unknown word's probability, or none",
        choices=("lexicon", "text"),
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
