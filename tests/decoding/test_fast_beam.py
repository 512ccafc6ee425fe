"""Fast beam search of transducers: examples worked by hand, and all paths there are."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from table_transducer import encoded, table_transducer

from neve.decoding.transducer import greedy_search, modified_beam_search
from neve.decoding.transducer.fast_beam import Contexts, fast_beam_search, numbered
from neve.fsa import Fsa, Graph, shortest_path, trivial_graph
from neve.models.predictor import StatelessPredictor

A, B, C = 1, 2, 3
WIDE = {"beam": 1e6, "max_states": 10**6, "max_contexts": 10**6}


def tables(*frames, tokens=3):
    """(T, V, V) logits of frames {context: (probability of each token)}; others are even."""
    found = torch.zeros(len(frames), tokens, tokens)
    for frame, rows in enumerate(frames):
        for context, row in rows.items():
            found[frame, context] = torch.tensor(row).clamp(min=1e-9).log()
    return found


def best_path(model, outputs, lengths=None, graph=None, **options):
    """(token of each frame, score) of each utterance's best path."""
    if lengths is None:
        lengths = [outputs.shape[1]] * len(outputs)
    graph = graph or trivial_graph(model.joiner.output.out_features - 1)
    best = shortest_path(fast_beam_search(model, outputs, lengths, graph, **options))
    ends = best.arc_splits.tolist()
    return [
        (best.labels[a:b].tolist()[:-1], float(best.scores[a:b].double().sum()))
        for a, b in zip(ends, ends[1:])
    ]


def tokens_of(labels):
    return [label for label in labels if label]


def test_a_frame_gives_one_token_where_greedy_may_take_two():
    model = table_transducer(3)
    outputs = encoded(tables({0: (0.1, 0.9, 0), A: (0.1, 0, 0.9), B: (1, 0, 0)}))
    (greedy,) = greedy_search(model, outputs, [1], max_symbols=2)
    assert greedy.tokens == [A, B]
    assert best_path(model, outputs) == [([A], pytest.approx(np.log(0.9), abs=1e-5))]


def test_what_is_best_first_need_not_be_best_in_the_end():
    # A (0.6) goes on with 0.3 at most, blank (0.4) with B (0.9)
    model = table_transducer(3)
    outputs = encoded(tables({0: (0.4, 0.6, 0)}, {0: (0.1, 0, 0.9), A: (0.3, 0.35, 0.35)}))
    (greedy,) = greedy_search(model, outputs, [2])
    assert greedy.tokens[0] == A
    assert best_path(model, outputs) == [([0, B], pytest.approx(np.log(0.36), abs=1e-5))]


# A is said by two alignments, 0.3 * 1 and 0.3 * 0.9, B by 0.4 * 0.9 and 0.3 * 0.05
TWO_WAYS = (
    {0: (0.3, 0.3, 0.4)},
    {0: (0.05, 0.9, 0.05), A: (1, 0, 0), B: (0.9, 0.05, 0.05)},
)


def test_the_best_path_is_one_where_modified_beam_sums():
    model, outputs = table_transducer(3), encoded(tables(*TWO_WAYS))
    (found,) = modified_beam_search(model, outputs, [2], beam=10, length_norm=False)
    assert found[0].tokens == [A]
    assert found[0].score == pytest.approx(np.log(0.57), abs=1e-5)
    assert best_path(model, outputs) == [([B, 0], pytest.approx(np.log(0.36), abs=1e-5))]


def word_graph(final=0.0):
    """A A is a word (1), B another (2); only after a word may it end."""
    return Graph.from_arcs(
        4,
        [0, 0, 1, 2, 2, 2],
        [1, 2, 2, 1, 2, 3],
        [A, B, A, A, B, -1],
        [-0.5, -1.0, 0, -0.5, -1.0, final],
        [1, 2, 1, 2, -1],
        [0, 1, 2, 2, 3, 4, 5],
    )


def test_a_graph_allows_only_its_words():
    # one A is likeliest, but no word; its graph scores are -0.5 for A A, -1 for B
    model = table_transducer(3)
    frame = {context: (0.2, 0.6, 0.2) for context in range(3)}
    quiet = {context: (0.9, 0.05, 0.05) for context in range(3)}
    outputs = encoded(tables(frame, quiet))
    assert best_path(model, outputs)[0][0] == [A, 0]
    graph = numbered(Fsa.from_graph(word_graph(final=-2.0), acceptor=True))
    ((labels, score),) = best_path(model, outputs, graph=graph)
    # B blank: 0.2 * 0.9 * e^-1; A A: 0.6 * 0.05 * e^-0.5; and the end of the graph, e^-2
    assert labels == [B, 0] and score == pytest.approx(np.log(0.18) - 3.0, abs=1e-5)


def test_the_last_frame_may_give_a_token():
    model = table_transducer(3)
    outputs = encoded(tables({0: (1, 0, 0)}, {0: (0, 0, 1)}))
    assert best_path(model, outputs)[0][0] == [0, B]


def test_what_does_not_end_is_partial():
    model = table_transducer(3)
    graph = Fsa.from_graph(word_graph(), acceptor=True)
    only_a = encoded(tables({context: (0, 1, 0) for context in range(3)}))
    none = {"allow_partial": False, "beam": 5.0}
    assert fast_beam_search(model, only_a, [1], graph, **none).num_arcs == 0
    lattice = fast_beam_search(model, only_a, [1], graph, beam=5.0)
    assert lattice.labels.tolist() == [A, -1] and lattice.graph_arc.tolist() == [0, -1]
    assert lattice.scores.tolist() == pytest.approx([-0.5, 0.0], abs=1e-5)


def logits(rng, frames, tokens, size=1):
    values = rng.normal(size=(frames, tokens**size, tokens)) * 2
    return torch.from_numpy(values.astype(np.float32))


def all_paths(table, graph, size, penalty, temperature):
    """(labels of frames, score) of all paths of a graph (src, dst, label, score) to its end."""
    frames, contexts, tokens = table.shape
    plain = table.clone()
    plain[..., 0] -= penalty
    scores = torch.log_softmax(plain / temperature, -1).double().numpy()
    final = max(dst for _, dst, _, _ in graph)
    ways = [((), 0, 0, 0.0)]
    for frame in range(frames):
        new = []
        for labels, context, state, total in ways:
            row = scores[frame, context]
            new.append(((*labels, 0), context, state, total + row[0]))
            for src, dst, label, score in graph:
                if src == state and label > 0:
                    after = (context * tokens + label) % contexts
                    new.append(((*labels, label), after, dst, total + score + row[label]))
        ways = new
    return [
        (labels, total + score)
        for labels, _, state, total in ways
        for src, dst, label, score in graph
        if src == state and dst == final
    ]


def rows_of(graph):
    return list(
        zip(*(getattr(graph, name).tolist() for name in ("src", "dst", "labels", "scores")))
    )


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("words", [False, True])
def test_a_wide_beam_holds_all_paths(size, words):
    model = table_transducer(3, size)
    graph = Fsa.from_graph(word_graph(-0.3), acceptor=True) if words else trivial_graph(2)
    for seed in range(5):
        table = logits(np.random.default_rng(seed), 4, 3, size)
        options = {"blank_penalty": 0.4, "temperature": 1.3}
        lattice = fast_beam_search(model, encoded(table), [4], graph, **WIDE, **options)
        wanted = all_paths(table, rows_of(graph), size, 0.4, 1.3)
        total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
        every = np.logaddexp.reduce([score for _, score in wanted])
        assert float(total[0]) == pytest.approx(every, abs=1e-4)
        labels, score = max(wanted, key=lambda way: way[1])
        found = best_path(model, encoded(table), graph=graph, **WIDE, **options)
        assert found == [(list(labels), pytest.approx(score, abs=1e-4))]


def test_limits_are_kept():
    model, rng = table_transducer(4), np.random.default_rng(0)
    outputs = encoded(logits(rng, 12, 4))
    wide, narrow = (
        fast_beam_search(model, outputs, [12], trivial_graph(3), max_contexts=most)
        for most in (4, 2)
    )
    assert wide.num_arcs > narrow.num_arcs
    states = [narrow.num_states - 2, wide.num_states - 2]  # without start and end
    assert states[0] <= 12 * 2 and states[1] > 12 * 2
    tight = fast_beam_search(model, outputs, [12], trivial_graph(3), beam=0.5)
    assert tight.num_arcs < narrow.num_arcs


@pytest.mark.parametrize("words", [False, True])
def test_a_batch_gives_what_its_rows_give(words):
    model, rng = table_transducer(3, 2), np.random.default_rng(1)
    graph = Fsa.from_graph(word_graph(), acceptor=True) if words else trivial_graph(2)
    lengths = [15, 0, 4, 9, 15]
    parts = [logits(rng, 15, 3, 2) for _ in lengths]
    together = best_path(model, encoded(*parts), lengths, graph)
    for part, length, (labels, score) in zip(parts, lengths, together):
        alone = best_path(model, encoded(part), [length], graph)
        assert alone == [(labels, pytest.approx(score, abs=1e-4))]
        assert len(labels) == (length if length or not words else 0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_contexts_are_those_of_the_predictors_own_forward(size, monkeypatch):
    torch.manual_seed(0)
    predictor = StatelessPredictor(4, 8, size).eval()
    joiner = SimpleNamespace(project_predictor=lambda x: x, output=SimpleNamespace(out_features=4))
    model = SimpleNamespace(predictor=predictor, joiner=joiner)
    contexts = Contexts(model, torch.device("cpu"))
    said = [row for n in range(size + 1) for row in itertools.product((1, 2, 3), repeat=n)]
    padded = np.array([(0,) * (size - len(row)) + row for row in said])
    order = np.random.default_rng(0).permutation(len(said))
    for part in (order[:3], order[2:9], order):
        found = contexts.outputs(padded[part])
        for row, place in zip(found, part):
            with torch.no_grad():
                wanted = predictor(torch.tensor([[0, *said[place]]]))[0, -1]
            assert torch.allclose(row, wanted, atol=1e-6)
    assert len(contexts) == len(said)
    monkeypatch.setattr("neve.decoding.transducer.fast_beam.MOST_CONTEXTS", 1)
    contexts.outputs(np.array([[0] * size]))
    assert len(contexts) == len(said)  # nothing was new
    contexts._clear()
    contexts.outputs(padded[:2])
    contexts.outputs(padded[2:4])
    assert len(contexts) == 2  # forgotten when there were too many
