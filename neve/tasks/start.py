"""The task that the configuration asks for, and its training."""

from __future__ import annotations

from pathlib import Path

from neve.tasks.ctc import CtcTask
from neve.tasks.speech import SpeechTask
from neve.training import train as run_training


def make_task(config, fbank: Path, lang: Path, ctc_lang: Path | None = None) -> SpeechTask:
    """The task of the root configuration on the features of `fbank`.

    Args:
        lang: lang directory.
        ctc_lang: a transducer's: the lang directory of its CTC head; default `lang`.
    """
    if config.model.kind == "transducer":
        from neve.tasks.transducer import TransducerTask

        return TransducerTask(config, fbank, lang, ctc_lang)
    return CtcTask(config, fbank, lang)


def train(config, *, fbank: Path, lang: Path, out: Path, ctc_lang: Path | None = None) -> Path:
    """Train the configured model on the features of `fbank`; returns averaged.pt in `out`."""
    task = make_task(config, fbank, lang, ctc_lang)
    return run_training(task, config.training, out, config)
