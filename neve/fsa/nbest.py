"""N-best lists of lattices."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.levenshtein import levenshtein_graph
from neve.fsa.operations import (
    add_epsilon_self_loops,
    index_fsa,
    remove_epsilon,
    top_sort,
)
from neve.fsa.paths import chains, random_paths, shortest_path
from neve.fsa.products import intersect_device
from neve.fsa.ragged import RaggedTensor
from neve.fsa.ragged_shape import RaggedShape


class Nbest:
    """Paths of several utterances: `fsa` has a linear automaton for each path.

    `shape` [utterance][path] says which paths are whose.
    """

    def __init__(self, fsa: FsaVec, shape: RaggedShape, kept_path: RaggedTensor | None = None):
        """kept_path [path][arc] int32: the arcs of the lattice that the paths are, if known."""
        if shape.num_axes != 2 or shape.numel() != fsa.num_fsas:
            raise NeveError(
                f"shape: [utterance][path] of {fsa.num_fsas} paths is needed, not {shape!r}"
            )
        self.fsa, self.shape, self.kept_path = fsa, shape, kept_path

    @staticmethod
    def from_lattice(
        lattice: Fsa, num_paths: int, use_double_scores: bool = True, nbest_scale: float = 0.5
    ) -> Nbest:
        """The different word sequences among num_paths paths of each utterance's lattice.

        Paths are spread by their probability after scores are multiplied by nbest_scale, less for
        more variety (`random_paths`). Of the paths of one word sequence the best is kept; sequences
        are in the order in which they were met. The paths' scores are the lattice's.
        """
        scaled = lattice.detach().clone()
        scaled.scores = scaled.scores * nbest_scale
        paths = random_paths(scaled, use_double_scores, num_paths)
        by_path = paths.shape.row_splits(2).long()
        arcs = paths.values.long()
        words = [tuple(row) for row in path_words(lattice, arcs, by_path).tolist()]
        scores = lattice.scores.detach().double()[arcs]
        sums = RaggedTensor.from_splits(by_path, scores).sum().tolist()
        kept, counts = [], []
        ends = paths.shape.row_splits(1).tolist()
        for first, last in zip(ends, ends[1:]):
            best: dict[tuple[int, ...], int] = {}
            for path in range(first, last):
                other = best.setdefault(words[path], path)
                if sums[path] > sums[other]:
                    best[words[path]] = path
            kept += best.values()
            counts.append(len(best))
        kept_path = paths.remove_axis(0)[torch.tensor(kept, dtype=torch.int64)]
        lengths = torch.diff(kept_path.row_splits)
        fsa = chains(lattice, lengths, kept_path.values)
        splits = torch.tensor([0, *counts], device=paths.device).cumsum(0)
        return Nbest(fsa, RaggedShape.from_row_splits([splits]), kept_path)

    def intersect(self, lats: FsaVec) -> Nbest:
        """The best path of each utterance's lattice with the labels of each path, epsilons aside.

        Scores and attributes are those of `lats`, without its label-0 arcs. A path that the lattice
        does not have becomes an empty automaton.
        """
        plain = FsaVec._make(
            self.fsa.src,
            self.fsa.dst,
            self.fsa.labels,
            torch.zeros_like(self.fsa.scores),
            self.fsa.state_splits,
            self.fsa.arc_splits,
            {},
        )
        looped = add_epsilon_self_loops(remove_epsilon(plain))
        both = intersect_device(lats, looped, self.shape.row_ids(1))
        best = shortest_path(top_sort(both))
        return Nbest(remove_epsilon(best), self.shape)

    def total_scores(self) -> RaggedTensor:
        """[utterance][path] float64: the score of each path."""
        totals = self.fsa.get_tot_scores(use_double_scores=True, log_semiring=False)
        return RaggedTensor(self.shape, totals)

    tot_scores = total_scores  # icefall's name

    def compute_lm_scores(self) -> RaggedTensor:
        """[utterance][path] float64: the sum of the attribute lm_scores of each path."""
        return self._sums(self.fsa.lm_scores)

    def compute_am_scores(self) -> RaggedTensor:
        """[utterance][path] float64: the score of each path without its lm_scores."""
        return self._sums(self.fsa.scores - self.fsa.lm_scores)

    def _sums(self, values: Tensor) -> RaggedTensor:
        splits = self.fsa.arc_splits.to(values.device)
        return RaggedTensor(self.shape, RaggedTensor.from_splits(splits, values.double()).sum())

    def top_k(self, k: int) -> Nbest:
        """The k best paths of each utterance, the best first.

        An utterance with fewer repeats its last; one without any stays without.
        """
        if k < 1:
            raise NeveError(f"k: at least 1 is needed, not {k}")
        totals = self.total_scores()
        order = totals.sort_(descending=True, need_new2old_indexes=True)
        index = RaggedTensor(self.shape, order).pad("replicate", -1)
        if index.shape[1]:
            index = index[:, torch.arange(k, device=index.device).clamp(max=index.shape[1] - 1)]
        rows = RaggedTensor(index.contiguous()).remove_values_eq(-1)
        return Nbest(index_fsa(self.fsa, rows.values), rows.shape)

    def words(self) -> RaggedTensor:
        """[path][word] int32: the aux_labels of each path, without 0 and -1."""
        arcs = torch.arange(self.fsa.num_arcs, device=self.fsa.device)
        return path_words(self.fsa, arcs, self.fsa.arc_splits)

    def build_levenshtein_graphs(self) -> FsaVec:
        """The `levenshtein_graph` of each path's words."""
        return levenshtein_graph(self.words())


def path_words(fsa: Fsa, arcs: Tensor, splits: Tensor) -> RaggedTensor:
    """[path][word] int32, what paths emit: path i is arcs[splits[i]:splits[i+1]] of `fsa`."""
    if "aux_labels" not in fsa.attributes:
        raise NeveError("lattice: aux_labels are needed, to tell the words of paths")
    aux = fsa.aux_labels
    if isinstance(aux, RaggedTensor):
        picked = aux[arcs]
        splits, values = picked.row_splits.cpu()[splits.cpu().long()], picked.values
    else:
        values = aux[arcs]
    return RaggedTensor.from_splits(splits.to(values.device), values).remove_values_leq(0)
