"""What a decoding took: seconds of model and search, the size of lattices and of n-best lists.

The decode stage writes `costs.json` beside its results, an object with a `Cost` for each set; the
score stage copies them into its summaries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neve.errors import NeveError
from neve.files import atomic_open

FILE = "costs.json"


@dataclass
class Spent:
    """Seconds by the clock, and of this process's processors (all its threads)."""

    wall: float = 0.0
    cpu: float = 0.0

    @contextlib.contextmanager
    def measured(self):
        """Adds what the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu

    def add(self, other: Spent) -> None:
        """Add what something else took."""
        self.wall += other.wall
        self.cpu += other.cpu


@dataclass
class Cost:
    """What the decoding of one set took.

    encoder, search: without reading features, and without the choice of scales. audio: seconds.
    frames: of the model's output. arcs: of all lattices, those that take a frame; listed:
    hypotheses of all n-best lists; both None where the method has none. threads: 0 is all there
    were. lm, beams: the language models and the beams of the search, in short.
    """

    method: str = ""
    lm: str = ""
    beams: str = ""
    threads: int = 0
    device: str = ""
    utterances: int = 0
    audio: float = 0.0
    frames: int = 0
    arcs: int | None = None
    listed: int | None = None
    encoder: Spent = field(default_factory=Spent)
    search: Spent = field(default_factory=Spent)

    @property
    def real_time_factor(self) -> float:
        """Seconds of the clock for a second of audio."""
        return (self.encoder.wall + self.search.wall) / max(self.audio, 1e-9)

    @property
    def cpu_factor(self) -> float:
        """Seconds of processors for a second of audio."""
        return (self.encoder.cpu + self.search.cpu) / max(self.audio, 1e-9)

    @property
    def search_factor(self) -> float:
        """As `real_time_factor`, of the search alone."""
        return self.search.wall / max(self.audio, 1e-9)

    @property
    def depth(self) -> float | None:
        """Mean arcs of the lattices in a frame, what Kaldi's lattice-depth counts."""
        return None if self.arcs is None else self.arcs / max(self.frames, 1)

    @property
    def list_size(self) -> float | None:
        """Mean hypotheses of an n-best list."""
        return None if self.listed is None else self.listed / max(self.utterances, 1)

    def add_sizes(self, sizes: Iterable[tuple[int, int | None]]) -> None:
        """Arcs, and hypotheses or None, of each lattice of a batch; without lattices, nothing."""
        for arcs, listed in sizes:
            self.arcs = (self.arcs or 0) + arcs
            if listed is not None:
                self.listed = (self.listed or 0) + listed

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost | None:
        """Several sets or trainings together, named as the first; None if there are none."""
        costs = list(costs)
        if not costs:
            return None
        sums = {
            name: sum(getattr(c, name) for c in costs) for name in ("utterances", "audio", "frames")
        }
        for name in ("arcs", "listed"):
            known = [getattr(c, name) for c in costs]
            sums[name] = None if None in known else sum(known)
        for name in ("encoder", "search"):
            spent = [getattr(c, name) for c in costs]
            sums[name] = Spent(sum(s.wall for s in spent), sum(s.cpu for s in spent))
        return dataclasses.replace(costs[0], **sums)

    def line(self) -> str:
        """In words, for a log or a report."""
        parts = [
            f"real-time factor {self.real_time_factor:.4f} (search {self.search_factor:.4f}, "
            f"processors {self.cpu_factor:.4f})"
        ]
        if self.depth is not None:
            parts.append(f"{self.depth:.1f} arcs a frame in the lattices")
        if self.list_size is not None:
            parts.append(f"{self.list_size:.1f} hypotheses in a list")
        return ", ".join(parts)

    def as_dict(self) -> dict:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of_dict(cls, record: dict) -> Cost:
        """What as_dict gave; TypeError for anything else."""
        spent = {key: Spent(**record[key]) for key in ("encoder", "search") if key in record}
        return cls(**{**record, **spent})


def write_costs(directory: str | Path, costs: Mapping[str, Cost]) -> None:
    """Write `costs.json`: sets by name."""
    with atomic_open(Path(directory) / FILE) as file:
        json.dump({name: cost.as_dict() for name, cost in costs.items()}, file, indent=1)
        file.write("\n")


def read_costs(directory: str | Path) -> dict[str, Cost]:
    """What write_costs wrote; empty where there is no such file.

    Raises NeveError naming the file if it is damaged.
    """
    path = Path(directory) / FILE
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return {name: Cost.of_dict(record) for name, record in records.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise NeveError(
            f"{path}: not the costs of a decoding ({error}); decode these sets again"
        ) from error
