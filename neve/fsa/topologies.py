"""Small automata that are written down rather than composed: CTC topologies, chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.fsa import Fsa, FsaVec


def _fsa(rows: Sequence[tuple[int, int, int, int]] | np.ndarray, num_states: int) -> Fsa:
    """An automaton of score-0 arcs (src, dst, label, aux_label)."""
    table = torch.as_tensor(np.asarray(rows, np.int32).reshape(-1, 4))
    arcs = table.clone()
    arcs[:, 3] = 0
    return Fsa(arcs, table[:, 3].clone(), num_states)


def ctc_topo(max_token: int, modified: bool = False) -> Fsa:
    """The CTC topology over tokens 1..max_token: frames' labels (0 is blank) in, tokens out.

    A repeated label is one token. In the standard topology a token that follows itself needs a
    blank between; in the modified one it needs none, and there are 4M+2 arcs instead of (M+1)(M+2).
    (k2's ctc_topo, arcs in the same order.)
    """
    if max_token < 0:
        raise NeveError(f"max_token must not be negative, it is {max_token}")
    m = max_token
    if modified:
        rows = [(0, 0, j, j) for j in range(m + 1)]
        rows += [(0, j, j, j) for j in range(1, m + 1)]
        rows += [(0, m + 1, -1, -1)]
        for j in range(1, m + 1):
            rows += [(j, j, j, 0), (j, 0, j, 0)]
        return _fsa(rows, m + 2)
    src, dst = np.divmod(np.arange((m + 1) * (m + 2)), m + 2)
    labels = np.where(dst == m + 1, -1, dst)
    aux = np.where((src == dst) & (labels > 0), 0, labels)
    return _fsa(np.stack((src, dst, labels, aux), axis=1), m + 2)


def ctc_graph(token_ids: Sequence[Sequence[int]], modified: bool = False) -> FsaVec:
    """For each list of tokens the automaton of all its CTC alignments.

    Of n tokens: 2n+2 states, a blank and a token state for each. `aux_labels` has the token on the
    arc that first enters it.
    """
    fsas = []
    for tokens in token_ids:
        _check_tokens(tokens)
        n = len(tokens)
        rows = []
        for i in range(n + 1):
            blank, inside = 2 * i, 2 * i + 1
            rows.append((blank, blank, 0, 0))
            label = tokens[i] if i < n else -1
            rows.append((blank, inside, label, label))
            if i == n:
                break
            rows += [(inside, inside + 1, 0, 0), (inside, inside, label, 0)]
            following = tokens[i + 1] if i + 1 < n else -1
            if modified or following != label:
                rows.append((inside, inside + 2, following, following))
        fsas.append(_fsa(rows, 2 * n + 2))
    return FsaVec(fsas)


def linear_fsa(labels: Sequence[int] | Sequence[Sequence[int]]) -> Fsa:
    """The chain that accepts exactly `labels`; an FsaVec of chains for a list of lists."""
    if len(labels) and not isinstance(labels[0], int | np.integer):
        return FsaVec([linear_fsa(list(row)) for row in labels])
    _check_tokens(labels, lowest=0)
    rows = [(i, i + 1, label, 0) for i, label in enumerate([*labels, -1])]
    fsa = _fsa(rows, len(rows) + 1)
    del fsa.aux_labels
    return fsa


def trivial_graph(max_token: int) -> Fsa:
    """One state with a loop for each of the tokens 1..max_token, which it also emits."""
    if max_token < 1:
        raise NeveError(f"max_token must be at least 1, it is {max_token}")
    rows = [(0, 0, j, j) for j in range(1, max_token + 1)]
    return _fsa([*rows, (0, 1, -1, -1)], 2)


def _check_tokens(tokens: Sequence[int], lowest: int = 1) -> None:
    for position, token in enumerate(tokens):
        if token < lowest:
            raise NeveError(
                f"token {token} at position {position}: tokens must be at least {lowest}"
            )
