"""The utterances of manifests and their features, stored or computed when they are asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from neve.data.config import AugmentConfig
from neve.data.manifests import FeatureFinder, read_lines, use_libsndfile
from neve.errors import NeveError
from neve.frontend import FeatureConfig, Frontend


class Cuts:
    """The cuts of manifests, kept as their text: a tenth of the memory that the objects take.

    Attributes:
        lines: (n,) the cuts as JSON.
        durations: (n,) seconds.
        utterances: (n,) number of the utterance that a cut is a version (speed, copy) of.
        frontend: how features are computed and normalised.
        padding: (F,) the frame that stands for what is after an utterance's end.
    """

    def __init__(self, files: Iterable[str | os.PathLike], augment: AugmentConfig | None = None):
        """Read manifests. `augment` is for cuts without features that are marked for it."""
        files = [Path(file) for file in files]
        self.names = ", ".join(map(str, files))
        if not files:
            raise NeveError("no manifests of cuts are given to load from")
        self.lines: list[bytes] = []
        self._finders: list[FeatureFinder] = []
        self._file_of: list[int] = []
        self._augment = augment
        self._augmenter = None
        durations, names, dim = [], [], None
        for number, file in enumerate(files):
            self._finders.append(FeatureFinder(file.parent))
            computed = (file.parent / "frontend.json").exists()
            for place, line in read_lines(file):
                try:
                    content = json.loads(line)
                    durations.append(float(content["duration"]))
                    names.append((content.get("custom") or {}).get("utterance", content["id"]))
                    if not computed or "features" in content:
                        dim = content["features"]["num_features"]
                    elif "recording" not in content:
                        raise KeyError("recording")
                except (ValueError, KeyError, TypeError) as error:
                    raise NeveError(
                        f"{file}:{place}: is not a cut with features ({error!r}): compute features"
                        " again (stage 2)"
                    ) from error
                self.lines.append(line)
                self._file_of.append(number)
        self.durations = np.array(durations)
        self.utterances = np.unique(np.array(names), return_inverse=True)[1]
        self.frontend = frontend_of(files, dim or FeatureConfig().num_bins)
        if dim is not None and dim != self.frontend.dim:
            raise NeveError(
                f"{self.names}: has features of {dim} values, but frontend.json beside it is for"
                f" {self.frontend.dim}: compute features again (stage 2)"
            )
        self.padding = self.frontend.padding

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int):
        from lhotse.serialization import deserialize_item

        cut = deserialize_item(json.loads(self.lines[index]))
        return self._finders[self._file_of[index]](cut)

    def frames(self, content: dict) -> int:
        """Frames of features of a cut that is given as the content of its line."""
        if "features" in content:
            return content["features"]["num_frames"]
        from lhotse.utils import compute_num_frames

        config = self.frontend.config
        return compute_num_frames(content["duration"], config.frame_shift, config.sampling_rate)

    def changes(self, cut) -> bool:
        """Whether a cut's features are others each time: augmented when they are asked for."""
        return not cut.has_features and bool((cut.custom or {}).get("augment"))

    def features(self, cut, draw: str) -> np.ndarray:
        """(T, F) normalised features of a cut; `draw` names what is drawn at random, if anything.

        Raises NeveError that names the utterance if they cannot be had or are not finite.
        """
        if cut.has_features:
            matrix, remedy = self._stored(cut), "compute features again (stage 2, --force)"
        else:
            matrix, remedy = self._computed(cut, draw), "repair or remove its audio"
        if not np.isfinite(matrix.sum()):
            raise NeveError(
                f"utterance {cut.id}: its features are not finite, as those of audio with values"
                f" that are none: {remedy}; stage 1 (--force) with data.check full finds such audio"
                " and leaves it out"
            )
        return self.frontend.normalise(matrix.astype(np.float32, copy=False))

    def _stored(self, cut) -> np.ndarray:
        try:
            return cut.load_features()
        except Exception as error:
            raise NeveError(
                f"utterance {cut.id}: its features ({cut.features.storage_path}) cannot be read"
                f" ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''});"
                " compute features again (stage 2, --force)"
            ) from error

    def _computed(self, cut, draw: str) -> np.ndarray:
        from neve.data.features import extract

        augmenter = None
        if self.changes(cut):
            if self._augmenter is None:
                from neve.data.augment import Augmenter

                self._augmenter = Augmenter(self._augment or AugmentConfig())
            augmenter = self._augmenter
        use_libsndfile()
        return extract(cut, self.frontend.fbank, augmenter, draw)[0]


def frontend_of(files: list[Path], dim: int) -> Frontend:
    """The frontend of the directories that features are in; NeveError if they differ."""
    folders = list(dict.fromkeys(file.parent for file in files))
    known = [Frontend.load(folder) for folder in folders if (folder / "frontend.json").exists()]
    if not known:  # features that were made with Lhotse alone
        return Frontend(FeatureConfig(num_bins=dim))
    for other in known[1:]:
        if other.config != known[0].config or not np.array_equal(other.padding, known[0].padding):
            raise NeveError(
                f"{folders[0]} and {folders[known.index(other)]} hold features of different kinds"
                " (see their frontend.json): compute them with one configuration"
            )
    return known[0]
