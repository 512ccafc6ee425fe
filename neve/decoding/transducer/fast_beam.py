"""Search of a transducer along a graph, with the lattice of all that it kept: fast beam search.

Kang et al., "Fast and parallel decoding for transducer" (2022, arXiv:2211.00484), with k2's streams
(`neve.fsa.RnntDecodingStreams`). A frame gives one token at most. The state of the search is the
tokens that the predictor sees and a state of the graph, so that hypotheses which the model cannot
tell apart are one state, and the utterances of a batch go ahead together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neve.decoding.transducer.histories import MOST_CONTEXTS, outputs_after
from neve.decoding.transducer.paths import token_log_probs
from neve.errors import ConfigError
from neve.fsa import (
    Fsa,
    FsaVec,
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
    connect,
)

EVERYTHING = 1e30  # a beam that keeps all that is possible


@torch.inference_mode()
def fast_beam_search(
    model,
    encoder_out: Tensor,
    lengths: Sequence[int],
    graph: Fsa,
    *,
    beam: float = 20.0,
    max_states: int = 64,
    max_contexts: int = 8,
    blank_penalty: float = 0.0,
    temperature: float = 1.0,
    allow_partial: bool = True,
    contexts: Contexts | None = None,
) -> FsaVec:
    """The lattice of each utterance of a batch.

    After the last frame the states where the graph may end have an arc to the final state, with the
    score that the graph gives for it (k2's own recipes give up the last frame for that, and the
    score). An utterance of no frames has the empty path, if the graph has.

    Args:
        model: has a `predictor` with a `context_size`, and a `joiner`.
        encoder_out: (N, T, D) encoder outputs.
        lengths: frames of each.
        graph: over the model's tokens, without blank: `trivial_graph`, or one that `build_LG` made;
            on the CPU. Searched again and again it is best given as `numbered`.
        beam: states whose log-probability is that much below the best one's are dropped.
        max_states, max_contexts: states and contexts of an utterance that a frame keeps at most.
        blank_penalty: taken from the logit of blank.
        temperature: logits are divided by this.
        allow_partial: an utterance that nowhere can end may end anywhere.
        contexts: with what is known from other batches.

    Returns:
        N lattices without dead ends, their states in order of time, empty where there is no path.
        A path has an arc for each frame, label 0 for blank, and the one that ends it. `graph_arc`
        is the arc of the graph, -1 for a blank or an end that the graph does not have.

    Raises:
        ConfigError: the predictor looks at all tokens.
    """
    contexts = contexts or Contexts(model, encoder_out.device)
    limits = (contexts.vocab_size, contexts.size, beam, max_states, max_contexts)
    encoded = model.joiner.project(encoder_out)
    lengths = [int(length) for length in lengths]
    with torch.inference_mode(False):  # whose tensors have no versions, which the streams look at
        graph = numbered(graph)
    streams = [RnntDecodingStream(graph) for _ in lengths]
    begin = 0
    for end in sorted(set(lengths) - {0}):
        rows = [row for row, length in enumerate(lengths) if length >= end]
        decoding = RnntDecodingStreams([streams[row] for row in rows], RnntDecodingConfig(*limits))
        index = torch.tensor(rows)
        for frame in range(begin, end):
            shape, symbols = decoding.get_contexts()
            owners = index[shape.row_ids(1).long()].to(encoded.device)
            heard = encoded[:, frame].index_select(0, owners)
            logits = model.joiner.join(heard, contexts.outputs(symbols.numpy()))
            decoding.advance(token_log_probs(logits, blank_penalty, temperature))
        decoding.terminate_and_flush_to_streams()
        begin = end
    return _ended(streams, lengths, limits, graph, allow_partial)


def numbered(graph: Fsa) -> Fsa:
    """The graph whose arcs know their numbers, as `graph_arc`; one that does is given back."""
    if "graph_arc" in graph.attributes:
        return graph
    graph = graph.clone()
    graph.graph_arc = torch.arange(graph.num_arcs, dtype=torch.int32)
    graph.graph_arc_filler = -1
    return graph


class Contexts:
    """What a stateless predictor says after its last tokens, computed once for each context.

    Args:
        model: has `predictor` and `joiner`.
        device: where they compute.

    Raises:
        ConfigError: the predictor looks at all tokens.
    """

    def __init__(self, model, device: torch.device):
        self.model, self.device = model, device
        self.size = getattr(model.predictor, "context_size", 0) or 0
        if not self.size:
            raise ConfigError(
                "fast-beam needs a predictor that sees the last tokens only (model.predictor "
                "stateless); with others take modified-beam"
            )
        self.vocab_size = model.joiner.output.out_features
        self._clear()

    def _clear(self) -> None:
        self._numbers = np.empty(0, np.int64)  # of known contexts, sorted, and their rows
        self._rows = np.empty(0, np.int64)
        self._table = torch.empty(0, device=self.device)

    def __len__(self) -> int:
        return len(self._numbers)

    @torch.inference_mode()
    def outputs(self, contexts: np.ndarray) -> Tensor:
        """(M, J) projected outputs after (M, size) tokens, blanks before the first."""
        powers = self.vocab_size ** np.arange(self.size - 1, -1, -1, dtype=np.int64)
        wanted = contexts.astype(np.int64) @ powers
        place = self._places(wanted)
        missing = place < 0
        if missing.any():
            if len(self) > MOST_CONTEXTS:
                self._clear()
                missing[:] = True
            new, first = np.unique(wanted[missing], return_index=True)
            self._add(new, contexts[missing][first])
            place = self._places(wanted)
        return self._table[torch.from_numpy(place).to(self.device)]

    def _places(self, wanted: np.ndarray) -> np.ndarray:
        """The rows of contexts by their numbers, -1 for those that are not known."""
        if not len(self):
            return np.full(len(wanted), -1)
        near = np.searchsorted(self._numbers, wanted).clip(max=len(self) - 1)
        return np.where(self._numbers[near] == wanted, self._rows[near], -1)

    def _add(self, numbers: np.ndarray, contexts: np.ndarray) -> None:
        begin = len(self)
        rows = torch.empty(0, device=self.device)
        # a history that is shorter than the context begins with one blank, and nothing before it
        blanks = np.cumprod(contexts == 0, axis=1).sum(axis=1)
        for count in np.unique(blanks).tolist():
            alike = blanks == count
            tokens = contexts[alike][:, max(0, count - 1) :]
            found = outputs_after(self.model, torch.from_numpy(tokens).long().to(self.device))
            if not len(rows):
                rows = found.new_empty((len(numbers), found.shape[1]))
            rows[torch.from_numpy(np.flatnonzero(alike)).to(self.device)] = found
        self._table = torch.cat((self._table, rows)) if begin else rows
        all_numbers = np.concatenate((self._numbers, numbers))
        order = np.argsort(all_numbers)
        self._numbers = all_numbers[order]
        self._rows = np.concatenate((self._rows, np.arange(begin, begin + len(numbers))))[order]


def _ended(streams, lengths, limits, graph: Fsa, allow_partial: bool) -> FsaVec:
    """The lattices, after one more frame in which nothing is said."""
    vocab_size, history, _, max_states, max_contexts = limits
    wide = RnntDecodingConfig(vocab_size, history, EVERYTHING, 2 * max_states, max_contexts)
    decoding = RnntDecodingStreams(streams, wide)
    nothing = torch.full((len(decoding.get_contexts()[1]), vocab_size), -torch.inf)
    nothing[:, 0] = 0.0
    decoding.advance(nothing)
    decoding.terminate_and_flush_to_streams()
    lattices = decoding.format_output([length + 1 for length in lengths], allow_partial)
    ends, arcs = lattices.labels == -1, lattices.graph_arc.long()
    own = ends & (arcs >= 0) & (graph.labels[arcs] == -1)
    lattices.scores = torch.where(own, graph.scores[arcs], lattices.scores)
    lattices.graph_arc = torch.where(ends & ~own, -1, lattices.graph_arc)
    return connect(lattices)
