"""Methods that make a lattice of each utterance: its best path, and the words of sampled paths."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch

from neve.decoding.methods import CtcMethod, GraphMethod
from neve.decoding.sampled_lists import (
    Candidate,
    best_candidates,
    sampled_paths,
    sequences_of,
)
from neve.decoding.word_paths import Lattice
from neve.errors import ConfigError
from neve.fsa import (
    DenseFsaVec,
    Fsa,
    FsaVec,
    Graph,
    biased_lattices,
    connect,
    intersect_dense_pruned,
    shortest_path,
)
from neve.fsa.backends import backend_name
from neve.graphs import BiasingGraph, build_H, token_biasing
from neve.kernels.structure import gather_ragged
from neve.results import Hypothesis


class Searched(NamedTuple):
    """What the first pass keeps of an utterance.

    lattice: None where there is not even a partial path. log_probs (T, C): the model's. best: arcs
    of the lattice. candidates: the n-best list, the best first; empty if the method has none.
    """

    lattice: Lattice | None
    log_probs: np.ndarray
    best: list[int]
    candidates: list[Candidate]


class BestPath(GraphMethod):
    """The best path of the lattice, which is that of `graph`; the others build on it."""

    lists = False  # whether there are n-best lists

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        for key in ("output_beam", "num_paths", "nbest_scale"):
            if not getattr(config, key) > 0:
                raise ConfigError(f"decoding.{key}={getattr(config, key)} must be positive")
        self._scored: tuple[float, Graph, Fsa] | None = None

    @property
    def pruning(self) -> str:
        """Of lattices without phrases, see `neve.fsa.intersect_dense_pruned`; the real k2 has but
        its own, which `within_beam` makes exact. Those with phrases are never the real k2's."""
        return "k2" if backend_name("cpu") == "k2" else "exact"

    @property
    def first_scales(self):
        return (*GraphMethod.scales, *(("phrase_boost",) if self.phrases else ()))

    def search(self, outputs, lengths, scales):
        return self.second_pass(self.first_pass(outputs, lengths, scales), scales)

    def first_pass(self, outputs, lengths, scales) -> list[Searched]:
        scores = self.penalised(outputs, scales.blank_penalty) * np.float32(scales.acoustic_scale)
        favoured = self.favoured(scales)
        if self._scored is None or self._scored[0] != scales.word_score:
            graph = self.scored_graph(scales.word_score)
            self._scored = scales.word_score, graph, Fsa.from_graph(graph, acceptor=True)
        found: list[Searched | None] = [None] * len(lengths)
        rows = list(range(len(lengths)))
        for partial in (False, True) if self.config.allow_partial else (False,):
            if not rows:
                break
            searched = self._searched(scores, outputs, lengths, rows, partial, favoured)
            found = [new if new else old for new, old in zip(searched, found)]
            rows = [row for row in rows if found[row] is None]
        nothing = (Searched(None, row[:length], [], []) for row, length in zip(outputs, lengths))
        return [one or none for one, none in zip(found, nothing)]

    def second_pass(self, found, scales, texts=None):
        return [
            [self.of_path(one, one.best, float(one.lattice.scores[one.best].sum()))]
            if one.lattice
            else [Hypothesis.nothing()]
            for one in found
        ]

    def sizes(self, found: list[Searched]):
        return [
            (
                one.lattice.frame_arcs if one.lattice else 0,
                len(one.candidates) if self.lists else None,
            )
            for one in found
        ]

    def of_path(self, found: Searched, arcs: list[int], score: float) -> Hypothesis:
        """The hypothesis of a path of the lattice."""
        on_graph = found.lattice.graph_arcs[arcs]
        hypothesis = self.hypothesis(on_graph[on_graph >= 0], score, found.log_probs)
        return dataclasses.replace(hypothesis, partial=found.lattice.partial)

    def said(self, words: tuple[int, ...]) -> list[str]:
        """The words of ids that the hypothesis has: no silence and the like."""
        names = (self.lang.words[word] for word in words)
        return [name for name in names if self.lang.is_written(name)]

    def _searched(self, scores, outputs, lengths, rows, partial, favoured) -> list[Searched | None]:
        fsas = self._lattices(scores, lengths, rows, partial, favoured)
        first = fsas.arc_splits.tolist()
        fsas.lattice_arc = torch.arange(fsas.num_arcs, dtype=torch.int32)
        best = shortest_path(fsas, use_double_scores=True)
        ends = best.arc_splits.tolist()
        best_arcs = [
            (best.lattice_arc[begin:end] - shift).tolist()
            for begin, end, shift in zip(ends, ends[1:], first)
        ]
        sampled = None
        if self.lists:
            sampled = sampled_paths(fsas, self.config.num_paths, self.config.nbest_scale)
        found: list[Searched | None] = [None] * len(lengths)
        for place, row in enumerate(rows):
            if not best_arcs[place]:
                continue
            lattice = self._lattice(fsas, place, partial)
            candidates = []
            if sampled:
                best_said = lattice.said(best_arcs[place])
                said = sequences_of(lattice.spoken, sampled[place], best_said)
                candidates = best_candidates(lattice.automaton, lattice.spoken, said)
            found[row] = Searched(
                lattice, outputs[row, : lengths[row]], best_arcs[place], candidates
            )
        return found

    def _lattices(self, scores, lengths, rows, partial, favoured: BiasingGraph | None) -> FsaVec:
        config = self.config
        beams = config.search_beam, config.output_beam, config.min_active, config.max_active
        _, graph, fsa = self._scored
        if favoured is not None:
            rows = np.array(rows)
            return biased_lattices(
                graph,
                favoured.automaton,
                scores[rows],
                np.asarray(lengths)[rows],
                *beams,
                allow_partial=partial,
            )
        segments = [[row, 0, int(lengths[row])] for row in rows]
        dense = DenseFsaVec(torch.from_numpy(scores), torch.tensor(segments, dtype=torch.int32))
        options = {"allow_partial": partial, "pruning": self.pruning}
        found = intersect_dense_pruned(fsa, dense, *beams, **options)
        return found if self.pruning == "exact" else within_beam(found, config.output_beam)

    def _lattice(self, fsas: FsaVec, place: int, partial: bool) -> Lattice:
        one = fsas[place]
        arcs = one.arc_map_a.numpy().astype(np.int64)
        splits, values = gather_ragged(self.graph.aux_splits, self.graph.aux_values, arcs)
        words = values > 0
        counts = np.bincount(one.src.numpy(), minlength=one.num_states)
        return Lattice(
            np.concatenate(([0], np.cumsum(counts))),
            one.dst.numpy(),
            one.scores.detach().double().numpy(),
            (np.concatenate(([0], np.cumsum(words)))[splits], values[words]),
            arcs,
            partial,
        )


class Nbest(BestPath):
    """The words of sampled paths, by the score of their best path."""

    lists = True

    def second_pass(self, found, scales, texts=None):
        return [self.listed(one, self.ranked(one, scales)) for one in found]

    def ranked(self, found: Searched, scales) -> list[tuple[float, Candidate]]:
        """Scores and candidates, the best first."""
        return [(candidate.score, candidate) for candidate in found.candidates]

    def listed(self, found: Searched, ranked: list[tuple[float, Candidate]]) -> list[Hypothesis]:
        """The first of them as hypotheses, `decoding.nbest` at most, no text twice."""
        kept: dict[tuple[str, ...], Hypothesis] = {}
        for score, candidate in ranked:
            if len(kept) == self.config.nbest:
                break
            text = tuple(self.said(candidate.said))
            if text not in kept:
                kept[text] = self.of_path(found, candidate.arcs, score)
        return list(kept.values()) or [Hypothesis.nothing()]


class CtcLattice(Nbest):
    """Tokens without a lexicon, from the lattice of the CTC topology: the most probable sequences.

    A sequence's score is the sum of all its alignments in the lattice, where `ctc-greedy` takes the
    best alignment.
    """

    scales = ("acoustic_scale", "blank_penalty")
    biasing = staticmethod(token_biasing)

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, build_H(lang.num_tokens - 1), config, frame_seconds, lm)

    def said(self, words):
        return [self.lang.decode(list(words))]

    def ranked(self, found, scales):
        by_total = [(candidate.total, candidate) for candidate in found.candidates]
        return sorted(by_total, key=lambda one: -one[0])

    def of_path(self, found, arcs, score):
        on_graph = found.lattice.graph_arcs[arcs]
        labels = self.graph.labels[on_graph[on_graph >= 0]][: len(found.log_probs)]
        hypothesis = CtcMethod.of_labels(self, labels, found.log_probs, score)
        return dataclasses.replace(hypothesis, partial=found.lattice.partial)


def within_beam(fsas: FsaVec, beam: float) -> FsaVec:
    """Lattices without the arcs of which no path is at most `beam` worse than the best path."""
    keep = fsas.get_arc_post(True, False) >= -beam
    arc_map = torch.nonzero(keep).flatten()
    kept = torch.nn.functional.pad(keep.cumsum(0), (1, 0))[fsas.arc_splits.long()]
    arcs = fsas.src[arc_map], fsas.dst[arc_map], kept.to(fsas.arc_splits.dtype)
    return connect(fsas.select(fsas.state_splits, *arcs, arc_map))
