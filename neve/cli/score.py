"""Score the decoded sets: WER, CER, breakdowns, report and RESULTS.md."""

from __future__ import annotations

import os
from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = ("scoring", "text", "!scoring.terms", "!scoring.compare")
USES = ("tag", "title", "paths")


def run(config, args) -> None:
    """Stage 8."""
    paths = config.paths
    curves = Path(paths.exp) / "curves.jsonl"
    inputs = [Path(paths.decode), *([curves] if curves.exists() else [])]
    inputs += [Path(config.scoring.terms)] if config.scoring.terms else []
    with open_stage("score", paths.report, inputs, config, args, SECTIONS) as stage:
        if args.dry_run or (stage.finished and not config.scoring.compare):
            return
        if not stage.finished:
            from neve.scoring import score

            score(
                config.scoring,
                paths.decode,
                stage.dir,
                training_curves=curves,
                experiment={
                    "tag": config.tag,
                    "seed": str(config.training.seed),
                    "decoding": config.decoding.name,
                },
                command=recipe_command(),
                text=config.text,
            )
    print(f"report: {Path(paths.report) / 'report.html'}")
    write_results(config)


def write_results(config) -> None:
    """RESULTS.md from all experiments of this recipe, every seed of them."""
    from neve.pipeline.record import surroundings
    from neve.scoring import write_results_md

    record = surroundings("score")
    compared = write_comparison(config) if config.scoring.compare else []
    experiments = write_results_md(
        config.paths.results,
        config.paths.experiments,
        title=config.title,
        command=recipe_command(),
        versions=record["versions"],
        revision=record["revision"] or "",
        first=compared,
    )
    print(f"results: {config.paths.results}")
    print("\n".join(table(experiments, config.tag, config.decoding.name)), flush=True)


def write_comparison(config) -> list[str]:
    """The page of the systems of scoring.compare, once all are scored; its tables, as Markdown."""
    from neve.scoring import comparison, find_experiments

    paths = config.paths
    compared, missing = comparison.compare(
        config.scoring, find_experiments(paths.experiments), config.text
    )
    if missing:
        print(f"not scored yet, of those to compare: {', '.join(missing)}")
        return []
    out = Path(paths.experiments) / "comparison.html"
    comparison.write_comparison(out, compared, title=config.title, command=recipe_command())
    print(f"comparison: {out}")
    return comparison.markdown(compared)


def table(experiments, tag: str, decoding: str) -> list[str]:
    """Word error rates of all seeds of one tag and way of decoding."""
    head = f"{'set':<12} {'seed':>5} {'WER %':>7}  errors / words"
    lines = [f"{tag}, decoding {decoding}:", head]
    for experiment in experiments:
        if (experiment.tag, experiment.decoding) != (tag, decoding):
            continue
        for split, summary in sorted(experiment.summaries.items()):
            words = summary.words
            count = f"{words.errors} / {words.reference}"
            lines.append(f"{split:<12} {experiment.seed:>5} {100 * words.rate:7.2f}  {count}")
    return lines


def recipe_command() -> str:
    """The command that the user gave: the recipe's if there is one, else this verb's."""
    from neve.pipeline.lock import command_line

    return os.environ.get("NEVE_COMMAND") or command_line()
