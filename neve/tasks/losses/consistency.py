"""Consistency of two views of an utterance: CR-CTC (Yao et al., 2024, arXiv:2410.05101)."""

from __future__ import annotations

from torch import Tensor

from neve.tasks.losses.frames import divergences, summed


def consistency_losses(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """(N,) divergences between the frame posteriors of the two views of N utterances.

    Half of KL(sg(b) || a) + KL(sg(a) || b), summed over frames: each view learns to say what the
    other does, which is held fixed (sg).

    Args:
        log_probs: (2N, T, C), the first views of all utterances, then the second ones.
        lengths: (2N,) frames.
    """
    first, second = log_probs.chunk(2)
    both = divergences(second.detach(), first) + divergences(first.detach(), second)
    return 0.5 * summed(both, lengths[: len(first)])
