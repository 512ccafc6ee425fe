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

from neve.decoding.transducer.histories import Contexts
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
from neve.kernels.streams import Listed, ended

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
    phrases: Listed | None = None,
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
        phrases: listed phrases, and what the arcs of the graph say; their bonuses are in the scores
            of the arcs, and what a phrase that is only begun has earned is taken back where it
            cannot go on, or at the end.

    Returns:
        N lattices without dead ends, their states in order of time, empty where there is no path.
        A path has an arc for each frame, label 0 for blank, and the one that ends it. `graph_arc`
        is the arc of the graph, -1 for a blank or an end that the graph does not have.

    Raises:
        ConfigError: the predictor looks at all tokens.
    """
    refuse_long_memory(model)
    contexts = Contexts(model, encoder_out.device) if contexts is None else contexts
    vocab_size = contexts.model.joiner.output.out_features
    limits = (vocab_size, contexts.size, beam, max_states, max_contexts)
    encoded = model.joiner.project(encoder_out)
    lengths = [int(length) for length in lengths]
    with torch.inference_mode(False):  # whose tensors have no versions, which the streams look at
        graph = numbered(graph)
    streams = [RnntDecodingStream(graph, phrases) for _ in lengths]
    begin = 0
    for end in sorted(set(lengths) - {0}):
        rows = [row for row, length in enumerate(lengths) if length >= end]
        decoding = RnntDecodingStreams([streams[row] for row in rows], RnntDecodingConfig(*limits))
        index = torch.tensor(rows)
        for frame in range(begin, end):
            shape, symbols = decoding.get_contexts()
            owners = index[shape.row_ids(1).long()].to(encoded.device)
            heard = encoded[:, frame].index_select(0, owners)
            logits = model.joiner.join(heard, contexts.outputs(histories_of(symbols)))
            decoding.advance(token_log_probs(logits, blank_penalty, temperature))
        decoding.terminate_and_flush_to_streams()
        begin = end
    return _ended(streams, lengths, limits, graph, allow_partial, phrases)


def numbered(graph: Fsa) -> Fsa:
    """The graph whose arcs know their numbers, as `graph_arc`; one that does is given back."""
    if "graph_arc" in graph.attributes:
        return graph
    graph = graph.clone()
    graph.graph_arc = torch.arange(graph.num_arcs, dtype=torch.int32)
    graph.graph_arc_filler = -1
    return graph


def refuse_long_memory(model) -> None:
    """ConfigError for a predictor that looks at all tokens."""
    if not getattr(model.predictor, "context_size", 0):
        raise ConfigError(
            "fast-beam needs a predictor that sees the last tokens only (model.predictor "
            "stateless); with others take modified-beam"
        )


def histories_of(symbols: Tensor) -> list[tuple[int, ...]]:
    """(M, size) tokens, blanks before the first, as the keys of `Contexts`: with one blank."""
    found = []
    for row in symbols.tolist():
        begin = 0
        while begin + 1 < len(row) and not row[begin] and not row[begin + 1]:
            begin += 1
        found.append(tuple(row[begin:]))
    return found


def _ended(streams, lengths, limits, graph, allow_partial, phrases) -> FsaVec:
    """The lattices, after one more frame in which nothing is said."""
    begun = [stream.begun for stream in streams]
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
    if phrases is not None:
        places = np.flatnonzero(ends.numpy())
        rows = np.searchsorted(lattices.arc_splits.numpy(), places, "right") - 1
        # the states before the last frame are the last ones but the final state
        counts = np.array([len(states) for states in begun])
        first = np.diff(lattices.state_splits.numpy()) - 1 - counts
        offsets = np.cumsum(counts) - counts
        states = np.concatenate(begun)[offsets[rows] + lattices.src.numpy()[places] - first[rows]]
        added = np.zeros(lattices.num_arcs, np.float32)
        added[places] = ended(phrases, states, lattices.graph_arc.numpy()[places])
        lattices.scores = lattices.scores + torch.from_numpy(added)
    return connect(lattices)
