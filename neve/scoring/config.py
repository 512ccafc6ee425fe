"""Configuration of scoring."""

from dataclasses import dataclass

from neve.config import option


@dataclass
class ScoringConfig:
    """What the scorer counts and how much of it the reports show."""

    breakdown: list[str] = option(
        ["speaker", "duration", "*"],
        "tables of error rates by these: speaker, duration, the name of a supervision field, or * "
        "for every field that has at most breakdown_values different values",
    )
    breakdown_values: int = option(
        50, "a field with more different values than this is left out by *"
    )
    duration_bins: list[float] = option(
        [2.0, 5.0, 10.0, 20.0], "limits between the rows of the breakdown by duration, in seconds"
    )
    terms: str = option(
        "",
        "a file of terms, one a line in the form of the transcripts, whose recall and precision "
        "are counted; empty: none",
    )
    compare: dict[str, str] = option(
        {},
        "systems to compare on one page and in RESULTS.md, as {name: tag/decoding}; the first is "
        "what the others are held against",
    )
    cer_spaces: bool = option(True, "count the space between words as a character (as jiwer does)")
    missing_reference: str = option(
        "error",
        "what to do with utterances that have no reference: stop, or leave them out and say so",
        choices=("error", "skip"),
    )
    bootstrap_samples: int = option(
        1000, "bootstrap samples behind each confidence interval; 0: no interval"
    )
    bootstrap_unit: str = option(
        "utterance",
        "what is drawn for a bootstrap sample; speaker allows for the errors of one speaker "
        "depending on each other",
        choices=("utterance", "speaker"),
    )
    bootstrap_seed: int = option(0, "seed of the bootstrap's random numbers")
    confidence_level: float = option(0.95, "probability content of the confidence intervals")
    top_confusions: int = option(50, "rows of the tables of words and confusions in the report")
    worst_utterances: int = option(50, "utterances with most errors shown in the report")
    check: bool = option(
        True, "hold WER and CER against jiwer where it is installed; a difference is an error"
    )
