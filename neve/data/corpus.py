"""A corpus as its source describes it, before anything is checked: recordings and utterances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Audio:
    """A recording as the source names it."""

    id: str
    source: str  # a path, or a shell command that writes audio to its standard output
    command: bool = False
    recording: Any = None  # the Lhotse recording, where the source has manifests


@dataclass
class Utterance:
    """Something said and its transcript."""

    id: str
    recording: str
    text: str
    speaker: str | None = None
    start: float = 0.0  # seconds into the recording
    duration: float | None = None  # seconds; None: to the recording's end
    channel: int | None = None
    language: str | None = None
    gender: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)  # others, to break errors down by
    where: str = ""  # file and line that it comes from
    alignment: Any = None
    features: Any = None  # the Lhotse features, where there is no audio


@dataclass
class Split:
    """The recordings, by id, and utterances of one part of a corpus."""

    recordings: dict[str, Audio] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)


@dataclass
class Problem:
    """Something wrong with an utterance (or recording), and what was done about it."""

    split: str
    id: str
    kind: str  # e.g. "truncated audio"
    detail: str
    action: str = "dropped"  # or "kept": used all the same

    def __str__(self) -> str:
        return f"{self.split}\t{self.id}\t{self.action}\t{self.kind}\t{self.detail}"
