"""RESULTS.md: what a recipe reaches, written from the score files of all its experiments.

Every seed that was scored is shown, with mean and standard deviation; none is chosen. Text above
the marker line is written by hand and kept.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neve.costs import Cost
from neve.errors import NeveError
from neve.files import atomic_open

from .decoding_log import count_decodings
from .summary import Summary, read_summary
from .writers import interval_text, percent

MARKER = "<!-- results below are written by neve score -->"


@dataclass
class Experiment:
    """One training run and one way of decoding it: `summaries` by split.

    `training` holds what `summary.json` of the run tells: `parameters`, `epochs`,
    `train_seconds`, `hours_per_hour`, each only if known.
    """

    tag: str
    seed: str
    decoding: str
    directory: Path
    summaries: dict[str, Summary] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)


def find_experiments(exp_root: str | Path) -> list[Experiment]:
    """All experiments under `exp_root` that have been scored, in order of tag, decoding and seed.

    Looks for `<tag>-seed<k>/report*/wer-summary-<split>.json`. What the files say of tag, seed and
    decoding goes before what the names of the directories say.
    """
    experiments: dict[tuple[Path, str], Experiment] = {}
    for path in sorted(Path(exp_root).glob("*/report*/wer-summary-*.json")):
        run, report = path.parent.parent, path.parent.name
        summary = read_summary(path)
        name = re.fullmatch(r"(?P<tag>.+)-seed(?P<seed>\d+)", run.name)
        told = summary.experiment
        experiment = experiments.setdefault(
            (run, report),
            Experiment(
                tag=told.get("tag") or (name["tag"] if name else run.name),
                seed=told.get("seed") or (name["seed"] if name else ""),
                decoding=told.get("decoding") or report.removeprefix("report").lstrip("_"),
                directory=run,
                training=_training(run / "summary.json"),
            ),
        )
        experiment.summaries[summary.split] = summary
    return sorted(
        experiments.values(), key=lambda e: (e.tag, e.decoding, _as_number(e.seed), e.seed)
    )


def write_results_md(
    path: str | Path,
    exp_root: str | Path,
    *,
    title: str = "",
    command: str = "",
    versions: Mapping[str, str] | None = None,
    revision: str = "",
    decoding_log: str | Path | None = None,
    test_sets: Sequence[str] | None = None,
    first: Sequence[str] = (),
) -> list[Experiment]:
    """Write RESULTS.md at `path` from all scored experiments under `exp_root`; return these.

    `command` made the results, `versions` maps packages to versions, `revision` is git's;
    `decoding_log` defaults to `decodings.jsonl` in `exp_root`. `test_sets` names the sets whose
    decodings are counted (default: those that the log calls test sets). The lines `first` stand
    before all tables. What stands above the marker line of an existing file is kept; a file without
    the marker is taken to be written by hand, and the results are added below it. Without one, the
    file begins with `title`.

    Raises NeveError where nothing has been scored, or a file of scores or the log is damaged.
    """
    path, exp_root = Path(path), Path(exp_root)
    experiments = find_experiments(exp_root)
    if not experiments:
        raise NeveError(f"{exp_root}: no experiment has been scored yet; run the score stage first")
    log = Path(decoding_log) if decoding_log is not None else exp_root / "decodings.jsonl"
    counts = count_decodings(log, tests_only=test_sets is None)
    if test_sets is not None:
        counts = {name: counts.get(name, 0) for name in test_sets}
    parts = [_introduction(path, title), MARKER, ""]
    if command:
        parts += ["Made by", "", *_code(command), ""]
    parts += first
    parts += [
        "Each row is one training run, from its own seed; all that were scored are here. The "
        "interval is a bootstrap's (Bisani and Ney, 2004); ± is the standard deviation over seeds."
        + _agreement(experiments),
        "",
    ]
    groups: dict[str, dict[str, list[Experiment]]] = {}
    for experiment in experiments:
        decodings = groups.setdefault(experiment.tag, {})
        decodings.setdefault(experiment.decoding, []).append(experiment)
    for tag, decodings in groups.items():
        if len(decodings) > 1:
            parts += [f"## {_escaped(tag)}", "", *_all_decodings(decodings)]
            parts += ["### Each training", "", *_trainings(decodings)]
        else:
            decoding = f", decoding {_escaped(*decodings)}" if all(decodings) else ""
            parts += [f"## {_escaped(tag)}{decoding}", "", *_trainings(decodings)]
    parts += _training_table(experiments)
    parts += _decodings(counts)
    parts += _environment(versions or {}, revision)
    with atomic_open(path) as f:
        f.write("\n".join(parts).rstrip("\n") + "\n")
    return experiments


def _introduction(path: Path, title: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"# {title or 'Results'}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise NeveError(f"{path}: cannot be read ({error}); correct or remove it") from error
    above = text.split(MARKER, 1)[0].rstrip()
    return above + "\n" if above else f"# {title or 'Results'}\n"


def _all_decodings(decodings: Mapping[str, Sequence[Experiment]]) -> list[str]:
    """One row for each way of decoding, means over the seeds; then what the columns are."""
    every = [m for members in decodings.values() for m in members]
    splits = sorted({split for member in every for split in member.summaries})
    rows = []
    for decoding, members in decodings.items():
        rates = [[m.summaries[x].words.rate for m in members if x in m.summaries] for x in splits]
        summaries = [s for m in members for s in m.summaries.values()]
        cost = Cost.total(s.cost for s in summaries if s.cost is not None)
        rows.append((decoding or "-", *(_mean(of_split) for of_split in rates), *_costs(cost)))
    header = ("decoding", *(f"WER {split} %" for split in splits), "method", "LM", "beams")
    header += ("RTF", "search", "processors", "depth", "list")
    about = (
        "RTF, the real-time factor: seconds of model and search for a second of audio, all sets "
        "together; of the search alone; and the same in seconds of processors. Depth: arcs of the "
        "lattices in a frame; list: hypotheses of an n-best list."
    )
    return [*markdown_table(header, rows), "", about, ""]


def _mean(rates: Sequence[float]) -> str:
    if not rates:
        return "-"
    return percent(rates[0]) if len(rates) == 1 else _spread(rates)


def _costs(cost: Cost | None) -> tuple[str, ...]:
    if cost is None:
        return ("-",) * 8
    return (
        cost.method,
        cost.lm or "-",
        cost.beams or "-",
        *(f"{x:.4f}" for x in (cost.real_time_factor, cost.search_factor, cost.cpu_factor)),
        *("-" if x is None else f"{x:.1f}" for x in (cost.depth, cost.list_size)),
    )


def _trainings(decodings: Mapping[str, Sequence[Experiment]]) -> list[str]:
    """A row for each training; where there are several decodings, they have a column."""
    every = [m for members in decodings.values() for m in members]
    level = {s.confidence_level for m in every for s in m.summaries.values()}
    interval = f"{100 * min(level):g} % interval" if len(level) == 1 else "interval"
    header = ("set", "seed", "errors / words", "WER %", interval, "sub / del / ins", "CER %")
    rows = [(name, *row) for name, members in decodings.items() for row in _rows(members)]
    if len(decodings) == 1:
        lines = [*markdown_table(header, [row[1:] for row in rows]), ""]
    else:
        lines = [*markdown_table(("decoding", *header), rows), ""]
    for split in sorted({split for m in every for split in m.summaries}):
        skipped = max(m.summaries[split].skipped for m in every if split in m.summaries)
        if skipped:
            lines += [f"{split}: {skipped} utterances without a reference were left out.", ""]
    return lines


def _rows(members: Sequence[Experiment]) -> list[tuple[str, ...]]:
    rows = []
    for split in sorted({split for member in members for split in member.summaries}):
        scored = [(m.seed, m.summaries[split]) for m in members if split in m.summaries]
        for seed, s in scored:
            rows.append(
                (
                    split,
                    seed or "-",
                    f"{s.words.errors} / {s.words.reference}",
                    percent(s.words.rate),
                    interval_text(s.words_interval) or "-",
                    f"{s.words.substitutions} / {s.words.deletions} / {s.words.insertions}",
                    percent(s.characters.rate),
                )
            )
        if len(scored) > 1:
            rows.append(
                (
                    split,
                    f"mean of {len(scored)}",
                    f"{statistics.fmean(s.words.errors for _, s in scored):.1f}",
                    _spread([s.words.rate for _, s in scored]),
                    "",
                    "",
                    _spread([s.characters.rate for _, s in scored]),
                )
            )
    return rows


def _agreement(experiments: Sequence[Experiment]) -> str:
    """Says that jiwer agrees, where it was asked about every set."""
    checks = [s.checked for e in experiments for s in e.summaries.values()]
    return " All rates agree with jiwer's." if all(checks) else ""


def _training_table(experiments: Sequence[Experiment]) -> list[str]:
    rows = []
    seen: set[Path] = set()
    for e in experiments:
        if e.directory in seen or not e.training:
            continue
        seen.add(e.directory)
        told = e.training
        rows.append(
            (
                e.tag,
                e.seed or "-",
                f"{told['parameters'] / 1e6:.2f} M" if "parameters" in told else "-",
                f"{told['epochs']:g}" if "epochs" in told else "-",
                f"{told['train_seconds'] / 60:.1f} min" if "train_seconds" in told else "-",
                f"{told['hours_per_hour']:.0f}" if "hours_per_hour" in told else "-",
            )
        )
    if not rows:
        return []
    header = ("experiment", "seed", "parameters", "epochs", "training", "hours of audio per hour")
    return ["## Training", "", *markdown_table(header, rows), ""]


def _decodings(counts: Mapping[str, int]) -> list[str]:
    lines = ["## Decodings of test sets", ""]
    if not counts:
        return [*lines, "The log of decodings notes no decoding of a test set.", ""]
    told = ", ".join(
        f"{_escaped(split)} {count} time{'s' if count != 1 else ''}"
        for split, count in counts.items()
    )
    return [
        *lines,
        f"All decodings are noted in an append-only log. So far: {told}.",
        "",
    ]


def _environment(versions: Mapping[str, str], revision: str) -> list[str]:
    told = [f"{name} {version}" for name, version in versions.items()]
    if revision:
        told.insert(0, f"git revision `{revision}`")
    return ["## Made with", "", ", ".join(told) + ".", ""] if told else []


def _training(path: Path) -> dict[str, float]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NeveError(f"{path}: cannot be read ({error}); train again, or remove it") from error
    known = {}
    for key in ("parameters", "epochs", "train_seconds", "hours_per_hour"):
        value = record.get(key) if isinstance(record, dict) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            known[key] = value
    return known


def _spread(rates: Sequence[float]) -> str:
    return f"{percent(statistics.fmean(rates))} ± {percent(statistics.stdev(rates))}"


def _as_number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [header, ["---"] * len(header), *rows]
    return [
        "| " + " | ".join(_escaped(cell) if line is not lines[1] else cell for cell in line) + " |"
        for line in lines
    ]


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", text)


def _code(command: str) -> list[str]:
    fence = "```" if "```" not in command else "````"
    return [fence, command, fence]
