"""Kaldi data directories: wav.scp, text, and optionally segments, utt2spk, spk2gender, utt2lang."""

from __future__ import annotations

from pathlib import Path

from neve.data.corpus import Audio, Problem, Split, Utterance
from neve.errors import NeveError


def read_data_directory(folder: Path, split: str, problems: list[Problem]) -> Split:
    """The corpus in a Kaldi data directory.

    Entries that have no partner in another file, and files that are not sorted, are noted in
    `problems`; a line that cannot be understood raises NeveError naming file and line.
    """
    for name in ("wav.scp", "text"):
        if not (folder / name).is_file():
            raise NeveError(
                f"{folder / name}: there is no such file; a Kaldi data directory needs it"
            )
    tables = {
        name: read_table(folder / name, split, problems)
        for name in ("wav.scp", "text", "segments", "utt2spk", "spk2gender", "utt2lang")
        if (folder / name).is_file()
    }
    result = Split()
    for name, (place, rest) in tables["wav.scp"].items():
        if not rest:
            raise NeveError(f"{place}: recording {name} has neither a path nor a command")
        command = rest.endswith("|")
        source = rest[:-1].strip() if command else locate(rest, folder)
        result.recordings[name] = Audio(name, source, command)
    spans = read_spans(tables)
    speakers, genders = tables.get("utt2spk"), tables.get("spk2gender", {})
    for name, (place, text) in sorted(tables["text"].items()):
        if name not in spans:
            where = "segments" if "segments" in tables else "wav.scp"
            problems.append(
                Problem(split, name, "transcript without audio", f"{place}: not in {where}")
            )
            continue
        recording, start, end, channel = spans[name]
        speaker = None
        if speakers is not None:
            if name in speakers and speakers[name][1]:
                speaker = speakers[name][1]
            else:
                detail = f"{place}: not in utt2spk; its speaker is called unknown"
                problems.append(Problem(split, name, "no speaker", detail, "kept"))
        result.utterances.append(
            Utterance(
                id=name,
                recording=recording,
                text=text,
                speaker=speaker,
                start=start,
                duration=None if end is None else end - start,
                channel=channel,
                gender=genders.get(speaker, ("", None))[1] if speaker else None,
                language=tables.get("utt2lang", {}).get(name, ("", None))[1],
                where=place,
            )
        )
    for name in sorted(set(spans) - set(tables["text"])):
        detail = f"{folder / 'text'} has no line for it; it is not used"
        problems.append(Problem(split, name, "audio without transcript", detail, "ignored"))
    return result


def read_table(path: Path, split: str, problems: list[Problem]) -> dict[str, tuple[str, str]]:
    """{first word: (file:line, rest of the line)} of a Kaldi table."""
    table: dict[str, tuple[str, str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise NeveError(f"{path}: is not UTF-8 text ({error}); convert it with iconv") from error
    last, unsorted = b"", ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise NeveError(f"{path}:{number}: the line is empty; remove it")
        name, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        if name in table:
            raise NeveError(f"{path}:{number}: {name} is there twice, first in {table[name][0]}")
        if name.encode() < last and not unsorted:
            unsorted = f"{path}:{number}: not sorted as LC_ALL=C sort does; it was sorted here"
            problems.append(Problem(split, name, "file not sorted", unsorted, "kept"))
        last = name.encode()
        table[name] = (f"{path}:{number}", rest.strip())
    return table


def read_spans(tables: dict) -> dict[str, tuple[str, float, float | None, int | None]]:
    """{utterance: (recording, start, end or None, channel or None)}."""
    if "segments" not in tables:
        return {name: (name, 0.0, None, None) for name in tables["wav.scp"]}
    spans = {}
    for name, (place, rest) in tables["segments"].items():
        fields = rest.split()
        try:
            recording, start, end = fields[0], float(fields[1]), float(fields[2])
            channel = int(fields[3]) if len(fields) > 3 else None
        except (IndexError, ValueError):
            raise NeveError(
                f"{place}: is not `utterance recording start end` with times in seconds"
            ) from None
        spans[name] = (recording, start, None if end == -1 else end, channel)
    return spans


def locate(path: str, folder: Path) -> str:
    """A path that stands in a file of `folder`: relative to here, as Kaldi has it, or to there."""
    if not Path(path).exists() and (folder / path).exists():
        return str(folder / path)
    return path
