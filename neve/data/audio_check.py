"""Whether audio is what it says it is: there, readable, not empty, not truncated.

Needs soundfile alone, so that checking processes start quickly.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
from dataclasses import dataclass

import numpy as np
import soundfile

BLOCK = 1 << 18
MP3_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")


@dataclass
class AudioFacts:
    """What was found out about an audio file."""

    frames: int = 0  # samples per channel that can be decoded
    rate: int = 0  # Hz
    channels: int = 0
    digest: str = ""  # of the decoded samples
    peak: float = 0.0  # of all samples; 1 is full scale
    kind: str = ""  # what is wrong, e.g. "missing audio"; empty: nothing
    detail: str = ""

    def wrong(self, kind: str, detail: str) -> AudioFacts:
        self.kind, self.detail = kind, detail
        return self


def check_all(items: list[tuple[str, bool, bool]]) -> list[AudioFacts]:
    """`check_audio` of (source, command, full) tuples."""
    return [check_audio(*item) for item in items]


def check_audio(source: str, command: bool = False, full: bool = True) -> AudioFacts:
    """Check a file, or what a shell command writes; `full` decodes all samples."""
    facts = AudioFacts()
    if command:
        answer = subprocess.run(source, shell=True, capture_output=True, check=False)
        if answer.returncode:
            lines = answer.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            return facts.wrong(
                "unreadable audio",
                f"`{source}` failed with exit status {answer.returncode}: {lines[-1]}",
            )
        return check_stream(facts, io.BytesIO(answer.stdout), f"output of `{source}`", full)
    if not os.path.exists(source):
        return facts.wrong("missing audio", f"{source}: there is no such file")
    try:
        with open(source, "rb") as stream:
            return check_stream(facts, stream, source, full)
    except OSError as error:
        return facts.wrong("unreadable audio", f"{source}: {error.strerror}")


def check_stream(facts: AudioFacts, stream, name: str, full: bool) -> AudioFacts:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size == 0:
        return facts.wrong("empty audio", f"{name}: the file is empty")
    head = stream.read(4096)
    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as audio:
            facts.rate, facts.channels = audio.samplerate, audio.channels
            facts.frames = promised = audio.frames
            if audio.format == "OGG" and "lacks an end-of-stream" in audio.extra_info:
                promised = -1
            if audio.format == "MPEG" and not any(tag in head for tag in MP3_LENGTH_TAGS):
                promised = 0  # the length was guessed from the bit rate
            if full:
                decode(facts, audio)
    except (soundfile.SoundFileError, RuntimeError) as error:
        if facts.rate:  # the header is good, what follows is not
            return facts.wrong("truncated audio", f"{name}: cannot be decoded to its end: {error}")
        return facts.wrong("unreadable audio", f"{name}: {str(error).strip()}")
    declared = declared_frames(head)
    if promised == -1:
        return facts.wrong("truncated audio", f"{name}: ends before its end-of-stream mark")
    if declared is not None:
        promised = max(promised, declared)
    if facts.frames < promised:
        return facts.wrong(
            "truncated audio",
            f"{name}: its header says {promised} samples, {facts.frames} are there",
        )
    if facts.frames == 0:
        return facts.wrong("empty audio", f"{name}: has no samples")
    if full and facts.peak == 0:
        return facts.wrong("silent audio", f"{name}: all its samples are zero")
    if not np.isfinite(facts.peak):
        return facts.wrong("unreadable audio", f"{name}: has samples that are not numbers")
    return facts


def decode(facts: AudioFacts, audio: soundfile.SoundFile) -> None:
    """Decode all of a file: count and digest its samples."""
    digest, frames, peak = hashlib.blake2b(digest_size=16), 0, 0.0
    while len(block := audio.read(BLOCK, dtype="float32", always_2d=True)):
        digest.update(block.tobytes())
        frames += len(block)
        peak = max(peak, float(np.abs(block).max()))
        if np.isnan(block).any():
            peak = float("nan")
            break
    facts.frames, facts.peak, facts.digest = frames, peak, digest.hexdigest()


def declared_frames(head: bytes) -> int | None:
    """Samples per channel that the header of an uncompressed file promises, None if unknown.

    libsndfile shortens what a wav or SPHERE header says to what is there, so it is read here:
    RIFF WAVE and AIFF (chunks of a 4-byte name, a 4-byte length and content), NIST SPHERE 2.6
    (lines of text).
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        place, block_align = 12, 0
        while place + 8 <= len(head):
            name, length = head[place : place + 4], struct.unpack_from("<I", head, place + 4)[0]
            if name == b"fmt " and place + 22 <= len(head):
                coding = struct.unpack_from("<H", head, place + 8)[0]
                block_align = struct.unpack_from("<H", head, place + 20)[0]
                if coding not in (1, 3, 6, 7, 0xFFFE):  # PCM, float, A-law, mu-law, extensible
                    return None
            if name == b"data":
                unknown = length == 0 or length >= 0x7FFFF000  # written to a pipe
                return None if unknown or not block_align else length // block_align
            place += 8 + length + length % 2
        return None
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        place = 12
        while place + 14 <= len(head):
            if head[place : place + 4] == b"COMM":
                return struct.unpack_from(">I", head, place + 10)[0]
            length = struct.unpack_from(">I", head, place + 4)[0]
            place += 8 + length + length % 2
        return None
    if head[:7] == b"NIST_1A":
        for line in head[:1024].decode("latin-1").splitlines():
            words = line.split()
            if len(words) == 3 and words[0] == "sample_count" and words[2].isdigit():
                return int(words[2])
    return None
