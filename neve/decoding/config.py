"""How hypotheses are searched for: the keys of the `decoding` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class DecodingConfig:
    name: str = option("hlg", "names the directory of this decoding: decode_<name>")
    method: str = option(
        "graph",
        "graph: the best path through the decoding graph; greedy: the best token of each frame",
        choices=("graph", "greedy"),
    )
    splits: list[str] = option([], "splits to decode; empty: those of data.dev and data.test")
    checkpoint: str = option("averaged.pt", "weights, a file in the experiment's directory")
    search_beam: float = option(20.0, "states this much worse than the best are given up")
    min_active: int = option(30, "states that the beam tries to keep at least in each frame")
    max_active: int = option(10000, "states that the beam tries to keep at most in each frame")
    allow_partial: bool = option(
        True, "give the best unfinished path where none ends in a final state"
    )
    acoustic_scales: list[float] = option(
        [1.0],
        "weights of the log-probabilities against the graph; of several, the one with the fewest "
        "errors on the dev sets is used for all sets",
    )
    word_scores: list[float] = option(
        [0.0], "added to the score for each word; of several, chosen on the dev sets likewise"
    )
    max_duration: float = option(600.0, "most seconds of audio in a batch, padding included")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(0, "processor threads of the search and of torch; 0 takes all there are")
