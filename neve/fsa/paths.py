"""Paths of acyclic automata: the best, an even sample of all, and pruning by posteriors."""

from __future__ import annotations

import math

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.backends import kernel
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.ragged import RaggedTensor
from neve.fsa.scores import arc_post, checked_arcs


def chains(fsas: Fsa, lengths: torch.Tensor, arc_map: torch.Tensor) -> FsaVec:
    """One linear automaton for each of `lengths` (N,): its arcs are the next of `arc_map` (int).

    Attributes follow the arcs. A length of 0 gives an empty automaton.
    """
    lengths = lengths.cpu().long()
    zero = torch.zeros(1, dtype=torch.int64)
    arc_splits = torch.cat((zero, lengths.cumsum(0)))
    state_splits = torch.cat((zero, (lengths + (lengths > 0)).cumsum(0)))
    first = torch.repeat_interleave(arc_splits[:-1], lengths)
    src = (torch.arange(len(arc_map)) - first).to(torch.int32)
    chain = fsas.select(state_splits, src, src + 1, arc_splits, arc_map)
    fields = (chain.src, chain.dst, chain.labels, chain.scores, state_splits, arc_splits)
    return FsaVec._make(*fields, chain.attributes)


def shortest_path(fsa: Fsa, use_double_scores: bool = True) -> FsaVec:
    """The best path of each automaton, as a chain; an empty automaton where there is none.

    Of equally good arcs into a state the one with the largest index is taken, as in k2. Attributes
    and score gradients follow the arcs. Raises NeveError unless topologically sorted.
    """
    arcs = checked_arcs(fsa, use_double_scores)
    lengths, arc_map = kernel("scores", "best_paths", fsa.device)(*arcs)
    return chains(fsa, lengths, arc_map)


def random_paths(fsas: FsaVec, use_double_scores: bool, num_paths: int) -> RaggedTensor:
    """[automaton][path][arc] int32: num_paths paths of each automaton, by their probability.

    Nothing is drawn: path j goes where the cumulative probability is (j + 0.5) / num_paths, so that
    paths come out as often as they are likely, and twice the same (FSA-SPEC section 13). Arcs are
    numbered through all automata; the final one is included. An automaton without a path has none.
    use_double_scores is k2's; sums are in float64 anyway.
    """
    if num_paths < 1:
        raise NeveError(f"num_paths: at least 1 is needed, not {num_paths}")
    arcs = checked_arcs(fsas, use_double_scores=True)
    counts, lengths, flat = kernel("scores", "sample_paths", fsas.device)(*arcs, num_paths)
    splits = [
        torch.nn.functional.pad(x.cumsum(0), (1, 0)).to(fsas.device, torch.int32)
        for x in (counts, lengths)
    ]
    return RaggedTensor.from_row_splits(splits, flat.to(fsas.device))


def prune_on_arc_post(fsas: Fsa, threshold_prob: float, use_double_scores: bool) -> Fsa:
    """Without the arcs whose posterior probability is below threshold_prob; no state is dropped.

    The result may have dead ends (`connect` removes them). Posteriors are those of the log
    semiring.
    """
    if not 0.0 < threshold_prob < 1.0:
        raise NeveError(f"threshold_prob: must lie between 0 and 1, not {threshold_prob}")
    keep = arc_post(fsas.detach(), use_double_scores, True) >= math.log(threshold_prob)
    arc_map = torch.nonzero(keep).flatten()
    kept = np.concatenate(([0], np.cumsum(keep.cpu().numpy())))
    arc_splits = torch.from_numpy(kept[fsas.arc_splits.numpy()])
    return fsas.select(fsas.state_splits, fsas.src[arc_map], fsas.dst[arc_map], arc_splits, arc_map)
