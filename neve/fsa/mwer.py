"""Minimum word error rate training on n-best lists (Prabhavalkar et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.fsa import Fsa
from neve.fsa.nbest import Nbest
from neve.fsa.ragged import RaggedTensor


def mwer_loss(
    lattice: Fsa,
    ref_texts: RaggedTensor | Sequence[Sequence[int]],
    nbest_scale: float = 0.5,
    num_paths: int = 200,
    temperature: float = 1.0,
    use_double_scores: bool = True,
    reduction: str = "sum",
) -> Tensor | RaggedTensor:
    """The expected number of word errors over the n-best list of each utterance.

    ref_texts are the words of each utterance. A path's probability is the exponential of its score
    divided by temperature, normalised within its utterance; gradients reach the lattice's scores.
    reduction "sum" over utterances, "mean" over paths, "none" [utterance][path] probability times
    errors. An utterance without paths adds nothing.
    """
    from kaldialign import edit_distance

    if reduction not in ("none", "mean", "sum"):
        raise NeveError(f"reduction: must be none, mean or sum, not {reduction!r}")
    if not temperature > 0:
        raise NeveError(f"temperature: must be positive, not {temperature}")
    texts = ref_texts.tolist() if isinstance(ref_texts, RaggedTensor) else list(ref_texts)
    if len(texts) != lattice.num_fsas:
        raise NeveError(f"ref_texts: {len(texts)} texts for {lattice.num_fsas} lattices")
    nbest = Nbest.from_lattice(lattice, num_paths, use_double_scores, nbest_scale)
    words = nbest.words().tolist()
    utterance = nbest.shape.row_ids(1).tolist()
    errors = [edit_distance(list(texts[row]), path)["total"] for row, path in zip(utterance, words)]
    scores = nbest.fsa.scores.double() if use_double_scores else nbest.fsa.scores
    splits = nbest.fsa.arc_splits.to(lattice.device)
    totals = RaggedTensor.from_splits(splits, scores).sum() / temperature
    probabilities = RaggedTensor(nbest.shape, totals).normalize(use_log=True).values.exp()
    loss = probabilities * torch.tensor(errors, dtype=totals.dtype, device=totals.device)
    if reduction == "none":
        return RaggedTensor(nbest.shape, loss)
    return loss.sum() if reduction == "sum" else loss.mean()


class MWERLoss(torch.nn.Module):
    """`mwer_loss` with its settings kept."""

    def __init__(
        self, temperature: float = 1.0, use_double_scores: bool = True, reduction: str = "sum"
    ):
        super().__init__()
        self.settings = (temperature, use_double_scores, reduction)

    def forward(
        self,
        lattice: Fsa,
        ref_texts: RaggedTensor | Sequence[Sequence[int]],
        nbest_scale: float,
        num_paths: int,
    ) -> Tensor | RaggedTensor:
        return mwer_loss(lattice, ref_texts, nbest_scale, num_paths, *self.settings)
