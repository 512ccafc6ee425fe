"""Greedy search with a transducer: in each frame the best token, until it is blank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
            best = scores.max(dim=-1)
            plain = plain.gather(1, best.indices[:, None])[:, 0].tolist()
            tokens, totals = best.indices.tolist(), best.values.tolist()
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
    return paths
