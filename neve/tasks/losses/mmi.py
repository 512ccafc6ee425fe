"""Lattice-free MMI: the probability of the transcript among all that could have been said.

Povey et al., 2016, "Purely sequence-trained neural networks for ASR based on lattice-free MMI";
end to end with a CTC topology as in Hadian et al., 2018, "End-to-end speech recognition using
lattice-free MMI". Numerator: all CTC alignments of the transcript's tokens, and the score of these
tokens in an n-gram model. Denominator: the sum over all token sequences of the same, which is the
total of the n-gram model composed with the CTC topology.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa import (
    DenseFsaVec,
    Fsa,
    create_fsa_vec,
    ctc_loss,
    exact_ctc_loss,
    intersect_dense_pruned,
)
from neve.kernels import Graph, compose_ctc
from neve.lm import ArpaLm, estimate
from neve.lm.arpa import BOS, EOS, LN10
from neve.tasks.losses.bigram import BigramTotals

log = logging.getLogger(__name__)

DISCOUNTS = (0.5, 1.0, 1.5)  # where the transcripts are too few to estimate them
MIN_ACTIVE, MAX_ACTIVE = 30, 10_000  # states in a frame, where paths are pruned
MOST_ARCS = 3_000_000
MOST_SCORES = 1_000_000  # sequences whose scores are remembered


class Denominator:
    """An n-gram model of token sequences, and what it leads to with CTC's topology.

    Args:
        sequences: tokens of the training transcripts.
        tokens: number C of tokens, blank (0) included; all but blank are in the model.
        order: of the n-grams. Up to 2, totals are exact and products of matrices; above, they are
            those of a graph.
        beam: of a graph, 0: all paths count; else those are left out that are worse than the best
            by more than this (as a natural logarithm).
    """

    def __init__(
        self, sequences: Iterable[Sequence[int]], tokens: int, order: int, beam: float = 0.0
    ):
        names = [str(token) for token in range(1, tokens)]
        sentences = [[str(token) for token in row] for row in sequences]
        self.lm = estimate(sentences, order, names, discount_fallback=DISCOUNTS)
        self.beam = beam
        self.known: dict[tuple[int, ...], float] = {}
        graph = acceptor(self.lm)
        self.bigram = self.fsa = None
        if order <= 2:
            self.bigram = BigramTotals(graph)
            return
        self.fsa = Fsa.from_graph(compose_ctc(graph))
        log.info(
            "the denominator of LF-MMI, a %d-gram of tokens with CTC's topology, has %d states and "
            "%d arcs",
            order,
            self.fsa.num_states,
            self.fsa.num_arcs,
        )

    def score(self, tokens: Sequence[int]) -> float:
        """Log-probability of a token sequence in the n-gram model."""
        key = tuple(tokens)
        if key not in self.known:
            if len(self.known) >= MOST_SCORES:
                self.known.clear()
            self.known[key] = LN10 * self.lm.score([str(token) for token in key])
        return self.known[key]

    def totals(self, log_probs: Tensor, lengths: Tensor) -> Tensor:
        """(N,) log-sums over all paths through (N, T, C) log-probabilities."""
        if self.bigram is not None:
            with torch.autocast(log_probs.device.type, enabled=False):
                return self.bigram.to(log_probs.device)(log_probs, lengths)
        segments = torch.zeros(len(lengths), 3, dtype=torch.int32)
        segments[:, 0] = torch.arange(len(lengths))
        segments[:, 2] = lengths.cpu()
        dense = DenseFsaVec(log_probs.float(), segments)
        if self.fsa.device != log_probs.device:
            self.fsa = self.fsa.to(log_probs.device)
        if not self.beam:
            graphs = create_fsa_vec([self.fsa] * len(lengths))
            return -ctc_loss(graphs, dense, reduction="none")
        beams = (self.beam, self.beam, MIN_ACTIVE, MAX_ACTIVE)
        lattice = intersect_dense_pruned(self.fsa, dense, *beams)
        totals = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
        return totals.to(log_probs.dtype)


def mmi_losses(
    log_probs: Tensor, lengths: Tensor, targets: list[list[int]], denominator: Denominator
) -> Tensor:
    """(N,) minus the log-probabilities of the targets given all that `denominator` can say.

    Args:
        log_probs: (N, T, C).
        lengths: (N,) frames.
        targets: the tokens of each utterance.
        denominator: of the same tokens.
    """
    counts = torch.tensor([len(row) for row in targets])
    flat = torch.tensor([token for row in targets for token in row], dtype=torch.int64)
    numerator = -exact_ctc_loss(log_probs, flat, lengths, counts)
    prior = torch.tensor([denominator.score(row) for row in targets]).to(numerator)
    return denominator.totals(log_probs, lengths) - numerator - prior


def acceptor(lm: ArpaLm) -> Graph:
    """An epsilon-free acceptor that gives every token sequence its probability in the model.

    A state is a history; it has an arc for each token, whose score follows from backing off, so
    that there is one path only for a sequence. Words of the model are token ids.

    Raises NeveError if there would be more than `MOST_ARCS` arcs.
    """
    words = {word: int(word) for word in lm.words if word.isdecimal()}
    tokens = np.array([words.get(word, 0) for word in lm.words])
    spoken = np.flatnonzero(tokens)
    contexts = [np.asarray(level.context) for level in lm.levels]
    end, begin = lm.words.index(EOS), lm.words.index(BOS)
    numbers: dict[tuple[int, ...], int] = {}
    rows: dict[tuple[int, ...], tuple[np.ndarray, list]] = {}

    def following(level: int, index: int) -> slice:
        """The n-grams of `level` whose context has this index."""
        return slice(*np.searchsorted(contexts[level], (index, index + 1)))

    def row(history: tuple[int, ...]) -> tuple[np.ndarray, list]:
        """(log10 probability, history afterwards) of each word of the model after a history."""
        if history in rows:
            return rows[history]
        if not history:
            scores = np.array(lm.levels[0].log_prob)
            after = [(word,) if lm.order > 1 else () for word in range(len(lm.words))]
        else:
            scores, after = row(history[1:])
            scores, after = scores.copy(), list(after)
            index = lm.find(history)
            scores += lm.levels[len(history) - 1].backoff[index]
            level = lm.levels[len(history)]
            some = following(len(history), index)
            scores[level.word[some]] = level.log_prob[some]
            if len(history) + 1 < lm.order:
                for word in level.word[some].tolist():
                    after[word] = (*history, word)
        rows[history] = (scores, after)
        return rows[history]

    start = (begin,) if lm.order > 1 else ()
    numbers[start] = 0
    waiting, arcs, ends = [start], [], []
    while waiting:
        history = waiting.pop()
        scores, after = row(history)
        for word in spoken.tolist():
            following_history = after[word]
            if following_history not in numbers:
                numbers[following_history] = len(numbers)
                waiting.append(following_history)
            arcs.append((numbers[history], numbers[following_history], tokens[word], scores[word]))
        if len(numbers) * len(spoken) > MOST_ARCS:
            raise NeveError(
                f"the {lm.order}-gram of {len(spoken)} tokens for LF-MMI has more than {MOST_ARCS} "
                "arcs; lower loss.mmi_order, or use fewer tokens (lang.vocab_size)"
            )
        ends.append((numbers[history], -1, -1, scores[end]))
    final = len(numbers)
    arcs += [(source, final, label, score) for source, _, label, score in ends]
    arcs.sort(key=lambda arc: arc[0])
    src, dst, labels, scores = zip(*arcs)
    labels = np.array(labels, np.int32)
    return Graph.from_arcs(
        final + 1, src, dst, labels, LN10 * np.array(scores), np.maximum(labels, 0)
    )
