"""Levenshtein graphs and alignments: edit distances as best paths, as k2 has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.fsa import FsaVec
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
    low = np.flatnonzero(values <= 0)
    if len(low):
        number = int(np.searchsorted(np.cumsum(lengths), low[0], side="right"))
        raise NeveError(f"symbols: sequence {number} holds {values[low[0]]}; they must be above 0")
    if not math.isfinite(ins_del_score):
        raise NeveError(f"ins_del_score: a finite number is needed, not {ins_del_score}")
    place = np.arange(int(lengths.sum() + len(lengths)))
    first = np.cumsum(lengths + 1) - (lengths + 1)
    place = place - np.repeat(first, lengths + 1)
    symbol = np.insert(values, np.cumsum(lengths), -1)
    none = np.zeros_like(symbol)
    offset = np.full(len(symbol), ins_del_score + 0.5)
    # columns: src, dst, label, aux, score, offset, whether it is there
    table = np.stack(
        (
            np.stack((place, place, none, none, none + ins_del_score, offset, none + 1), 1),
            np.stack((place, place + 1, none, symbol, none - 0.5, none, symbol > 0), 1),
            np.stack((place, place + 1, symbol, symbol, none, none, none + 1), 1),
        ),
        axis=1,
    ).reshape(-1, 7)
    columns = torch.from_numpy(table[table[:, 6] > 0].T.copy())
    src, dst, labels, aux = (column.to(torch.int32) for column in columns[:4])
    splits = [
        torch.from_numpy(np.concatenate(([0], np.cumsum(x))))
        for x in (lengths + 2, 3 * lengths + 2)
    ]
    attributes = {"aux_labels": aux, OFFSET: columns[5].float()}
    return FsaVec._make(src, dst, labels, columns[4].float(), *splits, attributes).to(device)


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
