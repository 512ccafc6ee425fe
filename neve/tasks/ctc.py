"""CTC training: binds features, lang and a CTC model to the training loop."""

from __future__ import annotations

import torch
from kaldialign import edit_distance

from neve.lang import Lang
from neve.models import CtcModel
from neve.tasks.ctc_targets import CtcTargets, ctc_losses, frames_needed, greedy_tokens
from neve.tasks.losses import Forward
from neve.tasks.speech import SpeechTask
from neve.training import BatchLoss


def build_model(config, lang: Lang) -> CtcModel:
    """The model that the configuration and the lang directory describe, with fresh weights."""
    letters = letter_table(lang) if config.loss.auxiliary == "letters" else {}
    return CtcModel(
        config.model,
        features=config.features.num_bins,
        tokens=lang.num_tokens,
        auxiliary_tokens=len(letters) + 1 if letters else 0,
        intermediate_layers=tuple(config.loss.intermediate_layers),
        attention_decoder=bool(config.loss.attention_weight),
    )


def letter_table(lang: Lang) -> dict[str, int]:
    """Letters of the words that can be spoken, numbered from 1 (0 is blank)."""
    letters = sorted(set("".join(lang.vocabulary)))
    return {letter: i for i, letter in enumerate(letters, start=1)}


class CtcTask(SpeechTask):
    """Trains a `CtcModel`; see `neve.tasks.speech.SpeechTask`."""

    def make_model(self, config) -> CtcModel:
        self.letters = letter_table(self.lang)
        return build_model(config, self.lang)

    def frames_needed(self, text: str) -> int:
        return frames_needed(self.tokens(text))

    @property
    def ctc_lang(self) -> Lang:
        return self.lang

    @property
    def ctc_targets(self) -> CtcTargets:
        return self.targets

    def loss(self, batch: dict) -> BatchLoss:
        features, feature_lens, texts = self.inputs(batch)
        main, between, auxiliary, lengths, encoded = self.model.training_heads(
            features, feature_lens
        )
        targets = self.targets.pronounced(main, lengths, texts)
        delay = self.config.ctc_delay_penalty
        items = ctc_losses(main, lengths, targets, delay_penalty=delay)
        count = max(1, sum(map(len, targets)))
        stats = {"ctc": float(items.detach().sum()) / count}
        weight, total = 1.0, 0.0
        if between:
            extra = torch.stack([ctc_losses(x, lengths, targets) for x in between]).mean(0)
            total = total + self.config.intermediate_weight * extra.sum() / count
            weight -= self.config.intermediate_weight
        if auxiliary is not None:
            spelled = [
                [self.letters[letter] for letter in text if letter in self.letters]
                for text in texts
            ]
            extra = ctc_losses(auxiliary, lengths, spelled, zero_infinity=True)
            total = total + self.config.auxiliary_weight * extra.sum() / max(
                1, sum(map(len, spelled))
            )
            weight -= self.config.auxiliary_weight
        total = self.config.main_weight * (total + weight * items.sum() / count)
        forward = Forward(features, feature_lens, encoded, lengths, texts, targets, main, targets)
        return self.completed(batch, total, items, count, stats, forward)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """CTC loss and token error rate of greedy decoding, both per reference token."""
        if self.dev_loader is None:
            return {}
        loss = errors = count = 0.0
        for batch in self.dev_batches():
            log_probs, lengths = self.model(
                batch["features"].to(self.device), batch["feature_lens"].to(self.device)
            )
            targets = self.targets.pronounced(log_probs, lengths, batch["texts"])
            loss += float(ctc_losses(log_probs, lengths, targets, zero_infinity=True).sum())
            for hypothesis, reference in zip(greedy_tokens(log_probs, lengths), targets):
                errors += edit_distance(reference, hypothesis)["total"]
                count += len(reference)
        return {"loss": loss / max(count, 1.0), "token_errors": errors / max(count, 1.0)}
