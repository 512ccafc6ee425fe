"""Transducer decoding on graphs against dictionaries, and against all ways through a graph."""

import math

import numpy as np
import pytest
import torch
from plain_streams import PlainStream
from random_graphs import arcs_of, cases, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    Fsa,
    RaggedTensor,
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
    trivial_graph,
)

WIDE = 10**6


class Scorer:
    """Log-probabilities that depend on the frame, the stream and the context, as a model's do."""

    def __init__(self, rng, vocab_size, exact):
        self.rng, self.vocab_size, self.exact, self.known = rng, vocab_size, exact, {}

    def __call__(self, *key):
        if key not in self.known:
            row = self.rng.normal(size=self.vocab_size)
            row = np.round(row * 2) / 4 if self.exact else row
            self.known[key] = row.astype(np.float32)
        return self.known[key]


def decode(streams, config, frames, scorer, numbers=None):
    """Advances streams through `frames`; `numbers` are the streams' names for the scorer."""
    decoding = RnntDecodingStreams(streams, config)
    numbers = numbers or range(len(streams))
    seen = []
    for t in frames:
        shape, contexts = decoding.get_contexts()
        rows = shape.row_ids(1).tolist()
        contexts = [tuple(context) for context in contexts.tolist()]
        seen.append([[c for r, c in zip(rows, contexts) if r == i] for i in range(len(streams))])
        scores = [scorer(t, numbers[row], context) for row, context in zip(rows, contexts)]
        scores = np.array(scores, np.float32).reshape(-1, config.vocab_size)
        decoding.advance(torch.from_numpy(scores))
    decoding.terminate_and_flush_to_streams()
    return decoding, seen


def random_graph(rng, vocab_size, exact, **options):
    labels = tuple(range(vocab_size))
    graph = random_fsa(rng, acyclic=False, labels=labels, **options)
    if not exact:
        noise = torch.from_numpy(rng.normal(size=graph.num_arcs) / 4)
        graph.scores = (graph.scores + noise).float()
    graph.number = torch.arange(graph.num_arcs, dtype=torch.int32)
    graph.number_filler = -1
    return graph


def rows_of(lattice):
    return lattice.num_states, [
        (*arc[:3], arc[3], number) for arc, number in zip(arcs_of(lattice), lattice.number.tolist())
    ]


def test_streams_do_what_dictionaries_do():
    for rng, where in cases():
        exact = rng.random() < 0.5
        many = rng.random() < 0.25  # so many arcs that the best states are looked for first
        vocab_size = 40 if many else int(rng.integers(1, 5))
        config = RnntDecodingConfig(
            vocab_size=vocab_size,
            decoder_history_len=int(rng.integers(1, 4)),
            beam=float(rng.integers(1, 8)) if exact else float(rng.uniform(0.5, 6)),
            max_states=int(rng.integers(1, 10)),
            max_contexts=int(rng.integers(1, 6)),
        )
        most_arcs = 120 if many else 10
        graphs = [random_graph(rng, vocab_size, exact, most_arcs=most_arcs) for _ in range(3)]
        graphs = [graphs[i] for i in rng.integers(0, 3, int(rng.integers(1, 5)))]
        frames = int(rng.integers(1, 6))
        scorer = Scorer(rng, vocab_size, exact)
        streams = [RnntDecodingStream(graph) for graph in graphs]
        plain = [PlainStream(graph.num_states, arcs_of(graph), config) for graph in graphs]
        seen = []
        for t in range(frames):
            seen.append([stream.contexts() for stream in plain])
            for i, stream in enumerate(plain):
                stream.advance({context: scorer(t, i, context) for context in stream.contexts()})
        decoding, contexts = decode(streams, config, range(frames), scorer)
        assert contexts == seen, where
        lengths = rng.integers(0, frames + 1, len(streams)).tolist()
        for partial in (False, True):
            lattices = decoding.format_output(lengths, allow_partial=partial)
            assert lattices.arcs.values().shape == (lattices.num_arcs, 4), where
            for i, lattice in enumerate(lattices):
                assert rows_of(lattice) == plain[i].lattice(lengths[i], partial), where


def test_streams_can_be_grouped_anew():
    for rng, where in cases():
        vocab_size = int(rng.integers(2, 5))
        config = RnntDecodingConfig(vocab_size, 2, 4.0, 6, 4)
        graphs = [random_graph(rng, vocab_size, True) for _ in range(4)]
        scorer = Scorer(rng, vocab_size, True)
        together = [RnntDecodingStream(graph) for graph in graphs]
        lattices, _ = decode(together, config, range(6), scorer)
        apart = [RnntDecodingStream(graph) for graph in graphs]
        at = [0] * 4
        while min(at) < 6:
            group = [i for i in rng.permutation(4).tolist() if at[i] < 6 and rng.random() < 0.7]
            if not group:
                continue
            group = [i for i in group if at[i] == at[group[0]]]
            steps = int(rng.integers(0, 7 - at[group[0]]))
            frames = range(at[group[0]], at[group[0]] + steps)
            decode([apart[i] for i in group], config, frames, scorer, group)
            for i in group:
                at[i] += steps
        again, _ = decode(apart, config, [], scorer)
        for one, other in zip(lattices.format_output([6] * 4), again.format_output([6] * 4)):
            assert rows_of(one) == rows_of(other), where


def all_ways(graph, scorer, frames, history):
    """(score, ended in a final arc) of each way to spend all frames but the last, and one arc."""
    arcs, final = arcs_of(graph), graph.num_states - 1
    open_ways = [(0, (0,) * history, 0.0)] if graph.num_states else []
    for t in range(frames):
        found = []
        for state, context, total in open_ways:
            if state == final:
                continue
            row = scorer(t, 0, context)
            steps = [(state, context, float(row[0]), 0)]
            for src, dst, label, score in arcs:
                if src == state:
                    follows = (*context, label)[1:] if label > 0 else context
                    steps.append((dst, follows, score + float(row[max(label, 0)]), label))
            for dst, follows, score, label in steps:
                if t < frames - 1:
                    found.append((dst, follows, total + score))
                else:
                    found.append((total, label == -1))
        open_ways = found
    return open_ways


def test_totals_without_limits_are_those_of_all_ways():
    for rng, where in cases():
        vocab_size, history = int(rng.integers(2, 4)), int(rng.integers(1, 3))
        graph = random_graph(rng, vocab_size, False, most_states=5, most_arcs=6)
        frames = int(rng.integers(1, 5))
        scorer = Scorer(rng, vocab_size, False)
        config = RnntDecodingConfig(vocab_size, history, math.inf, WIDE, WIDE)
        decoding, _ = decode([RnntDecodingStream(graph)], config, range(frames), scorer)
        ways = all_ways(graph, scorer, frames, history)
        ended = [score for score, final in ways if final]
        for partial in (False, True):
            lattice = decoding.format_output([frames], partial)
            wanted = ended or ([score for score, _ in ways] if partial else [])
            best = max(wanted, default=-math.inf)
            total = np.logaddexp.reduce(wanted) if wanted else -math.inf
            found = lattice.get_tot_scores(use_double_scores=True, log_semiring=False)
            np.testing.assert_allclose(found, [best], rtol=1e-5, atol=1e-5, err_msg=where)
            found = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
            np.testing.assert_allclose(found, [total], rtol=1e-5, atol=1e-5, err_msg=where)


def test_lattices_have_the_attributes_of_all_graphs():
    first, second = trivial_graph(2), trivial_graph(1)
    first.weight = torch.tensor([0.5, 1.5, 2.5])
    first.weight_filler = -7.0
    first.words = RaggedTensor([[1, 2], [3], [-1]])
    second.words = torch.tensor([0, 9], dtype=torch.int32)
    second.note = "kept"
    streams = [RnntDecodingStream(graph) for graph in (first, second, first)]
    config = RnntDecodingConfig(3, 1, 100.0, WIDE, WIDE)
    decoding, _ = decode(streams, config, range(2), lambda *_: np.zeros(3, np.float32))
    lattices = decoding.format_output([2, 2, 1])
    assert lattices.note == "kept"
    one, two, three = lattices
    assert one.labels.tolist() == [0, 1, 2, 0, -1, -1, -1]
    assert one.aux_labels.tolist() == [0, 1, 2, 0, -1, -1, -1]
    assert one.weight.tolist() == [-7, 0.5, 1.5, -7, 2.5, 2.5, 2.5]
    assert one.words.tolist() == [[], [1, 2], [3], [], [-1], [-1], [-1]]
    assert two.labels.tolist() == [0, 1, 0, -1, -1]
    assert two.weight.tolist() == [-7] * 5
    assert two.words.tolist() == [[], [], [], [9], [9]]
    assert three.words.tolist() == [[-1]]
    assert [fsa.num_states for fsa in lattices] == [6, 5, 2]


def test_empty_graphs_dead_streams_and_no_frames():
    config = RnntDecodingConfig(2, 1, 1.0, 1, 1)
    dead = Fsa.from_str("0 1 -1 9\n1\n")  # its only state is the final one after a frame
    streams = [RnntDecodingStream(graph) for graph in (Fsa.from_str(""), dead)]
    decoding, contexts = decode(streams, config, range(3), lambda *_: np.zeros(2, np.float32))
    assert contexts == [[[], [(0,)]], [[], [(0,)]], [[], []]]
    assert decoding.format_output([3, 0]).state_splits.tolist() == [0, 0, 0]
    lattice = decoding.format_output([3, 1], True)[1]
    assert arcs_of(lattice) == [(0, 1, -1, 0.0)]
    assert decoding.format_output([0, 3], True)[1].num_arcs == 1  # nothing leaves the final state


def test_scores_that_changed_are_used():
    graph = trivial_graph(1)
    config = RnntDecodingConfig(2, 1, 100.0, WIDE, WIDE)
    for score in (0.0, 3.0):
        graph.scores = torch.full((2,), score)
        decoding, _ = decode(
            [RnntDecodingStream(graph)], config, range(2), lambda *_: np.zeros(2, np.float32)
        )
        assert decoding.format_output([2]).scores.max() == score
    graph.scores[0] = 5.0
    decoding, _ = decode(
        [RnntDecodingStream(graph)], config, range(2), lambda *_: np.zeros(2, np.float32)
    )
    assert decoding.format_output([2]).scores.max() == 5


def started(vocab_size=3, history=2, graph=None):
    stream = RnntDecodingStream(graph or trivial_graph(2))
    config = RnntDecodingConfig(vocab_size, history, 8.0, 8, 8)
    return RnntDecodingStreams([stream], config)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(1, 4), r"logprobs: a tensor of shape \(1, 3\)"),
        (torch.zeros(2, 3), r"logprobs: a tensor of shape \(1, 3\)"),
        (torch.zeros(3), "logprobs"),
        (None, "logprobs"),
        (torch.zeros(1, 3, dtype=torch.int64), "logprobs: floats"),
        (torch.tensor([[0, math.nan, 0]]), "logprobs: row 0 holds NaN"),
        (torch.tensor([[0, math.inf, 0]]), "logprobs: row 0 holds NaN or .inf"),
    ],
)
def test_bad_log_probs_are_refused(scores, message):
    decoding = started()
    with pytest.raises(NeveError, match=message):
        decoding.advance(scores)
    decoding.advance(torch.full((1, 3), -math.inf))  # legal: nothing is possible
    decoding.advance(torch.zeros(len(decoding.get_contexts()[1]), 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 2}, "stream 0 has label 2, but vocab_size is 2"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"decoder_history_len": 0}, "decoder_history_len"),
        ({"decoder_history_len": 60}, "decoder_history_len: 60 symbols"),
        ({"beam": 0.0}, "beam"),
        ({"beam": math.nan}, "beam"),
        ({"max_states": 0}, "max_states"),
        ({"max_contexts": 1.5}, "max_contexts"),
    ],
)
def test_bad_settings_are_refused(change, message):
    settings = dict(vocab_size=3, decoder_history_len=2, beam=8.0, max_states=8, max_contexts=8)
    with pytest.raises(NeveError, match=message):
        config = RnntDecodingConfig(**{**settings, **change})
        RnntDecodingStreams([RnntDecodingStream(trivial_graph(2))], config)


def test_calls_out_of_order_are_refused():
    decoding = started()
    with pytest.raises(NeveError, match="terminate_and_flush_to_streams has to be called"):
        decoding.format_output([0])
    decoding.terminate_and_flush_to_streams()
    for call in (
        decoding.get_contexts,
        decoding.terminate_and_flush_to_streams,
        lambda: decoding.advance(torch.zeros(1, 3)),
    ):
        with pytest.raises(NeveError, match="were terminated"):
            call()
    for lengths, message in (
        ([1], "stream 0 has 0 frames"),
        ([-1], "not -1"),
        ([], "1 are needed"),
    ):
        with pytest.raises(NeveError, match=message):
            decoding.format_output(lengths)
    (stream,) = decoding.src_streams
    config = RnntDecodingConfig(3, 1, 8.0, 8, 8)
    with pytest.raises(NeveError, match="config: stream 0 was decoded with"):
        RnntDecodingStreams([stream], config)
    fresh = RnntDecodingStream(trivial_graph(2))
    for streams, message in (
        ([], "at least one"),
        ([fresh, fresh], "twice"),
        ([1], "at least one"),
    ):
        with pytest.raises(NeveError, match=message):
            RnntDecodingStreams(streams, config)
    with pytest.raises(NeveError, match="fsa: one automaton"):
        RnntDecodingStream(Fsa.from_fsas([trivial_graph(1)] * 2))
