"""Files of alignments: Kaldi's CTM, Praat's TextGrid, and the cuts of Lhotse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from neve.decoding.alignment import Alignment
from neve.errors import NeveError
from neve.files import atomic_open
from neve.results import Word


def write_ctm(
    path: str | os.PathLike, utterances: Iterable[tuple[str, Sequence[Word]]], channel: str = "1"
) -> None:
    """`utterance channel start duration word confidence` lines; times to 4 decimals."""
    with atomic_open(path) as stream:
        for name, words in utterances:
            for word in words:
                confidence = "" if word.confidence is None else f" {word.confidence:.4f}"
                stream.write(
                    f"{name} {channel} {word.start:.4f} {word.end - word.start:.4f} {word.text}"
                    f"{confidence}\n"
                )


def read_ctm(path: str | os.PathLike) -> dict[str, list[Word]]:
    """The words of each utterance of a CTM file, all channels together, in the order of the file.

    Comments (`;;`) are left out. Raises NeveError with file and line for what is not CTM.
    """
    result: dict[str, list[Word]] = {}
    for number, line in enumerate(_lines(path), 1):
        columns = line.split()
        if not columns or columns[0].startswith(";;"):
            continue
        try:
            name, _, start, duration, text = columns[:5]
            confidence = float(columns[5]) if len(columns) > 5 else None
            word = Word(text, float(start), float(start) + float(duration), confidence)
        except ValueError:
            raise NeveError(
                f"{path}:{number}: is not `utterance channel start duration word [confidence]`"
            ) from None
        result.setdefault(name, []).append(word)
    return result


def write_textgrid(
    path: str | os.PathLike, duration: float, tiers: Mapping[str, Sequence[Word]]
) -> None:
    """A TextGrid in Praat's long text format, UTF-8; a tier of intervals for each name of `tiers`.

    What is between words becomes intervals without text, as the format wants a tier to be without
    holes. Raises NeveError for words that overlap.
    """
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {_number(duration)}", "tiers? <exists>", f"size = {len(tiers)}"]
    lines.append("item []:")
    for place, (name, words) in enumerate(tiers.items(), 1):
        intervals = _without_holes(path, duration, words)
        lines += [
            f"    item [{place}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(name)}",
            "        xmin = 0",
            f"        xmax = {_number(duration)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for number, (start, end, text) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{number}]:",
                f"            xmin = {_number(start)}",
                f"            xmax = {_number(end)}",
                f"            text = {_quoted(text)}",
            ]
    with atomic_open(path) as stream:
        stream.write("\n".join(lines) + "\n")


def read_textgrid(path: str | os.PathLike) -> tuple[float, dict[str, list[Word]]]:
    """Duration, and of each tier of intervals those that have a text.

    Reads the long text format in UTF-8. Raises NeveError for other files.
    """
    content = "\n".join(_lines(path))
    pattern = r'(xmin|xmax|text|name|class|Object class)\s*=\s*("(?:[^"]|"")*"|[-+0-9.eE]+)'
    tiers: dict[str, list[Word]] = {}
    duration, start, end, kind, name = None, 0.0, 0.0, "", None
    try:
        for key, value in re.findall(pattern, content):
            if value.startswith('"'):
                value = value[1:-1].replace('""', '"')
            if key == "Object class":
                kind = value
            elif key == "class":
                name = None
            elif key == "name":
                name = value
                tiers[name] = []
            elif key == "xmin":
                start = float(value)
            elif key == "xmax":
                end = float(value)
                duration = end if duration is None else duration
            elif key == "text" and name is not None and value:
                tiers[name].append(Word(value, start, end))
        if kind != "TextGrid" or duration is None:
            raise ValueError
    except ValueError:
        raise NeveError(
            f"{path}: is not a TextGrid in Praat's long text format; save it as a text file"
        ) from None
    return duration, tiers


def with_alignment(cut, alignment: Alignment):
    """A Lhotse cut whose one supervision has `alignment`: its words ("word") and tokens ("token").

    As Lhotse has it, the times of alignments count from the start of the recording.
    """
    from lhotse.supervision import AlignmentItem
    from lhotse.utils import fastcopy

    begin = getattr(cut, "start", 0.0)  # one that is mixed of several has none

    def items(parts: Sequence[Word]) -> list:
        return [
            AlignmentItem(
                part.text, round(begin + part.start, 4), round(part.end - part.start, 4),
                None if part.confidence is None else round(part.confidence, 4),
            )
            for part in parts
        ]  # fmt: skip

    supervision = fastcopy(
        cut.supervisions[0],
        alignment={"word": items(alignment.words), "token": items(alignment.tokens)},
    )
    return fastcopy(cut, supervisions=[supervision])


def file_name(name: str) -> str:
    """The name of an utterance as one of a file."""
    return name.replace("%", "%25").replace("/", "%2F")


def _without_holes(path, duration: float, words: Sequence[Word]) -> list[tuple[float, float, str]]:
    intervals, time = [], 0.0
    for word in words:
        start, end = round(word.start, 4), round(word.end, 4)
        if start < time - 1e-3 or end <= start:
            raise NeveError(
                f"{path}: {word.text} at {start} s overlaps the one before, or is empty"
            )
        if start > time:
            intervals.append((time, start, ""))
        intervals.append((max(start, time), end, word.text))
        time = end
    if time < duration or not intervals:
        intervals.append((time, duration, ""))
    return intervals


def _number(value: float) -> str:
    return f"{round(value, 4):.10g}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _lines(path: str | os.PathLike) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NeveError(f"{path}: cannot be read: {error}") from error
