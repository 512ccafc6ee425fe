"""Small functions that recipes call around the engine: lattices of a batch, words of best paths."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neve.errors import NeveError
from neve.fsa.arguments import same_device, whole_numbers
from neve.fsa.dense import DenseFsaVec
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.ragged import RaggedTensor


def get_lattice(
    log_prob: torch.Tensor,
    log_prob_len: torch.Tensor,
    decoding_graph: Fsa,
    search_beam: float = 20,
    output_beam: float = 8,
    min_active_states: int = 30,
    max_active_states: int = 10000,
    subsampling_factor: int = 1,
    pruning: str = "exact",
) -> FsaVec:
    """The lattice of each row of `log_prob` (N, T, C), of which log_prob_len (N,) frames count.

    Beams and `pruning` are as for `intersect_dense_pruned`. A length may exceed T by less than
    subsampling_factor.
    """
    from neve.fsa.lattice import intersect_dense_pruned

    lengths = whole_numbers(log_prob_len, "log_prob_len").to(torch.int32)
    if lengths.shape != log_prob.shape[:1]:
        raise NeveError(
            f"log_prob_len: {tuple(lengths.shape)} lengths for {len(log_prob)} rows of log_prob"
        )
    rows = torch.arange(len(lengths), dtype=torch.int32)
    segments = torch.stack((rows, torch.zeros_like(rows), lengths), dim=1)
    dense = DenseFsaVec(log_prob, segments, allow_truncate=subsampling_factor - 1)
    beams = (search_beam, output_beam, min_active_states, max_active_states)
    return intersect_dense_pruned(decoding_graph, dense, *beams, pruning=pruning)


def one_best_decoding(lattice: Fsa, use_double_scores: bool = True) -> FsaVec:
    """The best path of each lattice: `shortest_path` by the name that k2 also has for it."""
    from neve.fsa.paths import shortest_path

    return shortest_path(lattice, use_double_scores)


def get_aux_labels(best_paths: FsaVec) -> list[list[int]]:
    """What each path of `shortest_path` emits: its aux_labels in order, without 0 and -1."""
    aux = best_paths.aux_labels
    if isinstance(aux, RaggedTensor):
        splits = aux.row_splits.cpu()[best_paths.arc_splits].tolist()
        values = aux.values.tolist()
    else:
        splits, values = best_paths.arc_splits.tolist(), aux.tolist()
    return [[x for x in values[a:b] if x > 0] for a, b in zip(splits, splits[1:])]


def cat(srcs: Sequence[Fsa]) -> FsaVec:
    """Several FsaVecs as one; attributes that all of them have are kept."""
    return FsaVec(srcs)


def to_str(fsa: Fsa, openfst: bool = False) -> str:
    """The text of an automaton, or of each of an FsaVec under a line "FsaVec[i]"."""
    if not isinstance(fsa, FsaVec):
        return fsa.to_str(openfst)
    return "".join(f"FsaVec[{i}]\n{one.to_str(openfst)}" for i, one in enumerate(fsa))


def to_str_simple(fsa: Fsa, openfst: bool = False) -> str:
    """The text of one automaton with `aux_labels` as its only attribute."""
    plain = fsa.clone()
    for name in fsa.arc_attributes():
        if name != "aux_labels":
            delattr(plain, name)
    return plain.to_str(openfst)


def to_tensor(fsa: Fsa) -> torch.Tensor:
    """The arcs of an automaton, (A, 4) int32, or k2's packed form of an FsaVec, 1-D."""
    return fsa.as_dict()["arcs"]


def compose_arc_maps(
    step1_arc_map: torch.Tensor | RaggedTensor, step2_arc_map: torch.Tensor | RaggedTensor
) -> torch.Tensor | RaggedTensor:
    """The map of two operations after one another: arcs of the last result to those of the input.

    A map is (A,) int32, where -1 stands for no arc, or ragged, a list of arcs for each.
    """
    if isinstance(step2_arc_map, RaggedTensor):
        found = compose_arc_maps(step1_arc_map, step2_arc_map.values)
        splits = step2_arc_map.row_splits
        if isinstance(found, RaggedTensor):
            return RaggedTensor.from_splits(found.row_splits[splits.long()], found.values)
        return RaggedTensor.from_splits(splits, found)
    if isinstance(step1_arc_map, RaggedTensor):
        return step1_arc_map[step2_arc_map]
    same_device("step2_arc_map", step2_arc_map, "step1_arc_map", step1_arc_map.device)
    index = step2_arc_map.long()
    if len(index) and int(index.max()) >= len(step1_arc_map):
        raise NeveError(
            f"step2_arc_map: {int(index.max())} is none of the {len(step1_arc_map)} arcs of "
            "step1_arc_map"
        )
    if len(step1_arc_map) == 0:
        return torch.full_like(step2_arc_map, -1)
    return torch.where(index >= 0, step1_arc_map[index], -1)


def create_sparse(
    rows: torch.Tensor,
    cols: torch.Tensor,
    values: torch.Tensor,
    size: tuple[int, int] | None = None,
    min_col_index: int | None = None,
) -> torch.Tensor:
    """A sparse matrix of values (n,) at rows (n,) and cols (n,), such as posteriors of a lattice.

    Entries with a column below min_col_index are left out; those of one place add up.
    """
    if not rows.shape == cols.shape == values.shape or rows.ndim != 1:
        raise NeveError(
            f"rows, cols and values must be of one length, not {tuple(rows.shape)}, "
            f"{tuple(cols.shape)} and {tuple(values.shape)}"
        )
    for name, numbers in (("rows", rows), ("cols", cols)):
        same_device(name, numbers, "values", values.device)
        whole = whole_numbers(numbers, name)
        if len(whole) and int(whole.min()) < 0:
            raise NeveError(f"{name}: {int(whole.min())} is negative")
    if min_col_index is not None:
        keep = cols >= min_col_index
        rows, cols, values = rows[keep], cols[keep], values[keep]
    places = torch.stack((rows, cols)).long()
    if size is None:
        return torch.sparse_coo_tensor(places, values, check_invariants=True)
    for name, numbers, limit in (("rows", rows, size[0]), ("cols", cols, size[1])):
        if len(numbers) and int(numbers.max()) >= limit:
            raise NeveError(f"{name}: {int(numbers.max())} does not fit in size {tuple(size)}")
    return torch.sparse_coo_tensor(places, values, size, check_invariants=True)
