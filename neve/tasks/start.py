"""The task that the configuration asks for, and its training."""

from __future__ import annotations

from pathlib import Path

from neve.tasks.ctc import CtcTask
from neve.tasks.speech import SpeechTask
from neve.training import train as run_training


def make_task(config, fbank: Path, lang: Path) -> SpeechTask:
    """The task of the root configuration on the features of `fbank`."""
    return CtcTask(config, fbank, lang)


def train(config, *, fbank: Path, lang: Path, out: Path) -> Path:
    """Train the configured model on the features of `fbank`; returns averaged.pt in `out`."""
    return run_training(make_task(config, fbank, lang), config.training, out, config)
