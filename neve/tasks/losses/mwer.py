"""Minimum word error rate training: the expected word errors of an n-best list.

Prabhavalkar et al., 2018, "Minimum word error rate training for attention-based
sequence-to-sequence models", arXiv:1712.01818; for transducers Guo et al., 2020,
arXiv:2007.13802. A search lists hypotheses; their probabilities, which the loss differentiates, are
computed anew, over all alignments, and normalised within the list.
"""

from __future__ import annotations

import torch
from kaldialign import edit_distance
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neve.fsa import rnnt_loss
from neve.lang import Lang
from neve.tasks.ctc_targets import ctc_losses
from neve.tasks.losses.lattice import BLANK, padded

# A hypothesis of each list: its row in the batch and its tokens.
Hypotheses = list[tuple[int, list[int]]]


def expected_errors(scores: Tensor, rows: Tensor, errors: Tensor, count: int) -> Tensor:
    """(N,) expected errors of N lists of hypotheses.

    Args:
        scores: (M,) log-probabilities of hypotheses, not normalised.
        rows: (M,) the list that each belongs to.
        errors: (M,) word errors of each.
        count: N; a list without hypotheses has no errors.
    """
    highest = scores.new_full((count,), -torch.inf)
    highest = highest.scatter_reduce(0, rows, scores.detach(), "amax")
    weights = (scores - highest[rows]).exp()
    totals = scores.new_zeros(count).index_add(0, rows, weights)
    return scores.new_zeros(count).index_add(0, rows, weights / totals[rows] * errors)


def ctc_hypotheses(log_probs: Tensor, lengths: Tensor, beam: int) -> Hypotheses:
    """At most `beam` token sequences for each row of (N, T, C) log-probabilities."""
    from neve.kernels import prefix_beam_search

    array = log_probs.detach().float().cpu().numpy()
    found = prefix_beam_search(array, lengths.cpu().numpy(), beam)
    return [(row, prefix.tokens) for row, some in enumerate(found) for prefix in some]


def ctc_scores(log_probs: Tensor, lengths: Tensor, hypotheses: Hypotheses) -> Tensor:
    """(M,) log-probabilities of hypotheses, their alignments summed."""
    rows = torch.tensor([row for row, _ in hypotheses], dtype=torch.int64).to(log_probs.device)
    return -ctc_losses(log_probs[rows], lengths[rows], [tokens for _, tokens in hypotheses])


def transducer_hypotheses(model, encoded: Tensor, lengths: Tensor, beam: int) -> Hypotheses:
    """At most `beam` token sequences for each row of (N, T, D) encoder outputs."""
    from neve.decoding.transducer import modified_beam_search

    parts = (model.predictor, model.joiner)
    training = [part.training for part in parts]
    try:
        for part in parts:
            part.eval()
        with torch.autocast(encoded.device.type, enabled=False):
            found = modified_beam_search(
                model, encoded.detach().float(), lengths.tolist(), beam=beam, length_norm=False
            )
    finally:
        for part, was in zip(parts, training):
            part.train(was)
    return [(row, list(path.tokens)) for row, some in enumerate(found) for path in some]


def transducer_scores(
    model, encoded: Tensor, lengths: Tensor, hypotheses: Hypotheses, rnnt_type: str
) -> Tensor:
    """(M,) log-probabilities of hypotheses, with the whole joiner and all alignments.

    The joiner's outputs on a list's hypotheses, (M', T, U + 1, V), are computed again in the
    backward pass rather than kept: there is never more than one list's.
    """
    projected = model.joiner.project(encoded)
    by_row: dict[int, list[list[int]]] = {}
    for row, tokens in hypotheses:
        by_row.setdefault(row, []).append(tokens)

    def scores(frames: Tensor, predicted: Tensor, symbols: Tensor, boundary: Tensor) -> Tensor:
        logits = model.joiner.join(frames[None, :, None], predicted.unsqueeze(1))
        with torch.autocast(frames.device.type, enabled=False):
            losses = rnnt_loss(
                logits.float(), symbols, BLANK, boundary, rnnt_type, reduction="none"
            )
        return -losses

    found = []
    for row, sequences in by_row.items():
        count = int(lengths[row])
        symbols, boundary = padded(sequences, lengths[row].expand(len(sequences)))
        predicted = model.predictor(torch.nn.functional.pad(symbols, (1, 0), value=BLANK))
        predicted = model.joiner.project_predictor(predicted)
        arguments = (projected[row, :count], predicted, symbols, boundary)
        found.append(checkpoint(scores, *arguments, use_reentrant=False))
    return torch.cat(found)


def word_errors(lang: Lang, hypotheses: Hypotheses, references: list[list[str]]) -> list[int]:
    """Word errors of each hypothesis against the reference of its row; see `words_of`."""
    return [
        edit_distance(references[row], lang.decode(tokens).split())["total"]
        for row, tokens in hypotheses
    ]


def words_of(lang: Lang, text: str, tokens: list[int]) -> list[str]:
    """What the words of an utterance are: phones in a phone lang, for its tokens spell no words."""
    return lang.decode(tokens).split() if lang.kind == "phone" else text.split()
