"""Best paths and total scores of acyclic automata."""

from __future__ import annotations

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.fsa import Fsa, FsaVec
from neve.kernels import best_path, is_top_sorted
from neve.kernels import forward_scores as _forward_scores


def _pieces(fsas: Fsa):
    """For each automaton (number of states, src, dst, scores) as numpy, checked for cycles."""
    src, dst, scores = fsas.src.numpy(), fsas.dst.numpy(), fsas.scores.detach().numpy()
    if not is_top_sorted(src, dst):
        raise NeveError("the automaton is not topologically sorted: an arc leads backwards")
    arcs, states = fsas.arc_splits.tolist(), torch.diff(fsas.state_splits).tolist()
    for num_states, begin, end in zip(states, arcs, arcs[1:]):
        yield num_states, src[begin:end], dst[begin:end], scores[begin:end]


def forward_scores(fsas: Fsa, use_double_scores: bool, log_semiring: bool) -> torch.Tensor:
    """For each state of all automata the total over the paths from its start, (states,).

    The total is the best score (tropical) or the logarithm of the sum of the exponentials (log);
    -inf where there is no path. No gradient. Raises NeveError unless topologically sorted.
    """
    dtype = np.float64 if use_double_scores else np.float32
    parts = [_forward_scores(*piece, log_semiring, dtype) for piece in _pieces(fsas)]
    return torch.from_numpy(np.concatenate(parts) if parts else np.empty(0, dtype))


def tot_scores(fsas: Fsa, use_double_scores: bool, log_semiring: bool) -> torch.Tensor:
    """(N,): the total over all paths from start to end of each automaton; see `forward_scores`."""
    dtype = np.float64 if use_double_scores else np.float32
    totals = [
        _forward_scores(*piece, log_semiring, dtype)[-1] if piece[0] else -np.inf
        for piece in _pieces(fsas)
    ]
    return torch.from_numpy(np.array(totals, dtype))


def shortest_path(fsas: Fsa, use_double_scores: bool = True) -> FsaVec:
    """The best path of each automaton, as a chain; an empty automaton where there is none.

    Of equally good arcs into a state the one with the largest index is taken, as in k2. Attributes
    and score gradients follow the arcs. Raises NeveError unless topologically sorted.
    """
    dtype = np.float64 if use_double_scores else np.float32
    paths = [best_path(*piece, dtype) for piece in _pieces(fsas)]
    lengths = [len(path) for path in paths]
    offsets = np.repeat(fsas.arc_splits[:-1].numpy(), lengths)
    arc_map = torch.from_numpy(np.concatenate([*paths, np.empty(0, np.int32)]) + offsets)
    src = np.concatenate([*(np.arange(n, dtype=np.int32) for n in lengths), np.empty(0, np.int32)])
    src = torch.from_numpy(src)
    arc_splits = torch.tensor([0, *lengths]).cumsum(0)
    state_splits = torch.tensor([0, *(n + (n > 0) for n in lengths)]).cumsum(0)
    chain = fsas.select(state_splits, src, src + 1, arc_splits, arc_map.to(torch.int32))
    fields = (chain.src, chain.dst, chain.labels, chain.scores, state_splits, arc_splits)
    return FsaVec._make(*fields, chain.attributes)
