"""Beam search with a transducer in which a frame may give several tokens."""

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

# A frame of 40 ms says no more; without a bound a bad model would never come to its end.
MAX_SYMBOLS = 10


@torch.inference_mode()
def beam_search(
    model,
    encoder_out: Tensor,
    lengths: Sequence[int],
    *,
    beam: int = 4,
    max_symbols: int = MAX_SYMBOLS,
    blank_penalty: float = 0.0,
    temperature: float = 1.0,
    length_norm: bool = True,
    histories: Histories | None = None,
    fusion: Part | None = None,
    phrases: PhraseBonus | None = None,
) -> list[list[TokenPath]]:
    """The best hypotheses of each utterance of a batch (Graves, 2012, arXiv:1211.3711).

    Within a frame hypotheses grow token by token, all those of a length together, as in the
    time-synchronous search of Saon et al. (2020): each goes to the next frame by its blank, and the
    `beam` best extensions grow on, until none of them is better than the `beam` hypotheses that the
    next frame has already. Hypotheses that come to the next frame with the same tokens become one.

    Args:
        max_symbols: tokens that a frame gives at most.
        model, encoder_out, lengths, beam, blank_penalty, temperature, length_norm, histories,
            fusion, phrases: as in `modified_beam_search`.

    Returns:
        Of each utterance its hypotheses, at most `beam`, the best first.
    """
    histories = histories or Histories(model, encoder_out.device)
    encoded = model.joiner.project(encoder_out)
    lengths = [int(length) for length in lengths]
    beams = [[Partial(0, 0.0, 0.0, None)] for _ in lengths]
    for frame in range(max(lengths, default=0)):
        growing = {row: beams[row] for row, length in enumerate(lengths) if frame < length}
        ended: dict[int, dict[int, Partial]] = {row: {} for row in growing}
        for symbols in range(max_symbols + 1):
            partials = [partial for each in growing.values() for partial in each]
            rows = [row for row, each in growing.items() for _ in each]
            nodes = [partial.node for partial in partials]
            logits = joined(model, encoded, rows, frame, histories, nodes)
            scores = token_log_probs(logits, blank_penalty, temperature)
            blanks = scores[:, 0].tolist()
            for row, partial, blank in zip(rows, partials, blanks):
                merge(
                    ended[row],
                    Partial(
                        partial.node, partial.score + blank, partial.best + blank, partial.trail
                    ),
                )
            if symbols == max_symbols:
                break
            parts = [part for part in (fusion, phrases) if part is not None]
            added = sum(part.scores(nodes, histories) for part in parts) if parts else None
            grown = _grown(growing, partials, scores, added, beam, frame, histories)
            growing = {}
            for row, each in grown.items():
                reached = sorted((other.score for other in ended[row].values()), reverse=True)
                bar = reached[beam - 1] if len(reached) >= beam else -np.inf
                better = [partial for partial in each if partial.score > bar]
                if better:
                    growing[row] = better
            if not growing:
                break
        for row, found in ended.items():
            best = sorted(found.values(), key=lambda partial: partial.score, reverse=True)
            beams[row] = best[:beam]
        if fusion is not None:
            fusion.keep([partial.node for row in ended for partial in beams[row]], histories)
    if phrases is not None:
        phrases.end_all(beams, histories)
    return [finished(partials, histories, length_norm) for partials in beams]


def _grown(
    growing: dict[int, list[Partial]],
    partials: list[Partial],
    plain: Tensor,
    added: Tensor | None,
    beam: int,
    frame: int,
    histories: Histories,
) -> dict[int, list[Partial]]:
    """The `beam` best extensions of each utterance by a token.

    Args:
        plain: (M, V) log-probabilities of the model. added: (M, V) what is added to them.
    """
    emission = emission_log_probs(plain)
    scores = plain if added is None else plain + added
    scores, tokens = scores[:, 1:].topk(min(beam, scores.shape[1] - 1), dim=-1)
    plain = plain.gather(1, tokens + 1).cpu().numpy().astype(np.float64)
    scores, tokens = scores.cpu().numpy().astype(np.float64), tokens.cpu().numpy() + 1
    totals = scores + np.array([[partial.score] for partial in partials])
    groups = np.cumsum([0, *(len(each) for each in growing.values())])
    grown = {}
    for row, places in zip(growing, grouped_best(totals, groups, beam)):
        grown[row] = []
        for place in places.tolist():
            old, rank = divmod(place, scores.shape[1])
            partial, log_prob = partials[old], float(scores[old, rank])
            node = histories.extend(partial.node, int(tokens[old, rank]))
            own = float(plain[old, rank])
            trail = (partial.trail, frame, min(own - emission[old], 0.0))
            total, best = float(totals[old, rank]), partial.best + log_prob
            grown[row].append(Partial(node, total, best, trail))
    return grown
