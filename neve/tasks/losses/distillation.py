"""Knowledge distillation: a student is drawn to the posteriors of a teacher.

Hinton et al., 2015, arXiv:1503.02531. CTC: of each frame. Transducers: of each place of the pruned
lattice, over all tokens or collapsed to blank, the next token and all others (Panchapagesan et al.,
2021, "Efficient knowledge distillation for RNN-transducer models", arXiv:2011.06110).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.tasks.losses.frames import divergences, summed
from neve.tasks.losses.lattice import BLANK


def softened(scores: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of logits, or of log-probabilities, divided by a temperature."""
    return torch.log_softmax(scores.float() / temperature, dim=-1)


def frame_distillation(
    student: Tensor, teacher: Tensor, lengths: Tensor, temperature: float = 1.0
) -> Tensor:
    """(N,) sums over frames of KL(teacher || student), times the temperature's square.

    Args:
        student, teacher: (N, T, C) log-probabilities or logits; no gradient reaches the teacher's.
        lengths: (N,) frames.
        temperature: both are divided by it before they are normalised.
    """
    target = softened(teacher.detach(), temperature)
    return temperature**2 * summed(divergences(target, softened(student, temperature)), lengths)


def collapsed(log_probs: Tensor, at: Tensor) -> Tensor:
    """(..., V) log-probabilities to (..., 3): of blank, of the token `at` (...), of the others.

    Where there is no token left, `at` is blank and its part -inf.
    """
    index = at.unsqueeze(-1)
    none = index == BLANK
    token = log_probs.gather(-1, index).masked_fill(none, -torch.inf)
    others = log_probs.scatter(-1, index, -torch.inf)
    others = others.index_fill(-1, torch.tensor([BLANK], device=at.device), -torch.inf)
    others = others.logsumexp(-1, keepdim=True)
    return torch.cat([log_probs[..., BLANK : BLANK + 1], token, others], dim=-1)


def lattice_distillation(
    student: Tensor,
    teacher: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    temperature: float = 1.0,
    collapse: bool = True,
) -> Tensor:
    """(N,) divergences on the pruned lattice: each frame's mean over its places, summed.

    Args:
        student, teacher: (N, T, R, V) logits of the same places; no gradient reaches the teacher's.
        symbols: (N, S), padded with blanks.
        ranges: (N, T, R) the number of symbols said at each place.
        boundary: (N, 4) with the symbols and frames of each utterance in columns 2 and 3.
        temperature: as for `frame_distillation`.
        collapse: compare blank, next symbol and the rest instead of all symbols.
    """
    target, found = softened(teacher.detach(), temperature), softened(student, temperature)
    if collapse:
        extended = torch.nn.functional.pad(symbols, (0, 1), value=BLANK)
        at = extended.gather(1, ranges.reshape(len(ranges), -1)).reshape(ranges.shape)
        target, found = collapsed(target, at), collapsed(found, at)
    real = ranges <= boundary[:, 2].reshape(-1, 1, 1)
    values = torch.where(real, divergences(target, found), 0.0)
    means = values.sum(2) / real.sum(2).clamp(min=1)
    return temperature**2 * summed(means, boundary[:, 3])
