"""Cross entropy of an attention decoder, with smoothed labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neve.models.attention_decoder import sentences

IGNORED = -100


def attention_losses(
    decoder, encoded: Tensor, lengths: Tensor, targets: list[list[int]], smoothing: float
) -> Tensor:
    """(N,) cross entropies of targets and their ends, each token being told those before it.

    Of V tokens the right one should get 1 - smoothing and all of them smoothing / V more (Szegedy
    et al., 2016, arXiv:1512.00567).

    Args:
        decoder: see `neve.models.attention_decoder.AttentionDecoder`.
        encoded: (N, T, D) encoder outputs.
        lengths: (N,) frames.
        targets: N token sequences.
        smoothing: 0 to below 1.
    """
    inputs, outputs, counts = sentences(targets, encoded.device)
    logits = decoder(encoded, lengths, inputs)
    beyond = torch.arange(outputs.shape[1], device=encoded.device) >= counts.unsqueeze(1)
    outputs = outputs.masked_fill(beyond, IGNORED)
    losses = F.cross_entropy(
        logits.float().transpose(1, 2),
        outputs,
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="none",
    )
    return losses.sum(1)
