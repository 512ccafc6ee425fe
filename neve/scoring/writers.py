"""The files of a scored set: `recogs-*`, `errs-*` and `wer-summary-*`, as text and as JSON lines.

The text forms follow what Kaldi's and icefall's users know: `recogs` has the reference and the
hypothesis of each utterance, `errs` the aligned texts, the substitutions, deletions and insertions
with their counts and the statistics of each word, `wer-summary` the rates and their breakdowns. In
the aligned text `(REF->HYP)` is a substitution, `(REF->*)` a deletion and `(*->HYP)` an insertion.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from neve.files import atomic_open

from .alignment import Counts, Pair
from .analysis import SplitScore
from .summary import Interval, Summary, write_summary
from .terms import TermCounts, all_terms


def write_files(out: str | Path, score: SplitScore, summary: Summary) -> list[Path]:
    """Write all files of one set into the directory `out`; return their paths."""
    out = Path(out)
    recogs, recogs_json = out / f"recogs-{score.split}.txt", out / f"recogs-{score.split}.jsonl"
    errs, errs_json = out / f"errs-{score.split}.txt", out / f"errs-{score.split}.jsonl"
    text, record = (out / f"wer-summary-{score.split}.{kind}" for kind in ("txt", "json"))
    with atomic_open(recogs) as f:
        for u in score.utterances:
            f.write(f"{u.id}:\tref={u.ref.split()}\n{u.id}:\thyp={u.hyp.split()}\n")
    with atomic_open(recogs_json) as f:
        for u in score.utterances:
            f.write(_json(id=u.id, ref=u.ref, hyp=u.hyp, **_counts(u.words)))
    with atomic_open(errs) as f:
        f.writelines(_errs_text(score))
    with atomic_open(errs_json) as f:
        f.writelines(_errs_json(score))
    with atomic_open(text) as f:
        f.writelines(line + "\n" for line in summary_lines(summary))
    write_summary(record, summary)
    return [recogs, recogs_json, errs, errs_json, text, record]


def marked(pairs: Iterable[Pair]) -> str:
    """An alignment on one line, errors as `(REF->HYP)`, a missing side as `*`."""
    return " ".join(
        ref if ref == hyp else f"({'*' if ref is None else ref}->{'*' if hyp is None else hyp})"
        for ref, hyp in pairs
    )


def percent(rate: float) -> str:
    """A rate as a percentage with two decimals, without the sign."""
    return f"{100 * rate:.2f}"


def interval_text(interval: Interval) -> str:
    """An interval as percentages, `4.01 - 6.25`, or nothing."""
    return "" if interval is None else f"{percent(interval[0])} - {percent(interval[1])}"


def length_text(seconds: float) -> str:
    """A length of speech: `24 s`, `5.3 min`, `10.45 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def summary_lines(summary: Summary) -> list[str]:
    """The lines of `wer-summary-<split>.txt`, in the manner of Kaldi's `%WER` lines."""
    lines = [
        f"{summary.split}: {summary.utterances} utterances, {length_text(summary.seconds)}",
        _rate_line("WER", summary.words, summary.words_interval, summary),
        _rate_line("CER", summary.characters, summary.characters_interval, summary),
        f"%SER {percent(summary.wrong_utterances / max(summary.utterances, 1))} "
        f"[ {summary.wrong_utterances} / {summary.utterances} ]",
    ]
    if summary.skipped:
        lines.append(f"{summary.skipped} utterances without a reference were left out")
    if summary.calibration is not None:
        nce = summary.calibration.nce
        lines.append(
            f"confidence: normalised cross entropy {'undefined' if nce is None else f'{nce:.3f}'}, "
            f"calibration error {100 * summary.calibration.error:.1f} %"
        )
    if summary.terms:
        lines.append(terms_line(summary.terms))
    if summary.cost is not None:
        lines.append(summary.cost.line())
    if summary.checked:
        lines.append(summary.checked)
    for name, rows in summary.breakdowns.items():
        table = [(name, "utts", "speech", "WER %", "errors", "words", "sub", "del", "ins", "CER %")]
        table += [
            (
                row.value,
                str(row.utterances),
                length_text(row.seconds),
                percent(row.words.rate),
                str(row.words.errors),
                str(row.words.reference),
                str(row.words.substitutions),
                str(row.words.deletions),
                str(row.words.insertions),
                percent(row.characters.rate),
            )
            for row in rows
        ]
        lines += ["", f"by {name}", *_columns(table)]
    if summary.terms:
        table = [("term", "recall %", "precision %", "said", "recognised", "correct")]
        table += [
            (t.term, share(t.recall), share(t.precision), *map(str, (t.reference, t.hypothesis)),
             str(t.correct))
            for t in most_missed(summary.terms)
        ]  # fmt: skip
        lines += ["", "by term", *_columns(table)]
    return lines


def terms_line(terms: Sequence[TermCounts]) -> str:
    """Recall and precision of a list of terms, on one line."""
    total = all_terms(terms)
    return (
        f"terms: recall {share(total.recall)} % [ {total.correct} / {total.reference} ], "
        f"precision {share(total.precision)} % [ {total.correct} / {total.hypothesis} ], "
        f"{len(terms)} listed"
    )


def share(value: float | None) -> str:
    """A recall or precision as a percentage with two decimals; - where there is none."""
    return "-" if value is None else percent(value)


def most_missed(terms: Sequence[TermCounts]) -> list[TermCounts]:
    """Terms that were said or recognised, those that were missed or made up most often first."""
    seen = [t for t in terms if t.reference or t.hypothesis]
    return sorted(seen, key=lambda t: (2 * t.correct - t.reference - t.hypothesis, t.term))


def _rate_line(name: str, counts: Counts, interval: Interval, summary: Summary) -> str:
    line = (
        f"%{name} {percent(counts.rate)} [ {counts.errors} / {counts.reference}, "
        f"{counts.insertions} ins, {counts.deletions} del, {counts.substitutions} sub ]"
    )
    if interval is not None:
        line += (
            f" {100 * summary.confidence_level:g} % interval {interval_text(interval)}"
            f" (bootstrap over {summary.bootstrap_unit}s)"
        )
    return line


def _errs_text(score: SplitScore) -> Iterable[str]:
    counts = score.words
    yield f"%WER {percent(counts.rate)}\n"
    yield (
        f"{counts.errors} errors: {counts.insertions} insertions, {counts.deletions} deletions, "
        f"{counts.substitutions} substitutions, over {counts.reference} reference words "
        f"({counts.correct} correct)\n"
    )
    yield (
        "Sections: PER-UTT DETAILS, SUBSTITUTIONS, DELETIONS, INSERTIONS, PER-WORD STATS "
        "(search for the name and a colon)\n"
    )
    yield "\nPER-UTT DETAILS: (ref->hyp), * is nothing\n"
    for u in score.utterances:
        yield f"{u.id}:\t{marked(u.pairs)}\n"
    substitutions, deletions, insertions = score.confusions()
    yield "\nSUBSTITUTIONS: count ref -> hyp\n"
    for (ref, hyp), count in ranked(substitutions):
        yield f"{count}\t{ref} -> {hyp}\n"
    yield "\nDELETIONS: count ref\n"
    for word, count in ranked(deletions):
        yield f"{count}\t{word}\n"
    yield "\nINSERTIONS: count hyp\n"
    for word, count in ranked(insertions):
        yield f"{count}\t{word}\n"
    yield "\nPER-WORD STATS: word corr tot_errs count_in_ref count_in_hyp\n"
    for s in score.word_statistics():
        yield f"{s.word}\t{s.correct} {s.errors} {s.reference} {s.hypothesis}\n"


def _errs_json(score: SplitScore) -> Iterable[str]:
    yield _json(kind="summary", split=score.split, **_counts(score.words))
    for u in score.utterances:
        yield _json(kind="utterance", id=u.id, **_counts(u.words), alignment=u.pairs)
    substitutions, deletions, insertions = score.confusions()
    for (ref, hyp), count in ranked(substitutions):
        yield _json(kind="substitution", ref=ref, hyp=hyp, count=count)
    for word, count in ranked(deletions):
        yield _json(kind="deletion", ref=word, count=count)
    for word, count in ranked(insertions):
        yield _json(kind="insertion", hyp=word, count=count)
    for s in score.word_statistics():
        yield _json(
            kind="word",
            word=s.word,
            correct=s.correct,
            errors=s.errors,
            reference=s.reference,
            hypothesis=s.hypothesis,
        )


def ranked(counter: dict) -> list[tuple]:
    """`(key, count)` by falling count, then by key: the same order on every machine."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))


def _counts(counts: Counts) -> dict:
    return {
        "errors": counts.errors,
        "reference": counts.reference,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }


def _json(**record: object) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    """A table in columns of their own width, the first to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
