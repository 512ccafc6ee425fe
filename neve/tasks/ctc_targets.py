"""Targets and losses of a CTC head, whatever model it sits on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neve.fsa import exact_ctc_loss
from neve.lang import Lang

MOST_TEXTS = 1_000_000  # texts that are learnt at most


class CtcTargets:
    """Texts to the tokens that a CTC head is to say.

    Args:
        lang: the head's lang.
        pronunciations: `best` or `first`; see loss.pronunciations.
    """

    def __init__(self, lang: Lang, pronunciations: str):
        self.lang, self.choice = lang, pronunciations
        self.known: dict[str, list[int]] = {}

    def learn(self, text: str) -> None:
        """Remember the tokens of a text that will come again; UnknownWordError if it has none."""
        if text not in self.known:
            tokens = self.lang.encode(text)
            if len(self.known) < MOST_TEXTS:
                self.known[text] = tokens

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, each word's first pronunciation."""
        return self.known.get(text) or self.lang.encode(text)

    def pronounced(self, log_probs: Tensor, lengths: Tensor, texts: list[str]) -> list[list[int]]:
        """Targets of the utterances of (N, T, C) log-probabilities; see loss.pronunciations.

        Each word with several pronunciations gets the one with the lowest CTC loss while the other
        words have their first: neighbours hardly influence each other's choice, and only as many
        losses are needed as there are pronunciations. Choices that fit the frames one by one but
        not together are not made: such an utterance keeps the first pronunciations.
        """
        targets = [self.tokens(text) for text in texts]
        if self.choice == "first":
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


def ctc_losses(
    log_probs: Tensor,
    lengths: Tensor,
    targets: list[list[int]],
    zero_infinity: bool = False,
    delay_penalty: float = 0.0,
) -> Tensor:
    """(N,) CTC losses of (N, T, C) log-probabilities; blank is 0 (Graves et al., 2006).

    With a delay penalty the log-probability of an alignment grows by it for every frame by which
    a token begins before the middle of the utterance (as for transducers, arXiv:2211.00490).
    """
    flat = torch.tensor([token for row in targets for token in row], dtype=torch.long)
    if delay_penalty and not bool(log_probs.detach().isnan().any()):
        counts = torch.tensor([len(row) for row in targets])
        return exact_ctc_loss(
            log_probs,
            flat,
            lengths,
            counts,
            zero_infinity=zero_infinity,
            delay_penalty=delay_penalty,
        )
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        flat.to(log_probs.device),
        lengths,
        torch.tensor([len(row) for row in targets], device=log_probs.device),
        reduction="none",
        zero_infinity=zero_infinity,
    )
