"""Stage 1: a corpus read, checked utterance by utterance, and written as Lhotse manifests."""

from __future__ import annotations

import os
from pathlib import Path

from neve.data.audio_check import AudioFacts, check_all
from neve.data.checks import Checked, Checker
from neve.data.config import DataConfig
from neve.data.corpus import Problem, Split
from neve.data.manifests import use_libsndfile, write_manifest
from neve.data.report import summarise, terminal_table, write_reports
from neve.data.sources import read_corpus
from neve.errors import NeveError
from neve.files import atomic_open
from neve.pipeline import run_jobs
from neve.text import TextConfig

SHARE = 50  # audio files that a process checks at a time
FEW = 400  # files below which starting processes takes longer than the checks
SHOWN = 20  # problems that the terminal shows


def prepare_manifests(
    config: DataConfig,
    text: TextConfig,
    download: str | os.PathLike,
    out: str | os.PathLike,
    nj: int,
) -> None:
    """Write the manifests of a corpus and the report on it to `out`.

    For each split of `data.train`, `data.dev` and `data.test`: recordings_, supervisions_ and
    cuts_<split>.jsonl.gz (one cut and one supervision an utterance, under the utterance's id, with
    normalised text), text_<split> (`id WORD WORD ...`). Besides problems.txt (tab-separated: split,
    id, what was done, kind, detail), report.json and report.html.

    Raises NeveError if there is a problem and `data.on_problem` is error, if more than
    `data.max_dropped` of a split would be dropped, or if a split is left with nothing.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    use_libsndfile()
    problems: list[Problem] = []
    corpus = read_corpus(config, Path(download), out, nj, problems)
    facts = check_sources(corpus, config, nj)
    checker = Checker(config, text, facts, problems)
    checked = checker.check(corpus)
    decide(config, corpus, checked, problems)
    summary = summarise(checked, problems, config)
    for split, result in checked.items():
        write_split(split, result, out)
    write_reports(summary, problems, out)
    print(terminal_table(summary), flush=True)
    print_problems(problems, out)


def check_sources(
    corpus: dict[str, Split], config: DataConfig, nj: int
) -> dict[tuple[str, bool], AudioFacts]:
    """{(source, whether it is a command): what its audio is like}; each source is read once."""
    sources: dict[tuple[str, bool], None] = {}
    for split in corpus.values():
        for audio in split.recordings.values():
            for source in sources_of(audio):
                sources[source] = None
    items = [(source, command, config.check == "full") for source, command in sources]
    shares = [items[start : start + SHARE] for start in range(0, len(items), SHARE)]
    jobs = nj if len(items) > FEW else 1
    answers: list[AudioFacts] = []
    for part in run_jobs(check_all, shares, jobs, what="checking audio", unit=f"x {SHARE} files"):
        answers.extend(part)
    return dict(zip(sources, answers, strict=True))


def sources_of(audio) -> list[tuple[str, bool]]:
    """The files and commands of a recording; what is neither (say, a URL) cannot be checked."""
    if audio.recording is None:
        return [(audio.source, audio.command)]
    return [
        (str(source.source), source.type == "command")
        for source in audio.recording.sources
        if source.type in ("file", "command")
    ]


def decide(
    config: DataConfig, corpus: dict[str, Split], checked: dict[str, Checked], problems: list
) -> None:
    """NeveError if there are more problems than the configuration allows."""
    dropped = [problem for problem in problems if problem.action == "dropped"]
    if dropped and config.on_problem == "error":
        raise NeveError(
            f"{len(dropped)} utterance(s) cannot be used, and data.on_problem is error:\n"
            + listing(dropped)
            + "\nRepair the data, or set data.on_problem to drop"
        )
    for split in corpus:
        gone = [problem for problem in dropped if problem.split == split]
        total = len(checked[split].utterances) + len(gone)
        if not checked[split].utterances:
            raise NeveError(
                f"split {split} has no utterance that can be used:\n{listing(gone)}\n"
                "Repair the data"
            )
        share = len(gone) / total
        if share > config.max_dropped:
            raise NeveError(
                f"{share:.1%} of split {split} ({len(gone)} of {total} utterances) would be"
                f" dropped, more than data.max_dropped ({config.max_dropped:.1%}):\n"
                f"{listing(gone)}\n"
                "Repair the data, or raise data.max_dropped if this is how it has to be"
            )


def listing(problems: list[Problem]) -> str:
    """The first problems, one a line."""
    lines = [f"  {p.split} {p.id}: {p.kind}: {p.detail}" for p in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more")
    return "\n".join(lines)


def print_problems(problems: list[Problem], out: Path) -> None:
    """What was wrong and what was done about it, counted by kind, on the terminal."""
    if not problems:
        print("no problems found", flush=True)
        return
    counts: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        counts.setdefault((problem.action, problem.kind), []).append(problem)
    for (action, kind), found in sorted(counts.items()):
        first = ", ".join(problem.id for problem in found[:3])
        more = ", ..." if len(found) > 3 else ""
        print(f"{action}: {len(found)} x {kind}: {first}{more}")
    print("problems.txt and report.html have the details", flush=True)
    if any(problem.action == "dropped" for problem in problems):
        print("after repairing audio that was dropped, repeat this stage with --force", flush=True)


def write_split(split: str, checked: Checked, out: Path) -> None:
    """Write the manifests of one split."""
    write_manifest(checked.recordings, out / f"recordings_{split}.jsonl.gz")
    write_manifest(checked.supervisions, out / f"supervisions_{split}.jsonl.gz")
    write_manifest(checked.cuts, out / f"cuts_{split}.jsonl.gz")
    with atomic_open(out / f"text_{split}") as stream:
        for cut in sorted(checked.cuts, key=lambda cut: cut.id):
            stream.write(f"{cut.id} {cut.supervisions[0].text}\n")
