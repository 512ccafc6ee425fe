"""Learning curves: curves.jsonl for the report, TensorBoard scalars for the browser."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from neve.files import atomic_open


class Curves:
    """Appends one JSON object a line; entries of epochs that are trained again are dropped."""

    def __init__(self, directory: Path, epoch: int, step: int):
        """Go on after so many epochs and steps; TensorBoard's part is left out if not installed."""
        self.path = Path(directory) / "curves.jsonl"
        if self.path.exists():
            kept = []
            for line in self.path.read_text().splitlines():
                try:
                    if json.loads(line)["epoch"] <= epoch:
                        kept.append(line)
                except (ValueError, KeyError):  # a line cut off by a kill
                    continue
            with atomic_open(self.path) as file:
                file.writelines(line + "\n" for line in kept)
        self.board = None
        with contextlib.suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(Path(directory) / "tensorboard"), purge_step=step + 1)

    def add(self, split: str, epoch: int, step: int, **figures: float) -> None:
        """Note figures of `split` (train or dev) after `step` steps."""
        entry = {"step": step, "epoch": epoch, "split": split}
        entry.update({name: round(float(value), 7) for name, value in figures.items()})
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")
        self.show(split, step, **figures)

    def show(self, split: str, step: int, **figures: float) -> None:
        """As `add`, but for the browser alone: figures within an epoch."""
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
