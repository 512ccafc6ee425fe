"""Lhotse Shar directories: cuts in .jsonl.gz files, their audio or features in tar files beside.

Nothing is unpacked: a manifest of what is read here says where in which tar file each utterance's
bytes are, and they are read from there when they are needed, in any order.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lhotse import Features, Recording
from lhotse.audio import AudioSource
from lhotse.features.io import FeaturesReader, register_reader

from neve.data.corpus import Audio, Problem, Split, Utterance
from neve.data.manifests import TAR_MEMBER, read_lines
from neve.errors import NeveError


def read_shar(folder: Path, split: str, problems: list[Problem]) -> Split:
    """The utterances of a Shar directory, one for each supervision.

    The audio is used where there is some, else the features. Raises NeveError naming the file if
    cuts and tar files do not belong together, or are damaged.
    """
    result = Split()
    for cuts in shards(folder):
        shard = cuts.name.removeprefix("cuts").partition(".jsonl")[0]
        audio = members(folder / f"recording{shard}.tar")
        matrices = {} if audio else members(folder / f"features{shard}.tar")
        if not audio and not matrices:
            raise NeveError(
                f"{folder}: there is neither recording{shard}.tar nor features{shard}.tar with the"
                f" data of {cuts.name}: is it a Lhotse Shar directory, wholly copied?"
            )
        for number, line in read_lines(cuts):
            where = f"{cuts}:{number}"
            try:
                cut = json.loads(line)
                name, start, supervisions = cut["id"], cut["start"], cut.get("supervisions") or []
                if cut.get("type", "MonoCut") not in ("MonoCut", "MultiCut"):
                    raise ValueError(f"a {cut['type']} cannot be used")
            except (ValueError, KeyError, TypeError) as error:
                raise NeveError(f"{where}: is not a cut of a Shar directory: {error!r}") from error
            if name in result.recordings:
                raise NeveError(f"{where}: cut {name} is in {folder} twice")
            if not supervisions:
                problems.append(Problem(split, name, "audio without transcript", where, "ignored"))
                continue
            features = None
            if name in audio:
                recording = recording_of(name, *audio[name])
                result.recordings[name] = Audio(
                    name, recording.sources[0].source, True, recording
                )
            elif name in matrices:
                features = features_of(*matrices[name])
                result.recordings[name] = Audio(name, where, False, silent(name, cut))
            for item in supervisions:
                whole = len(supervisions) == 1
                if features is not None and not whole:
                    raise NeveError(
                        f"{where}: cut {name} has features of {len(supervisions)} utterances: use a"
                        " Shar directory with audio, or with a cut for each (trim_to_supervisions)"
                    )
                result.utterances.append(
                    Utterance(
                        id=name if whole else item["id"],
                        recording=name,
                        text=item.get("text") or "",
                        speaker=item.get("speaker"),
                        start=0.0 if features is not None else start + item["start"],
                        duration=cut["duration"] if features is not None else item["duration"],
                        language=item.get("language"),
                        gender=item.get("gender"),
                        fields=dict(item.get("custom") or {}),
                        where=where,
                        features=features,
                    )
                )
    return result


def shards(folder: Path) -> list[Path]:
    """The files of cuts of a Shar directory."""
    found = sorted(path for path in folder.glob("cuts*.jsonl*") if path.is_file())
    if not found:
        raise NeveError(f"{folder}: has no cuts.*.jsonl.gz: it is no Lhotse Shar directory")
    return found


def members(tar: Path) -> dict[str, tuple[Path, str, int, int, dict]]:
    """{cut: (tar file, ending, first byte, bytes, manifest)}; empty if there is no such file."""
    if not tar.exists():
        return {}
    try:
        with tarfile.open(tar, "r:") as archive:
            return dict(pairs(archive, tar))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise NeveError(f"{tar}: cannot be read ({error}): it is damaged; copy it again") from error


def pairs(archive: tarfile.TarFile, tar: Path) -> Iterator[tuple[str, tuple]]:
    """The members, each with the manifest that follows it."""
    entries = iter(archive)
    for data, meta in zip(entries, entries):
        path, manifest = Path(data.name), Path(meta.name)
        if path.with_suffix("") != manifest.with_suffix(""):
            raise ValueError(f"{data.name} is followed by {meta.name}")
        if manifest.suffix == ".json":  # else a place for nothing
            content = json.loads(archive.extractfile(meta).read())
            name = str(path.with_suffix(""))
            yield name, (tar, path.suffix, data.offset_data, data.size, content)


def recording_of(name: str, tar: Path, kind: str, start: int, size: int, content: dict):
    """The Lhotse recording whose audio is in a tar file."""
    recording = Recording.from_dict(content)
    command = f"tail -c +{start + 1} {shlex.quote(str(tar))} | head -c {size}"
    recording.id = name
    recording.sources = [AudioSource("command", recording.sources[0].channels, command)]
    return recording


def features_of(tar: Path, kind: str, start: int, size: int, content: dict) -> Features:
    """The Lhotse features that are in a tar file."""
    features = Features.from_dict(content)
    features.storage_type, features.storage_path = TAR_MEMBER, str(tar)
    features.storage_key = f"{start},{size},{kind}"
    return features


def silent(name: str, cut: dict) -> Recording:
    """What stands for the recording of which there are only features."""
    rate = int((cut.get("recording") or cut["features"])["sampling_rate"])
    samples = round(cut["duration"] * rate)
    return Recording(name, [AudioSource("shar", [0], "")], rate, samples, cut["duration"])


@register_reader
class TarMemberReader(FeaturesReader):
    """Reads a feature matrix that is a member of a tar file: lilcom (.llc) or numpy (.npy)."""

    name = TAR_MEMBER

    def __init__(self, storage_path, *args, **kwargs):
        super().__init__()
        self.path = storage_path

    def read(
        self, key: str, left_offset_frames: int = 0, right_offset_frames: int | None = None
    ) -> np.ndarray:
        start, size, kind = key.split(",")
        with open(self.path, "rb") as stream:
            stream.seek(int(start))
            data = stream.read(int(size))
        if kind == ".llc":
            import lilcom

            matrix = lilcom.decompress(data)
        else:
            matrix = np.load(io.BytesIO(data), allow_pickle=False)
        return matrix[left_offset_frames:right_offset_frames]
