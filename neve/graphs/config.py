"""The `graph` section of the configuration: which decoding graph is built."""

import dataclasses

from neve.config import option


@dataclasses.dataclass
class GraphConfig:
    kind: str = option(
        "HLG",
        "HLG: lexicon and n-gram; HL: lexicon alone, all words equally likely; "
        "H: tokens alone, without a lexicon",
        choices=("HLG", "HL", "H"),
    )
    topology: str = option(
        "standard",
        "CTC topology; modified lets a repeated token follow itself without a blank between, "
        "and mostly makes a smaller graph",
        choices=("standard", "modified"),
    )
    lm_scale: float = option(1.0, "G's scores are multiplied by this when the graph is built")
