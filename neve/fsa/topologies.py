"""Small automata that are written down rather than composed: CTC topologies, chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa.arguments import whole_number
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.operations import remove_epsilon_and_add_self_loops
from neve.fsa.ragged import RaggedTensor
from neve.kernels.graph import as_int32


def _fsa(rows: Sequence[tuple[int, int, int, int]] | np.ndarray, num_states: int) -> Fsa:
    """An automaton of score-0 arcs (src, dst, label, aux_label)."""
    table = torch.as_tensor(np.asarray(rows, np.int32).reshape(-1, 4))
    arcs = table.clone()
    arcs[:, 3] = 0
    return Fsa(arcs, table[:, 3].clone(), num_states)


def _rows(lists, name: str, lowest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of all lists int32, lengths int64) of a list of lists or a RaggedTensor."""
    if isinstance(lists, RaggedTensor):
        flat = lists.values.cpu().numpy()
        lengths = np.diff(lists.row_splits.cpu().numpy()).astype(np.int64)
    else:
        if not all(hasattr(row, "__len__") for row in lists):
            raise NeveError(f"{name}: whole numbers are needed, or lists of them, not {lists!r}")
        lengths = np.array([len(row) for row in lists], np.int64)
        flat = as_int32([number for row in lists for number in row], name)
    if flat.dtype != np.int32:
        raise NeveError(f"{name}: whole numbers are needed, not {flat.dtype}")
    if len(flat) and flat.min() < lowest:
        first = int(np.argmax(flat < lowest))
        position = first - int((np.cumsum(lengths) - lengths)[_owners(lengths)[first]])
        raise NeveError(
            f"{name}: token {flat[first]} at position {position}: tokens must be at least {lowest}"
        )
    return flat, lengths


def _owners(lengths: np.ndarray) -> np.ndarray:
    """The list that each number belongs to."""
    return np.repeat(np.arange(len(lengths)), lengths)


def _with_ends(flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(each list's numbers and then -1, the place of each within its list)."""
    ends = np.cumsum(lengths + 1) - 1
    row = np.full(len(flat) + len(lengths), -1, np.int64)
    row[np.setdiff1d(np.arange(len(row)), ends, assume_unique=True)] = flat
    return row, np.arange(len(row)) - np.repeat(ends - lengths, lengths + 1)


def _splits(counts: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


def ctc_topo(
    max_token: int, modified: bool = False, device: str | torch.device | None = None
) -> Fsa:
    """The CTC topology over tokens 1..max_token: frames' labels (0 is blank) in, tokens out.

    A repeated label is one token. In the standard topology a token that follows itself needs a
    blank between; in the modified one it needs none, and there are 4M+2 arcs instead of (M+1)(M+2).
    (k2's ctc_topo, arcs in the same order.)
    """
    whole_number(max_token, "max_token", 0)
    m = max_token
    if modified:
        rows = [(0, 0, j, j) for j in range(m + 1)]
        rows += [(0, j, j, j) for j in range(1, m + 1)]
        rows += [(0, m + 1, -1, -1)]
        for j in range(1, m + 1):
            rows += [(j, j, j, 0), (j, 0, j, 0)]
        return _fsa(rows, m + 2).to(device or "cpu")
    src, dst = np.divmod(np.arange((m + 1) * (m + 2)), m + 2)
    labels = np.where(dst == m + 1, -1, dst)
    aux = np.where((src == dst) & (labels > 0), 0, labels)
    return _fsa(np.stack((src, dst, labels, aux), axis=1), m + 2).to(device or "cpu")


def _ctc_arcs(tokens: np.ndarray, lengths: np.ndarray, modified: bool):
    """(arcs (A, 4) int32 src, dst, label, aux; arcs of each automaton) of `ctc_graph`.

    `tokens` are those of all automata one after another, lengths[i] of automaton i.
    """
    row, place = _with_ends(tokens, lengths)  # each list of tokens is followed by the label -1
    blank, inside = 2 * place, 2 * place + 1
    none = np.zeros_like(row)
    following = np.append(row[1:], -1)
    has_token = row >= 0
    table = [
        (blank, blank, none, none, np.ones_like(has_token)),
        (blank, inside, row, row, np.ones_like(has_token)),
        (inside, inside + 1, none, none, has_token),
        (inside, inside, row, none, has_token),
        (inside, inside + 2, following, following, has_token & (modified | (following != row))),
    ]
    arcs = np.stack([np.stack(columns, axis=1) for columns in table], axis=1)
    begins = np.cumsum(lengths + 1) - lengths - 1
    counts = np.add.reduceat(arcs[:, :, 4].sum(axis=1), begins) if len(begins) else begins
    arcs = arcs.reshape(-1, 5)
    return arcs[arcs[:, 4] > 0, :4].astype(np.int32), counts


def ctc_graph(
    symbols: Sequence[Sequence[int]] | RaggedTensor,
    modified: bool = False,
    device: str | torch.device = "cpu",
) -> FsaVec:
    """For each list of tokens the automaton of all its CTC alignments.

    Of n tokens: 2n+2 states, a blank and a token state for each. `aux_labels` has the token on the
    arc that first enters it.
    """
    flat, lengths = _rows(symbols, "symbols")
    arcs, counts = _ctc_arcs(flat.astype(np.int64), lengths, modified)
    src, dst, labels, aux = (torch.from_numpy(column.copy()) for column in arcs.T)
    splits = (_splits(2 * lengths + 2), _splits(counts))
    scores = torch.zeros(len(src))
    return FsaVec._make(src, dst, labels, scores, *splits, {"aux_labels": aux}).to(device)


def ctc_targets(fsas: Fsa) -> tuple[torch.Tensor, torch.Tensor, bool] | None:
    """(tokens (N, S) int64 padded with 0, lengths (N,), modified) of what `ctc_graph` made.

    None for automata of any other kind, also for those with scores.
    """
    states = torch.diff(fsas.state_splits)
    if bool((states % 2).any()) or bool((states < 2).any()) or bool((fsas.scores != 0).any()):
        return None
    src, dst, labels = (x.cpu().numpy() for x in (fsas.src, fsas.dst, fsas.labels))
    lengths = (states.numpy() - 2) // 2
    tokens = labels[(src == dst) & (src % 2 == 1)].astype(np.int64)
    if len(tokens) != lengths.sum() or (tokens <= 0).any():
        return None
    for modified in (False, True):
        arcs, counts = _ctc_arcs(tokens, lengths, modified)
        same = len(arcs) == len(src) and np.array_equal(counts, np.diff(fsas.arc_splits.numpy()))
        if same and all(np.array_equal(x, y) for x, y in zip((src, dst, labels), arcs.T)):
            rows = RaggedTensor.from_splits(_splits(lengths), torch.from_numpy(tokens))
            return rows.pad("constant", 0).long(), torch.from_numpy(lengths), modified
    return None


def linear_fsa(
    labels: Sequence[int] | Sequence[Sequence[int]] | RaggedTensor,
    device: str | torch.device | None = None,
) -> Fsa:
    """The chain that accepts exactly `labels`; an FsaVec of chains for lists or a RaggedTensor."""
    several = _are_lists(labels)
    flat, lengths = _rows(labels if several else [labels], "labels", lowest=0)
    row, place = _with_ends(flat, lengths)
    columns = [torch.from_numpy(x.astype(np.int32)) for x in (place, place + 1, row)]
    splits = (_splits(lengths + 2), _splits(lengths + 1))
    made = (FsaVec if several else Fsa)._make(*columns, torch.zeros(len(row)), *splits, {})
    return made.to(device or "cpu")


def linear_fst(
    labels: Sequence[int] | Sequence[Sequence[int]],
    aux_labels: Sequence[int] | Sequence[Sequence[int]],
) -> Fsa:
    """The chain that reads `labels` and writes `aux_labels`, of as many; an FsaVec for lists."""
    fsa = linear_fsa(labels)
    several = _are_lists(aux_labels)
    flat, lengths = _rows(aux_labels if several else [aux_labels], "aux_labels", lowest=0)
    if (
        several != isinstance(fsa, FsaVec)
        or lengths.tolist() != (torch.diff(fsa.arc_splits) - 1).tolist()
    ):
        raise NeveError(
            f"aux_labels: as many as labels are needed, which are "
            f"{(torch.diff(fsa.arc_splits) - 1).tolist()}; there are {lengths.tolist()}"
        )
    fsa.aux_labels = torch.from_numpy(_with_ends(flat, lengths)[0].astype(np.int32))
    return fsa


def _are_lists(labels: Sequence | RaggedTensor) -> bool:
    several = isinstance(labels, RaggedTensor)
    return several or (len(labels) > 0 and not isinstance(labels[0], int | np.integer))


def linear_fsa_with_self_loops(fsas: Fsa) -> Fsa:
    """Chains without their epsilons, and with a loop of label 0 on every state but the final."""
    return remove_epsilon_and_add_self_loops(fsas)


def linear_fst_with_self_loops(fsts: Fsa) -> Fsa:
    """As `linear_fsa_with_self_loops`; aux_labels become ragged, those of removed arcs are kept."""
    return remove_epsilon_and_add_self_loops(fsts)


def trivial_graph(max_token: int, device: str | torch.device | None = None) -> Fsa:
    """One state with a loop for each of the tokens 1..max_token, which it also emits."""
    whole_number(max_token, "max_token", 1)
    rows = [(0, 0, j, j) for j in range(1, max_token + 1)]
    return _fsa([*rows, (0, 1, -1, -1)], 2).to(device or "cpu")
