"""Tables of audio path, text and speaker: a header line, then one utterance a line."""

from __future__ import annotations

import csv
from pathlib import Path

from neve.data.corpus import Audio, Split, Utterance
from neve.errors import NeveError

REQUIRED = ("audio", "text")
KNOWN = ("audio", "text", "speaker", "id", "split", "start", "end", "channel", "language", "gender")
REMEDY = (
    "the header names the columns: audio and text, optionally speaker, id, split, start, end (s),"
    " channel, language, gender; any other column is kept for the breakdown of errors"
)


def read_table(path: Path, default_split: str) -> dict[str, Split]:
    """{split: corpus} of a .csv (commas, quotes as in RFC 4180) or .tsv (tabs, no quotes) table.

    Audio paths are relative to the table. Without a `split` column all is `default_split`; without
    `id` the name of the audio file is the id, with `start` also the place in it. Raises NeveError
    naming file and line.
    """
    splits: dict[str, Split] = {}
    for number, row in read_rows(path):
        where = f"{path}:{number}"
        source = row["audio"].strip()
        if not source:
            raise NeveError(f"{where}: the column audio is empty; remove the line or give the path")
        audio = path.parent / source
        start = number_of(row, "start", where, float) or 0.0
        end = number_of(row, "end", where, float)
        name = row.get("id", "").strip() or audio.stem
        if "id" not in row and "start" in row:
            name += f"-{round(100 * start):07d}"
        split = splits.setdefault(row.get("split", "").strip() or default_split, Split())
        recording = name if "start" not in row else str(source)
        if recording not in split.recordings:
            split.recordings[recording] = Audio(recording, str(audio))
        split.utterances.append(
            Utterance(
                id=name,
                recording=recording,
                text=row["text"],
                speaker=row.get("speaker", "").strip() or None,
                start=start,
                duration=None if end is None else end - start,
                channel=number_of(row, "channel", where, int),
                language=row.get("language", "").strip() or None,
                gender=row.get("gender", "").strip() or None,
                fields={key: value for key, value in row.items() if key not in KNOWN},
                where=where,
            )
        )
    return splits


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: value}) of each row."""
    tabs = path.suffix.lower() == ".tsv"
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            if tabs:
                reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            else:
                reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            check_header(path, header)
            rows = []
            for row in reader:
                if not any(value.strip() for value in row):
                    continue
                if len(row) != len(header):
                    raise NeveError(
                        f"{path}:{reader.line_num}: has {len(row)} columns where the header has"
                        f" {len(header)}"
                        + ("" if tabs else "; a value that holds a comma must be in double quotes")
                    )
                rows.append((reader.line_num, dict(zip(header, row, strict=True))))
    except OSError as error:
        raise NeveError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NeveError(f"{path}: is not UTF-8 text ({error}); convert it with iconv") from error
    except csv.Error as error:
        raise NeveError(f"{path}:{reader.line_num}: {error}") from error
    if not rows:
        raise NeveError(f"{path}: has no utterances below its header")
    return rows


def check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing:
        raise NeveError(
            f"{path}:1: there is no column {' and no column '.join(missing)} (columns found:"
            f" {', '.join(header) or 'none'}): {REMEDY}"
        )
    if twice:
        raise NeveError(f"{path}:1: column {twice[0]!r} is there twice")


def number_of(row: dict[str, str], column: str, where: str, kind: type):
    """The number in a column, None if it is empty or not there."""
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise NeveError(f"{where}: column {column}: {text!r} is not a number") from None
