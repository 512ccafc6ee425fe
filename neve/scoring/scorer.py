"""The scoring stage: from a directory of decoding results to error rates, files and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neve.costs import read_costs
from neve.errors import NeveError, named
from neve.progress import progress
from neve.results import iter_results
from neve.text import TextConfig, normalize

from .agreement import check_with_jiwer
from .analysis import SplitScore, score_results
from .config import ScoringConfig
from .curves import read_curves
from .report import write_report
from .summary import Summary, summarize
from .terms import read_terms
from .writers import summary_lines, write_files


def score(
    config: ScoringConfig,
    decode_dir: str | Path,
    out: str | Path,
    *,
    training_curves: str | Path | None = None,
    splits: Sequence[str] | None = None,
    title: str = "",
    experiment: Mapping[str, object] | None = None,
    command: str = "",
    text: TextConfig | None = None,
) -> dict[str, Summary]:
    """Score the `hyps-<split>.jsonl` of `decode_dir`; write all files and `report.html` to `out`.

    `splits` names the sets (default: all that were decoded); `training_curves` is the training's
    `curves.jsonl`, left out where it does not exist; `experiment` may give `tag`, `seed` and
    `decoding`, which RESULTS.md groups by; `command` is what the report says made it. References
    (and listed terms) are brought into the normal form `text`, as the words that were trained are.
    Prints the figures of each set, and returns them by its name.

    Raises NeveError for a set that was not decoded, a bad line, a missing reference, and where
    jiwer disagrees.
    """
    decode_dir, out = Path(decode_dir), Path(out)
    files = _result_files(decode_dir, splits)
    normal = (lambda words: normalize(words, text)) if text is not None else None
    terms = read_terms(config.terms, normal) if config.terms else ()
    curves = None
    if training_curves is not None and Path(training_curves).exists():
        curves = read_curves(training_curves)
    costs = read_costs(decode_dir)
    scored: dict[str, tuple[SplitScore, Summary]] = {}
    for split, path in files.items():
        results = progress(iter_results(path), what=f"scoring {split}", unit="utterances")
        split_score = score_results(split, results, config, text)
        checked = check_with_jiwer(split_score, config.cer_spaces) if config.check else None
        summary = summarize(split_score, config, experiment, checked, costs.get(split), terms)
        write_files(out, split_score, summary)
        scored[split] = (split_score, summary)
        if split_score.skipped:
            print(f"{split}: left out, having no reference: {named(split_score.skipped, 5)}")
        print("\n".join(_headline(summary)), flush=True)
    write_report(
        out / "report.html",
        scored,
        config,
        title=title or _title(experiment or {}),
        curves=curves,
        command=command,
    )
    return {split: summary for split, (_, summary) in scored.items()}


def _headline(summary: Summary) -> list[str]:
    """The lines of a summary without its tables."""
    lines = summary_lines(summary)
    return lines[: lines.index("")] if "" in lines else lines


def _result_files(decode_dir: Path, splits: Sequence[str] | None) -> dict[str, Path]:
    found = {
        path.name.removeprefix("hyps-").removesuffix(".jsonl"): path
        for path in sorted(decode_dir.glob("hyps-*.jsonl"))
    }
    if not found:
        raise NeveError(
            f"{decode_dir}: there is nothing to score (no hyps-<set>.jsonl); run the decode stage"
        )
    if splits is None:
        return found
    missing = [split for split in splits if split not in found]
    if missing:
        raise NeveError(
            f"{decode_dir}: the set {missing[0]} was not decoded (no hyps-{missing[0]}.jsonl; "
            f"there are {', '.join(found)}); decode it, or correct data.test"
        )
    return {split: found[split] for split in dict.fromkeys(splits)}


def _title(experiment: Mapping[str, object]) -> str:
    parts = []
    if experiment.get("tag"):
        parts.append(str(experiment["tag"]))
    if experiment.get("seed") is not None:
        parts.append(f"seed {experiment['seed']}")
    if experiment.get("decoding"):
        parts.append(f"decoding {experiment['decoding']}")
    return "Scores" + (": " + ", ".join(parts) if parts else "")
