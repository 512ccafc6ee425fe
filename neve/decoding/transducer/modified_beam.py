"""Modified beam search with a transducer: each frame gives one token at most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neve.decoding.phrases import PhraseBonus
from neve.decoding.transducer.fusion import Part
from neve.decoding.transducer.histories import Histories
from neve.decoding.transducer.paths import (
    Partial,
    TokenPath,
    emission_log_probs,
    finished,
    grouped_best,
    joined,
    merge,
    token_log_probs,
)


@torch.inference_mode()
def modified_beam_search(
    model,
    encoder_out: Tensor,
    lengths: Sequence[int],
    *,
    beam: int = 4,
    blank_penalty: float = 0.0,
    temperature: float = 1.0,
    length_norm: bool = True,
    histories: Histories | None = None,
    fusion: Part | None = None,
    phrases: PhraseBonus | None = None,
) -> list[list[TokenPath]]:
    """The best hypotheses of each utterance of a batch (Kuang et al., 2022, arXiv:2206.13236).

    A token takes the search to the next frame as blank does. In each frame the `beam` best
    extensions are kept; those with the same tokens become one, whose probability is their sum.

    Args:
        model: has `predictor` and `joiner`; see `neve.decoding.transducer`.
        encoder_out: (N, T, D) encoder outputs.
        lengths: frames of each.
        beam: hypotheses that are kept.
        blank_penalty: taken from the logit of blank.
        temperature: logits are divided by this.
        length_norm: the final order is that of score / (tokens + 1), not that of the score.
        histories: with what is known from other batches.
        fusion: language models whose scores are added.
        phrases: listed phrases whose bonuses are added.

    Returns:
        Of each utterance its hypotheses, at most `beam`, the best first.
    """
    histories = histories or Histories(model, encoder_out.device)
    encoded = model.joiner.project(encoder_out)
    lengths = [int(length) for length in lengths]
    beams = [[Partial(0, 0.0, 0.0, None)] for _ in lengths]
    for frame in range(max(lengths, default=0)):
        active = [row for row, length in enumerate(lengths) if frame < length]
        partials = [partial for row in active for partial in beams[row]]
        rows = [row for row in active for _ in beams[row]]
        nodes = [partial.node for partial in partials]
        logits = joined(model, encoded, rows, frame, histories, nodes)
        scores = token_log_probs(logits, blank_penalty, temperature)
        emission = emission_log_probs(scores)
        plain = scores
        if fusion is not None:
            scores = scores + fusion.scores(nodes, histories)
        if phrases is not None:
            scores = scores + phrases.scores(nodes, histories)
        # what is not among a hypothesis's best is not among the best of all
        scores, tokens = scores.topk(min(beam, scores.shape[1]), dim=-1)
        plain = plain.gather(1, tokens).cpu().numpy().astype(np.float64)
        scores, tokens = scores.cpu().numpy().astype(np.float64), tokens.cpu().numpy()
        totals = scores + np.array([[partial.score] for partial in partials])
        groups = np.cumsum([0, *(len(beams[row]) for row in active)])
        for row, places in zip(active, grouped_best(totals, groups, beam)):
            found: dict[int, Partial] = {}
            sources, ranks = np.divmod(places, scores.shape[1])
            for old, token, log_prob, own, total in zip(
                sources.tolist(),
                tokens[sources, ranks].tolist(),
                scores[sources, ranks].tolist(),
                plain[sources, ranks].tolist(),
                totals[sources, ranks].tolist(),
            ):
                partial = partials[old]
                node, trail = partial.node, partial.trail
                if token:
                    node = histories.extend(node, token)
                    trail = (trail, frame, min(own - emission[old], 0.0))
                merge(found, Partial(node, total, partial.best + log_prob, trail))
            beams[row] = list(found.values())
        if fusion is not None:
            fusion.keep([partial.node for row in active for partial in beams[row]], histories)
    if phrases is not None:
        phrases.end_all(beams, histories)
    return [finished(partials, histories, length_norm) for partials in beams]
