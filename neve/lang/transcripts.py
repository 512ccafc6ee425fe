"""Transcripts in Kaldi's text format: `utterance-id WORD WORD ...` on each line."""

import os

from neve.errors import NeveError
from neve.lang.lines import read_lines


def read_transcripts(path: str | os.PathLike) -> dict[str, list[str]]:
    """Words of each utterance, in the order of the file.

    Raises NeveError with file and line for an id that stands twice, and for a file without words.
    """
    transcripts: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for number, line in read_lines(path, "file of transcripts"):
        name, *words = line.split()
        if name in lines:
            raise NeveError(
                f"{path}:{number}: utterance {name} stands in line {lines[name]} already"
            )
        lines[name] = number
        transcripts[name] = words
    if not any(transcripts.values()):
        raise NeveError(
            f"{path}: there is not one word in it; expected `utterance-id WORD WORD ...` lines"
        )
    return transcripts
