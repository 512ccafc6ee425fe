"""Greedy search with a transducer: in each frame the best token, until it is blank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neve.decoding.phrases import PhraseBonus
from neve.decoding.transducer.fusion import Part
from neve.decoding.transducer.histories import Histories
from neve.decoding.transducer.paths import (
    TokenPath,
    emission_log_probs,
    joined,
    token_log_probs,
)


@torch.inference_mode()
def greedy_search(
    model,
    encoder_out: Tensor,
    lengths: Sequence[int],
    *,
    max_symbols: int = 1,
    blank_penalty: float = 0.0,
    temperature: float = 1.0,
    histories: Histories | None = None,
    fusion: Part | None = None,
    phrases: PhraseBonus | None = None,
) -> list[TokenPath]:
    """The greedy path of each utterance of a batch.

    Args:
        model: has `predictor` and `joiner`; see `neve.decoding.transducer`.
        encoder_out: (N, T, D) encoder outputs.
        lengths: frames of each.
        max_symbols: tokens that a frame gives at most; after them the next frame comes.
        blank_penalty: taken from the logit of blank.
        temperature: logits are divided by this.
        histories: with what is known from other batches.
        fusion: language models whose scores are added.
        phrases: listed phrases whose bonuses are added. What a token would take back of a phrase
            that is begun counts among tokens, and not against blank: nothing comes after this
            path that could earn it yet.

    Returns:
        Of each utterance its path; the score is that of this one alignment.
    """
    histories = histories or Histories(model, encoder_out.device)
    encoded = model.joiner.project(encoder_out)
    lengths = [int(length) for length in lengths]
    nodes = [0] * len(lengths)
    paths = [TokenPath([], [], [], 0.0) for _ in lengths]
    for frame in range(max(lengths, default=0)):
        active = [row for row, length in enumerate(lengths) if frame < length]
        for _ in range(max_symbols):
            here = [nodes[row] for row in active]
            logits = joined(model, encoded, active, frame, histories, here)
            plain = scores = token_log_probs(logits, blank_penalty, temperature)
            emission = emission_log_probs(plain)
            if fusion is not None:
                scores = plain + fusion.scores(here, histories)
            if phrases is not None:
                chosen, scores = _favoured(scores, phrases.scores(here, histories))
            else:
                chosen = scores.argmax(dim=-1)
            both = (each.gather(1, chosen[:, None])[:, 0].tolist() for each in (plain, scores))
            tokens, plain, totals = chosen.tolist(), *both
            emitting = []
            for row, token, total, log_prob, emits in zip(active, tokens, totals, plain, emission):
                path = paths[row]
                path.score += total
                if token:
                    path.tokens.append(token)
                    path.frames.append(frame)
                    path.log_probs.append(min(log_prob - emits, 0.0))
                    nodes[row] = histories.extend(nodes[row], token)
                    emitting.append(row)
            active = emitting
            if not active:
                break
        if fusion is not None:
            fusion.keep(nodes, histories)
    if phrases is not None:
        for path, node in zip(paths, nodes):
            path.score += phrases.end(node, histories)
    return paths


def _favoured(scores: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) tokens chosen with the bonuses (M, V) of phrases, and the (M, V) scores with these."""
    biased = scores + added
    emits = (scores + added.clamp(min=0.0))[:, 1:].amax(dim=-1) > scores[:, 0]
    return torch.where(emits, biased[:, 1:].argmax(dim=-1) + 1, 0), biased
