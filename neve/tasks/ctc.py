"""CTC training: binds features, lang and a CTC model to the training loop."""

from __future__ import annotations

import torch
from kaldialign import edit_distance
from torch import Tensor
from torch.nn import functional as F

from neve.errors import ConfigError
from neve.lang import Lang
from neve.models import CtcModel
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
    )


def letter_table(lang: Lang) -> dict[str, int]:
    """Letters of the words that can be spoken, numbered from 1 (0 is blank)."""
    letters = sorted(set("".join(lang.vocabulary)))
    return {letter: i for i, letter in enumerate(letters, start=1)}


def greedy_tokens(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best token of each frame with repeats and blanks removed, for each of (N, T, C)."""
    best = log_probs.argmax(dim=-1).cpu()
    rows = []
    for row, length in zip(best, lengths.tolist()):
        collapsed = torch.unique_consecutive(row[:length])
        rows.append(collapsed[collapsed != 0].tolist())
    return rows


def frames_needed(tokens: list[int]) -> int:
    """Fewest frames that can carry the tokens: one each, and a blank between equal neighbours."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:]))


class CtcTask(SpeechTask):
    """Trains a `CtcModel`; see `neve.tasks.speech.SpeechTask`."""

    def make_model(self, config) -> CtcModel:
        check_weights(config.loss)
        self.letters = letter_table(self.lang)
        return build_model(config, self.lang)

    def frames_needed(self, tokens: list[int]) -> int:
        return frames_needed(tokens)

    def pronounced(self, log_probs: Tensor, lengths: Tensor, texts: list[str]) -> list[list[int]]:
        """Targets of the utterances of (N, T, C) log-probabilities; see loss.pronunciations.

        Each word with several pronunciations gets the one with the lowest CTC loss while the other
        words have their first: neighbours hardly influence each other's choice, and only as many
        losses are needed as there are pronunciations. Choices that fit the frames one by one but
        not together are not made: such an utterance keeps the first pronunciations.
        """
        targets = [self.tokens(text) for text in texts]
        if self.config.pronunciations == "first":
            return targets
        rows, sequences, choices = [], [], {}
        for row, text in enumerate(texts):
            variants = self.variants(text)
            if variants:
                choices[row] = variants
                sequences += [targets[row], *(tokens for _, _, tokens in variants)]
                rows += [row] * (1 + len(variants))
        if not rows:
            return targets
        index = torch.tensor(rows, device=log_probs.device)
        losses = ctc_losses(log_probs.detach()[index], lengths[index], sequences).tolist()
        place, frames = 0, lengths.tolist()
        for row, variants in choices.items():
            best = [(losses[place], 0)] * len(texts[row].split())
            for loss, (word, number, _) in zip(losses[place + 1 :], variants):
                best[word] = min(best[word], (loss, number))
            place += 1 + len(variants)
            chosen = [
                token
                for word, (_, number) in zip(texts[row].split(), best)
                for token in self.lang.pronunciations(word)[number]
            ]
            if frames_needed(chosen) <= frames[row]:
                targets[row] = chosen
        return targets

    def variants(self, text: str) -> list[tuple[int, int, list[int]]]:
        """(word's place, pronunciation's number, tokens) for each pronunciation but the first."""
        spelled = [self.lang.pronunciations(word) for word in text.split()]
        found = []
        for place, spellings in enumerate(spelled):
            for number, spelling in enumerate(spellings[1:], start=1):
                words = [each[0] for each in spelled]
                words[place] = spelling
                found.append((place, number, [token for word in words for token in word]))
        return found

    def loss(self, batch: dict) -> BatchLoss:
        main, between, auxiliary, lengths = self.model.training_heads(
            batch["features"].to(self.device), batch["feature_lens"].to(self.device)
        )
        targets = self.pronounced(main, lengths, batch["texts"])
        items = ctc_losses(main, lengths, targets)
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
                for text in batch["texts"]
            ]
            extra = ctc_losses(auxiliary, lengths, spelled, zero_infinity=True)
            total = total + self.config.auxiliary_weight * extra.sum() / max(
                1, sum(map(len, spelled))
            )
            weight -= self.config.auxiliary_weight
        return BatchLoss(
            total=total + weight * items.sum() / count,
            items=items.detach(),
            ids=batch["ids"],
            size=float(sum(batch["durations"])),
            stats=stats,
            weight=count,
        )

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
            targets = self.pronounced(log_probs, lengths, batch["texts"])
            loss += float(ctc_losses(log_probs, lengths, targets, zero_infinity=True).sum())
            for hypothesis, reference in zip(greedy_tokens(log_probs, lengths), targets):
                errors += edit_distance(reference, hypothesis)["total"]
                count += len(reference)
        return {"loss": loss / max(count, 1.0), "token_errors": errors / max(count, 1.0)}


def check_weights(config) -> None:
    """ConfigError if the additional losses leave nothing to the main one."""
    weight = 1.0
    weight -= config.intermediate_weight if config.intermediate_layers else 0.0
    weight -= config.auxiliary_weight if config.auxiliary != "none" else 0.0
    if weight <= 0.0:
        raise ConfigError(
            "loss.intermediate_weight and loss.auxiliary_weight leave nothing to the main loss"
        )


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, targets: list[list[int]], zero_infinity: bool = False
) -> Tensor:
    """(N,) CTC losses of (N, T, C) log-probabilities; blank is 0 (Graves et al., 2006)."""
    flat = torch.tensor([token for row in targets for token in row], dtype=torch.long)
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        flat.to(log_probs.device),
        lengths,
        torch.tensor([len(row) for row in targets], device=log_probs.device),
        reduction="none",
        zero_infinity=zero_infinity,
    )
