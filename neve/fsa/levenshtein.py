"""Levenshtein graphs and alignments: edit distances as best paths, as k2 has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.operations import remove_epsilon_self_loops, top_sort
from neve.fsa.paths import shortest_path
from neve.fsa.products import intersect_device
from neve.fsa.ragged import RaggedTensor

# What a loop's score has less than -0.5; taken off alignments, so that an error costs 1.
OFFSET = "ins_del_score_offset"


def levenshtein_graph(
    symbols: Sequence[Sequence[int]] | RaggedTensor,
    ins_del_score: float = -0.501,
    device: str | torch.device = "cpu",
) -> FsaVec:
    """For each sequence an automaton that `levenshtein_alignment` aligns with others.

    At each symbol there is a loop (label 0, aux_label 0, score ins_del_score), for a symbol of the
    other side alone; then an arc for the symbol unmatched (label 0, score -0.5) and one for it
    matched (score 0), both with the symbol as aux_label. Symbols are above 0. The graphs of a
    RaggedTensor are on its device, others on `device`.
    """
    if isinstance(symbols, RaggedTensor):
        if symbols.num_axes != 2 or symbols.dtype != torch.int32:
            raise NeveError("symbols: two axes of int32 are needed")
        values = symbols.values.cpu().numpy().astype(np.int64)
        lengths = np.diff(symbols.row_splits.cpu().numpy()).astype(np.int64)
        device = symbols.device
    else:
        values = np.array([symbol for row in symbols for symbol in row], np.int64)
        lengths = np.array([len(row) for row in symbols], np.int64)
    low = np.flatnonzero((values <= 0) | (values >= 2**31))
    if len(low):
        number = int(np.searchsorted(np.cumsum(lengths), low[0], side="right"))
        raise NeveError(
            f"symbols: sequence {number} holds {values[low[0]]}; they must be above 0, in 32 bits"
        )
    if not math.isfinite(ins_del_score):
        raise NeveError(f"ins_del_score: a finite number is needed, not {ins_del_score}")
    # three arcs a state: the loop, the symbol unmatched and matched, or the end
    symbol = np.insert(values.astype(np.int32), np.cumsum(lengths), -1)
    first = np.cumsum(lengths + 1) - (lengths + 1)
    src = np.arange(len(symbol), dtype=np.int32)
    src = (src - np.repeat(first, lengths + 1).astype(np.int32)).repeat(3)
    dst, labels, aux = src.copy(), np.zeros_like(src), np.zeros_like(src)
    scores, offset = np.zeros(len(src), np.float32), np.zeros(len(src), np.float32)
    scores[0::3], scores[1::3] = ins_del_score, -0.5
    offset[0::3] = scores[0::3] + np.float32(0.5)
    dst[1::3] += 1
    dst[2::3] += 1
    labels[2::3] = aux[1::3] = aux[2::3] = symbol
    keep = np.ones(len(src), bool)
    keep[1::3] = symbol > 0
    columns = (torch.from_numpy(x[keep]) for x in (src, dst, labels, scores, aux, offset))
    *arcs, aux, offset = columns
    splits = [
        torch.from_numpy(np.concatenate(([0], np.cumsum(x))))
        for x in (lengths + 2, 3 * lengths + 2)
    ]
    return FsaVec._make(*arcs, *splits, {"aux_labels": aux, OFFSET: offset}).to(device)


def levenshtein_alignment(
    refs: FsaVec, hyps: FsaVec, hyp_to_ref_map: Tensor, sorted_match_ref: bool = False
) -> FsaVec:
    """The best alignment of each automaton of hyps with automaton hyp_to_ref_map[i] of refs.

    Both are what `levenshtein_graph` made. The result has a path for each, with the aligned symbols
    as ref_labels and hyp_labels, 0 where one side has none; its labels are what matched. Minus its
    total score is the edit distance. sorted_match_ref is k2's and makes no difference here.
    """
    for name, fsas in (("refs", refs), ("hyps", hyps)):
        if OFFSET not in fsas.attributes:
            raise NeveError(f"{name}: not what levenshtein_graph made")
    refs, hyps = refs.clone(), hyps.clone()
    refs.rename_tensor_attribute_("aux_labels", "ref_labels")
    hyps.rename_tensor_attribute_("aux_labels", "hyp_labels")
    both = remove_epsilon_self_loops(intersect_device(refs, hyps, hyp_to_ref_map, sorted_match_ref))
    best = shortest_path(top_sort(both))
    best.scores = best.scores - getattr(best, OFFSET)
    return best
