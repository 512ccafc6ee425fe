"""The checks of stage 1, on utterances whose audio has been looked at.

What cannot be used is dropped, with the reason; what is doubtful is kept, with a warning. Both are
noted as a `Problem` under the utterance's id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from neve.data.audio_check import AudioFacts
from neve.data.config import DataConfig
from neve.data.corpus import Audio, Problem, Split, Utterance
from neve.text import TextConfig, normalize

OVERHANG = 0.1  # s by which an utterance may reach beyond its recording and is cut short
FASTEST = 40.0  # characters a second; nobody speaks faster
SLOWEST = 0.5  # the same for slow: mostly silence, or most of the transcript is missing
NO_SPEAKER = "unknown"


@dataclass
class Checked:
    """The usable part of a split, as Lhotse objects in the order of the source."""

    utterances: list[Utterance] = field(default_factory=list)
    recordings: list = field(default_factory=list)
    supervisions: list = field(default_factory=list)
    cuts: list = field(default_factory=list)


class Checker:
    """Checks a corpus; problems are added to the list it is given."""

    def __init__(
        self,
        config: DataConfig,
        text: TextConfig,
        facts: dict[tuple[str, bool], AudioFacts],
        problems: list[Problem],
    ):
        self.config = config
        self.text = text
        self.facts = facts
        self.problems = problems
        self._seen: dict[str, str] = {}  # id -> split

    def check(self, corpus: dict[str, Split]) -> dict[str, Checked]:
        """The usable utterances of every split."""
        usable = {}
        recordings: dict[tuple[str, str], object] = {}
        for name, split in corpus.items():
            used = {utterance.recording for utterance in split.utterances}
            for audio in split.recordings.values():
                if audio.id not in used:
                    self._note(name, audio.id, "audio without transcript", audio.source, "ignored")
            usable[name] = []
            for utterance in split.utterances:
                recording = self._check_utterance(name, split, utterance, recordings)
                if recording is not None:
                    usable[name].append((utterance, recording))
        self._check_duplicates(usable, corpus)
        self._check_speakers(usable)
        return {name: assemble(pairs) for name, pairs in usable.items()}

    def _note(self, split: str, id: str, kind: str, detail: str, action: str = "dropped") -> None:
        self.problems.append(Problem(split, id, kind, " ".join(detail.split()), action))

    # -- one utterance -------------------------------------------------------------------------

    def _check_utterance(self, split: str, part: Split, item: Utterance, recordings: dict):
        """The Lhotse recording of a usable utterance, None if it cannot be used."""
        if not re.fullmatch(r"\S+", item.id):
            self._note(split, repr(item.id), "bad id", f"{item.where}: an id has no spaces")
            return None
        if item.id in self._seen:
            other = self._seen[item.id]
            self._note(split, item.id, "duplicate id", f"{item.where}: it is in {other} already")
            return None
        self._seen[item.id] = split
        audio = part.recordings.get(item.recording)
        if audio is None:
            detail = f"{item.where}: there is no recording {item.recording}"
            self._note(split, item.id, "transcript without audio", detail)
            return None
        facts = self._facts(audio)
        if facts is not None and facts.kind:
            self._note(split, item.id, facts.kind, facts.detail)
            return None
        key = (split, audio.id)
        if key not in recordings:
            recordings[key] = self._recording(split, item, audio, facts)
        recording = recordings[key]
        if recording is None:
            detail = (
                f"{audio.source}: {rate_of(audio, facts)} Hz, data.sampling_rate is"
                f" {self.config.sampling_rate} and data.resample is false"
            )
            self._note(split, item.id, "wrong sampling rate", detail)
            return None
        if not self._check_span(split, item, recording):
            return None
        if not self._check_channel(split, item, recording):
            return None
        return recording if self._check_text(split, item) else None

    def _facts(self, audio: Audio) -> AudioFacts | None:
        """What is known of a recording's audio: the first of its files that is bad, or the first.

        None for audio that is neither in a file nor written by a command.
        """
        if audio.recording is None:
            return self.facts[audio.source, audio.command]
        found = [
            self.facts[str(source.source), source.type == "command"]
            for source in audio.recording.sources
            if source.type in ("file", "command")
        ]
        return next((facts for facts in found if facts.kind), found[0] if found else None)

    def _recording(self, split: str, item: Utterance, audio: Audio, facts: AudioFacts | None):
        """The Lhotse recording, at the wanted rate; None if it is at another and may not be."""
        from lhotse import Recording
        from lhotse.audio import AudioSource
        from lhotse.utils import fastcopy

        recording = audio.recording
        if recording is None:
            recording = Recording(
                id=audio.id,
                sources=[
                    AudioSource(
                        type="command" if audio.command else "file",
                        channels=list(range(facts.channels)),
                        source=audio.source,
                    )
                ],
                sampling_rate=facts.rate,
                num_samples=facts.frames,
                duration=facts.frames / facts.rate,
            )
        elif facts is not None and not recording.transforms:
            said = (recording.num_samples, recording.sampling_rate)
            if said != (facts.frames, facts.rate):
                detail = (
                    f"{audio.source}: {facts.frames} samples at {facts.rate} Hz where the manifest"
                    f" says {said[0]} at {said[1]} Hz; corrected"
                )
                self._note(split, item.id, "manifest unlike audio", detail, "kept")
                recording = fastcopy(
                    recording,
                    num_samples=facts.frames,
                    sampling_rate=facts.rate,
                    duration=facts.frames / facts.rate,
                )
        wanted = self.config.sampling_rate
        if not wanted or recording.sampling_rate == wanted:
            return recording
        if not self.config.resample:
            return None
        detail = f"{audio.source}: from {recording.sampling_rate} to {wanted} Hz"
        self._note(split, item.id, "resampled", detail, "kept")
        return recording.resample(wanted)

    def _check_span(self, split: str, item: Utterance, recording) -> bool:
        """Whether the utterance lies in its recording; a little overhang is cut off."""
        if item.duration is None:
            item.duration = recording.duration - item.start
        end = item.start + item.duration
        if item.start < 0 or item.duration <= 0 or end > recording.duration + OVERHANG:
            detail = (
                f"{item.where}: {item.start:g} to {end:g} s of recording {recording.id}, which is"
                f" {recording.duration:g} s long"
            )
            self._note(split, item.id, "outside its recording", detail)
            return False
        if end > recording.duration:
            if end > recording.duration + 0.001:
                detail = f"{item.where}: by {end - recording.duration:.3f} s, cut off"
                self._note(split, item.id, "longer than its recording", detail, "kept")
            item.duration = recording.duration - item.start
        if not self.config.min_utterance <= item.duration <= self.config.max_utterance:
            note = "not trained on" if split in self.config.train else "decoded all the same"
            detail = (
                f"{item.duration:.2f} s, not {self.config.min_utterance:g} to"
                f" {self.config.max_utterance:g} s: {note}"
            )
            self._note(split, item.id, "unusual duration", detail, "kept")
        return True

    def _check_channel(self, split: str, item: Utterance, recording) -> bool:
        channels = recording.channel_ids
        if item.channel is None:
            item.channel = channels[0]
            if len(channels) > 1:
                detail = f"{len(channels)} channels and none is named: the first is used"
                self._note(split, item.id, "several channels", detail, "kept")
        if item.channel not in channels and len(channels) == 1 and item.channel == 0:
            item.channel = channels[0]
        if item.channel not in channels:
            detail = f"{item.where}: channel {item.channel} of recording {recording.id}"
            self._note(split, item.id, "no such channel", f"{detail}, which has {channels}")
            return False
        return True

    def _check_text(self, split: str, item: Utterance) -> bool:
        """Whether there is a transcript; it is normalised."""
        raw, item.text = item.text, normalize(item.text, self.text)
        if not item.text:
            detail = f"{item.where}: nothing is left of {raw!r} after normalisation"
            if not raw.strip():
                detail = f"{item.where}: the transcript is empty"
            self._note(split, item.id, "empty transcript", detail)
            return False
        rate = len(item.text.replace(" ", "")) / item.duration
        if not SLOWEST <= rate <= FASTEST:
            detail = f"{rate:.2g} characters a second: is the transcript of this recording?"
            self._note(split, item.id, "unusual rate of speech", detail, "kept")
        if not item.speaker:
            item.speaker = NO_SPEAKER
        return True

    # -- all together --------------------------------------------------------------------------

    def _check_duplicates(self, usable: dict[str, list], corpus: dict[str, Split]) -> None:
        """The same audio, or the same words of the same speaker, more than once."""
        held_out = set(self.config.dev + self.config.test)
        audio: dict[tuple, list] = {}
        words: dict[tuple, list] = {}
        for split, pairs in usable.items():
            for item, _ in pairs:
                facts = self._facts(corpus[split].recordings[item.recording])
                if facts is not None and facts.digest:
                    span = (round(item.start, 2), round(item.duration, 2))
                    found = audio.setdefault((facts.digest, item.channel, span), [])
                    found.append((split, item))
                if item.speaker != NO_SPEAKER:
                    words.setdefault((item.speaker, item.text), []).append((split, item))
        leaked = set()
        for found in audio.values():
            outside = [(split, item) for split, item in found if split in held_out]
            first_split, first = (outside or found)[0]
            for split, item in found:
                detail = f"the same audio is {first.id} in {first_split}"
                if outside and split not in held_out:
                    self._note(split, item.id, "audio of a held-out utterance", detail)
                    leaked.add(item.id)
                elif item is not first:
                    self._note(split, item.id, "duplicate audio", detail, "kept")
        for split, pairs in usable.items():
            usable[split] = [pair for pair in pairs if pair[0].id not in leaked]
        for found in words.values():
            splits = list(dict.fromkeys(split for split, _ in found))
            if len(splits) > 1:
                first = found[0]
                for split in splits[1:]:
                    item = next(item for where, item in found if where == split)
                    detail = f"speaker {item.speaker} says the same in {first[1].id} in {first[0]}"
                    self._note(split, item.id, "same speaker and text", detail, "kept")

    def _check_speakers(self, usable: dict[str, list]) -> None:
        """Speakers of the training data in the data it is to be tested on."""
        speakers = {
            split: {item.speaker for item, _ in pairs} - {NO_SPEAKER}
            for split, pairs in usable.items()
        }
        trained = set().union(*(speakers[split] for split in self.config.train))
        for split in dict.fromkeys(self.config.dev + self.config.test):
            for speaker in sorted(trained & speakers[split]):
                detail = "this speaker is in the training data as well"
                self._note(split, speaker, "speaker overlap", detail, "kept")


def rate_of(audio: Audio, facts: AudioFacts | None) -> int:
    """Sampling rate of a recording, Hz."""
    return facts.rate if facts is not None else audio.recording.sampling_rate


def assemble(pairs: list[tuple[Utterance, object]]) -> Checked:
    """Lhotse recordings, supervisions and cuts of utterances."""
    from lhotse import MonoCut, SupervisionSegment
    from lhotse.utils import fastcopy

    result = Checked()
    recordings: dict[str, object] = {}
    for item, recording in pairs:
        recordings.setdefault(recording.id, recording)
        supervision = SupervisionSegment(
            id=item.id,
            recording_id=recording.id,
            start=round(item.start, 8),
            duration=round(item.duration, 8),
            channel=item.channel,
            text=item.text,
            language=item.language,
            speaker=item.speaker,
            gender=item.gender,
            custom=item.fields or None,
            alignment=item.alignment,
        )
        result.utterances.append(item)
        result.supervisions.append(supervision)
        inside = supervision.with_offset(-supervision.start)
        result.cuts.append(
            MonoCut(
                id=item.id,
                start=supervision.start,
                duration=supervision.duration,
                channel=item.channel,
                supervisions=[fastcopy(inside, start=0.0, duration=supervision.duration)],
                recording=recording,
                features=item.features,
            )
        )
    result.recordings = list(recordings.values())
    return result
