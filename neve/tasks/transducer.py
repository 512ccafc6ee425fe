"""Transducer training: pruned RNN-T loss, and CTC beside it on the same or other tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from kaldialign import edit_distance
from torch import Tensor

from neve.fsa import (
    do_rnnt_pruning,
    get_rnnt_prune_ranges,
    rnnt_loss_pruned,
    rnnt_loss_smoothed,
)
from neve.lang import Lang
from neve.models import TransducerModel
from neve.models.scheduled import set_batches
from neve.tasks.ctc_targets import CtcTargets, ctc_losses, frames_needed, greedy_tokens
from neve.tasks.doubled_words import DoubledWords
from neve.tasks.losses import Forward, Lattice
from neve.tasks.losses.lattice import BLANK, padded
from neve.tasks.speech import SpeechTask
from neve.training import BatchLoss, Progress


class TransducerTask(SpeechTask):
    """Trains a `TransducerModel`; see `neve.tasks.speech.SpeechTask`.

    The loss is loss.simple_weight x simple + pruned RNN-T (Kuang et al., 2022, arXiv:2206.13236)
    + loss.ctc_weight x CTC, each divided by its number of tokens, and what `FurtherLosses` adds;
    loss.main_weight is that of the first two. While training begins the pruned
    loss counts little and the simple one much, because what is pruned is then chosen badly.
    """

    def __init__(self, config, fbank: Path, lang: Path, ctc_lang: Path | None = None):
        """As `SpeechTask`; `ctc_lang` is the CTC head's lang directory (default `lang`)."""
        self.ctc_lang = Lang.load(ctc_lang or lang)
        self.ctc_targets = CtcTargets(self.ctc_lang, config.loss.pronunciations)
        self.simple_weight = self.pruned_weight = 1.0
        super().__init__(config, fbank, lang)
        self.double_words = DoubledWords(self.model, self.ctc_targets, config.loss.doubled_words)

    def make_model(self, config) -> TransducerModel:
        return TransducerModel(
            config.model,
            features=config.features.num_bins,
            tokens=self.lang.num_tokens,
            ctc_tokens=self.ctc_lang.num_tokens if config.loss.ctc_weight else 0,
            training=True,
            attention_decoder=bool(config.loss.attention_weight),
        )

    def spell(self, text: str) -> None:
        super().spell(text)
        if self.config.ctc_weight:
            self.ctc_targets.learn(text)

    def begin_measuring(self) -> None:
        self.double_words.always = True

    def frames_needed(self, text: str) -> int:
        """A regular transducer says any number of tokens in a frame, CTC does not."""
        need = 1 if self.config.rnnt_type == "regular" else len(self.tokens(text))
        if self.config.ctc_weight:
            need = max(need, frames_needed(self.ctc_targets.tokens(text)))
        return need

    def begin_update(self, progress: Progress) -> None:
        set_batches(self.model, progress.batches)
        warm = 1.0
        if self.config.rnnt_warmup:
            warm = min(1.0, progress.batches / self.config.rnnt_warmup)
        self.simple_weight = 1.0 - warm * (1.0 - self.config.simple_weight)
        self.pruned_weight = 0.1 + 0.9 * warm

    def loss(self, batch: dict) -> BatchLoss:
        features, feature_lens, texts = self.double_words(*self.inputs(batch))
        encoded, lengths = self.model.encode(features, feature_lens)
        targets = [self.tokens(text) for text in texts]
        count = max(1, sum(map(len, targets)))
        lattice = self.pruned_lattice(encoded, lengths, targets)
        simple, pruned = lattice.simple, self.pruned_losses(lattice)
        items = self.simple_weight * simple + self.pruned_weight * pruned
        total = self.config.main_weight * items.sum() / count
        stats = {
            "simple": float(simple.detach().sum()) / count,
            "pruned": float(pruned.detach().sum()) / count,
        }
        forward = Forward(features, feature_lens, encoded, lengths, texts, targets, lattice=lattice)
        if self.config.ctc_weight:
            log_probs = self.model.ctc_log_probs(encoded)
            spoken = self.ctc_targets.pronounced(log_probs, lengths, texts)
            delay = self.config.ctc_delay_penalty
            ctc = ctc_losses(log_probs, lengths, spoken, delay_penalty=delay)
            spoken_count = max(1, sum(map(len, spoken)))
            total = total + self.config.ctc_weight * ctc.sum() / spoken_count
            items = items.detach() + ctc.detach()
            stats["ctc"] = float(ctc.detach().sum()) / spoken_count
            forward.log_probs, forward.spoken = log_probs, spoken
        return self.completed(batch, total, items, count, stats, forward)

    def transducer_losses(
        self, encoded: Tensor, lengths: Tensor, targets: list[list[int]]
    ) -> tuple[Tensor, Tensor]:
        """(N,) simple and (N,) pruned RNN-T losses of the encoder's (N, T, D)."""
        lattice = self.pruned_lattice(encoded, lengths, targets)
        return lattice.simple, self.pruned_losses(lattice)

    def pruned_lattice(self, encoded: Tensor, lengths: Tensor, targets: list[list[int]]) -> Lattice:
        """What the pruned loss looks at of the encoder's (N, T, D)."""
        config, model = self.config, self.model
        symbols, boundary = padded(targets, lengths)
        predicted = model.predictor(torch.nn.functional.pad(symbols, (1, 0), value=BLANK))
        am, lm = model.simple_am_proj(encoded), model.simple_lm_proj(predicted)
        with torch.autocast(encoded.device.type, enabled=False):
            simple, gradients = rnnt_loss_smoothed(
                lm=lm.float(),
                am=am.float(),
                symbols=symbols,
                termination_symbol=BLANK,
                lm_only_scale=config.lm_only_scale,
                am_only_scale=config.am_only_scale,
                boundary=boundary,
                rnnt_type=config.rnnt_type,
                delay_penalty=config.delay_penalty,
                reduction="none",
                return_grad=True,
            )
            ranges = get_rnnt_prune_ranges(*gradients, boundary, config.prune_range)
        encoder_part, predictor_part = do_rnnt_pruning(
            model.joiner.project(encoded), model.joiner.project_predictor(predicted), ranges
        )
        logits = model.joiner.join(encoder_part, predictor_part)
        return Lattice(simple, logits, symbols, ranges, boundary)

    def pruned_losses(self, lattice: Lattice) -> Tensor:
        """(N,) pruned RNN-T losses."""
        with torch.autocast(lattice.logits.device.type, enabled=False):
            return rnnt_loss_pruned(
                logits=lattice.logits.float(),
                symbols=lattice.symbols,
                ranges=lattice.ranges,
                termination_symbol=BLANK,
                boundary=lattice.boundary,
                rnnt_type=self.config.rnnt_type,
                delay_penalty=self.config.delay_penalty,
                reduction="none",
            )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Pruned RNN-T loss per token, and token error rates of greedy searches.

        `token_errors` is the transducer's, `ctc_errors` the CTC head's.
        """
        if self.dev_loader is None:
            return {}
        from neve.decoding.transducer import greedy_search

        loss = errors = count = ctc_errors = ctc_count = 0.0
        for batch in self.dev_batches():
            encoded, lengths = self.model.encode(
                batch["features"].to(self.device), batch["feature_lens"].to(self.device)
            )
            targets = [self.tokens(text) for text in batch["texts"]]
            loss += float(self.transducer_losses(encoded, lengths, targets)[1].sum())
            found = greedy_search(self.model, encoded, lengths)
            for path, reference in zip(found, targets):
                errors += edit_distance(reference, list(path.tokens))["total"]
                count += len(reference)
            if self.config.ctc_weight:
                log_probs = self.model.ctc_log_probs(encoded)
                spoken = self.ctc_targets.pronounced(log_probs, lengths, batch["texts"])
                for hypothesis, reference in zip(greedy_tokens(log_probs, lengths), spoken):
                    ctc_errors += edit_distance(reference, hypothesis)["total"]
                    ctc_count += len(reference)
        figures = {"loss": loss / max(count, 1.0), "token_errors": errors / max(count, 1.0)}
        if self.config.ctc_weight:
            figures["ctc_errors"] = ctc_errors / max(ctc_count, 1.0)
        return figures
