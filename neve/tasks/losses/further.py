"""The losses that the configuration adds to CTC or RNN-T, weighed and summed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from neve.models import TransducerModel
from neve.tasks.losses.attention import attention_losses
from neve.tasks.losses.consistency import consistency_losses
from neve.tasks.losses.distillation import frame_distillation, lattice_distillation
from neve.tasks.losses.lattice import Lattice
from neve.tasks.losses.smoothing import smoothing_losses


@dataclass
class Forward:
    """What a forward pass gives to the losses; M rows, the first views of all utterances first.

    Attributes:
        features, feature_lens: (M, T, F), (M,) what the model saw.
        encoded, lengths: (M, T', D), (M,) the encoder's outputs.
        texts, targets: the texts, and their tokens for attention decoder and transducer.
        log_probs, spoken: (M, T', C) of the CTC head, and the tokens that it is to say.
        lattice: of a transducer.
    """

    features: Tensor
    feature_lens: Tensor
    encoded: Tensor
    lengths: Tensor
    texts: list[str]
    targets: list[list[int]]
    log_probs: Tensor | None = None
    spoken: list[list[int]] = field(default_factory=list)
    lattice: Lattice | None = None


@dataclass
class Term:
    """A loss: its name, weight, values of utterances (M,) or (N,), and what they are divided by."""

    name: str
    weight: float
    items: Tensor
    count: float


class FurtherLosses:
    """The losses of the `loss` section that have a weight, for a task on speech.

    Args:
        task: the task, with model, langs and loader.
    """

    def __init__(self, task):
        self.config, self.model = task.config, task.model
        self.lang = task.lang
        self.denominator = self.teacher = None
        if self.config.mmi_weight:
            from neve.tasks.losses.mmi import Denominator

            texts = task.train_loader.transcripts()
            self.denominator = Denominator(
                (task.ctc_targets.tokens(text) for text in texts),
                task.ctc_lang.num_tokens,
                self.config.mmi_order,
                self.config.mmi_beam,
            )
        if self.config.distill_weight:
            from neve.tasks.losses.teacher import Teacher

            self.teacher = Teacher(
                Path(self.config.teacher),
                task.model,
                task.lang,
                task.train_loader.frontend,
                task.device,
            )

    def __call__(self, forward: Forward) -> Iterator[Term]:
        """Each loss that has a weight. Those of a CTC head that is not finite are left out.

        Its main loss is not finite either then, which the training loop notes and explains.
        """
        config = self.config
        spoken = max(1, sum(map(len, forward.spoken)))
        said = max(1, sum(map(len, forward.targets)))
        if config.attention_weight:
            items = attention_losses(
                self.model.attention_decoder,
                forward.encoded,
                forward.lengths,
                forward.targets,
                config.label_smoothing,
            )
            yield Term("attention", config.attention_weight, items, said)
        if config.cr_weight:
            items = consistency_losses(forward.log_probs, forward.lengths)
            yield Term("consistency", config.cr_weight, items, spoken / 2)
        if config.ctc_smoothing:
            items = smoothing_losses(forward.log_probs, forward.lengths)
            yield Term("smoothing", config.ctc_smoothing, items, spoken)
        if self.teacher is not None:
            count = said if forward.lattice is not None else spoken
            yield Term("distillation", config.distill_weight, self.distillation(forward), count)
        if not finite(forward):
            return
        if self.denominator is not None:
            from neve.tasks.losses.mmi import mmi_losses

            items = mmi_losses(forward.log_probs, forward.lengths, forward.spoken, self.denominator)
            yield Term("mmi", config.mmi_weight, items, spoken)
        if config.mwer_weight:
            items, words = self.word_errors(forward)
            yield Term("word_errors", config.mwer_weight, items, words)

    def distillation(self, forward: Forward) -> Tensor:
        """(M,) divergences from the teacher's posteriors."""
        temperature = self.config.distill_temperature
        lattice = forward.lattice
        if lattice is None:
            target = self.teacher.log_probs(forward.features, forward.feature_lens)
            return frame_distillation(forward.log_probs, target, forward.lengths, temperature)
        target = self.teacher.lattice(
            forward.features, forward.feature_lens, lattice.symbols, lattice.ranges
        )
        return lattice_distillation(
            lattice.logits,
            target,
            lattice.symbols,
            lattice.ranges,
            lattice.boundary,
            temperature,
            self.config.distill_lattice == "collapsed",
        )

    def word_errors(self, forward: Forward) -> tuple[Tensor, int]:
        """(M,) expected word errors, and the number of reference words."""
        from neve.tasks.losses import mwer

        config, device = self.config, forward.encoded.device
        references = [
            mwer.words_of(self.lang, text, tokens)
            for text, tokens in zip(forward.texts, forward.targets)
        ]
        if isinstance(self.model, TransducerModel):
            listed = mwer.transducer_hypotheses(
                self.model, forward.encoded, forward.lengths, config.mwer_beam
            )
            scores = mwer.transducer_scores(
                self.model, forward.encoded, forward.lengths, listed, config.rnnt_type
            )
        else:
            listed = mwer.ctc_hypotheses(forward.log_probs, forward.lengths, config.mwer_beam)
            scores = mwer.ctc_scores(forward.log_probs, forward.lengths, listed)
        rows = torch.tensor([row for row, _ in listed], dtype=torch.int64).to(device)
        errors = mwer.word_errors(self.lang, listed, references)
        errors = torch.tensor(errors, dtype=scores.dtype, device=device)
        items = mwer.expected_errors(scores, rows, errors, len(references))
        return items, max(1, sum(map(len, references)))


def finite(forward: Forward) -> bool:
    """Whether a search or an engine that refuses NaN can look at the outputs."""
    values = forward.encoded if forward.log_probs is None else forward.log_probs
    return not bool(values.detach().isnan().any())
