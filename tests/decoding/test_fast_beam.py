"""Fast beam search of transducers: examples worked by hand, and all paths there are."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from table_transducer import encoded, table_transducer

from neve.decoding.transducer import greedy_search, modified_beam_search
from neve.decoding.transducer.fast_beam import fast_beam_search, histories_of, numbered
from neve.decoding.transducer.histories import Contexts
from neve.fsa import Fsa, Graph, shortest_path, trivial_graph
from neve.graphs import BiasingGraph
from neve.kernels.streams import Listed
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


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("words", [False, True])
def test_a_batch_gives_what_its_rows_give(words, listed):
    model, rng = table_transducer(3, 2), np.random.default_rng(1)
    options = {}
    if listed:
        options["phrases"] = listed_tokens([[A, B, B], [B, A]], [0.5, 0.8])
        if words:
            said = word_graph().aux_splits, word_graph().aux_values
            options["phrases"] = Listed(options["phrases"].phrases, *said)
    graph = Fsa.from_graph(word_graph(), acceptor=True) if words else trivial_graph(2)
    lengths = [15, 0, 4, 9, 15]
    parts = [logits(rng, 15, 3, 2) for _ in lengths]
    together = best_path(model, encoded(*parts), lengths, graph, **options)
    for part, length, (labels, score) in zip(parts, lengths, together):
        alone = best_path(model, encoded(part), [length], graph, **options)
        assert alone == [(labels, pytest.approx(score, abs=1e-4))]
        assert len(labels) == (length if length or not words else 0)


# Listed phrases


def listed_tokens(phrases, boosts):
    """Phrases over the tokens A and B, which the arcs of the trivial graph say."""
    said = np.array([0, 1, 2, 2], np.int32), np.array([A, B], np.int32)
    return Listed(BiasingGraph(phrases, boosts).automaton, *said)


def test_a_listed_phrase_wins_and_one_that_is_only_begun_earns_nothing():
    # in each of two frames A is heard with 0.6, B with 0.4
    model = table_transducer(3)
    outputs = encoded(tables(*[{context: (0, 0.6, 0.4) for context in range(3)}] * 2))
    plain = best_path(model, outputs)
    assert plain == [([A, A], pytest.approx(np.log(0.36), abs=1e-5))]
    # B A is 0.24, and 0.6 more
    found = best_path(model, outputs, phrases=listed_tokens([[B, A]], 0.3))
    assert found == [([B, A], pytest.approx(np.log(0.24) + 0.6, abs=1e-5))]
    assert best_path(model, outputs, phrases=listed_tokens([[B, A]], 0.2)) == plain
    assert best_path(model, outputs, phrases=listed_tokens([[B, B, A]], 0.3)) == plain
    # what B and A have earned is given back at the end
    found = best_path(model, outputs, phrases=listed_tokens([[B, A, B]], 5.0))
    assert found == plain


def test_a_listed_phrase_is_not_pruned_before_it_is_whole():
    # B is worse than A by 2.94, and after either comes A
    model = table_transducer(3)
    rows = [{context: (0, p, 1 - p) for context in range(3)} for p in (0.95, 1.0)]
    outputs = encoded(tables(*rows))
    narrow = {"beam": 2.5, "max_states": 4}
    assert best_path(model, outputs, **narrow)[0][0] == [A, A]
    ((labels, score),) = best_path(model, outputs, phrases=listed_tokens([[B, A]], 1.6), **narrow)
    assert labels == [B, A] and score == pytest.approx(np.log(0.05) + 3.2, abs=1e-4)
    assert best_path(model, outputs, phrases=listed_tokens([[B, A]], 1.4), **narrow)[0][0] == [A, A]


def said_words(labels):
    """The words of `word_graph` that tokens spell."""
    said, tokens = [], tokens_of(labels)
    while tokens:
        said.append(1 if tokens[0] == A else 2)
        tokens = tokens[1 + (tokens[0] == A) :]
    return said


@pytest.mark.parametrize("words", [False, True])
def test_all_paths_of_a_wide_beam_have_the_bonus_of_what_they_say(words):
    model, plain = table_transducer(3, 2), word_graph(-0.3)
    graph = Fsa.from_graph(plain, acceptor=True) if words else trivial_graph(2)
    for seed in range(4):
        draw = np.random.default_rng(seed)
        table = logits(draw, 4, 3, 2)
        phrases = [draw.integers(1, 3, draw.integers(1, 4)).tolist() for _ in range(3)]
        boosts = draw.normal(size=3)
        biasing, listed = BiasingGraph(phrases, boosts), listed_tokens(phrases, boosts)
        if words:
            listed = Listed(biasing.automaton, plain.aux_splits, plain.aux_values)
        wanted = [
            (labels, score + biasing.score(said_words(labels) if words else tokens_of(labels)))
            for labels, score in all_paths(table, rows_of(graph), 2, 0.0, 1.0)
        ]
        lattice = fast_beam_search(model, encoded(table), [4], graph, phrases=listed, **WIDE)
        total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
        every = np.logaddexp.reduce([score for _, score in wanted])
        assert float(total[0]) == pytest.approx(every, abs=1e-4)
        labels, score = max(wanted, key=lambda way: way[1])
        (found,) = best_path(model, encoded(table), graph=graph, phrases=listed, **WIDE)
        assert found == (list(labels), pytest.approx(score, abs=1e-4))


def test_what_does_not_end_gives_its_loans_back():
    model = table_transducer(3)
    graph = Fsa.from_graph(word_graph(), acceptor=True)
    only_a = encoded(tables({context: (0, 1, 0) for context in range(3)}))
    plain = word_graph()
    biasing = BiasingGraph([[1, 2]], 2.0)  # the word A A is said with its first A
    listed = Listed(biasing.automaton, plain.aux_splits, plain.aux_values)
    lattice = fast_beam_search(model, only_a, [1], graph, beam=5.0, phrases=listed)
    assert lattice.scores.tolist() == pytest.approx([-0.5 + 2.0, -2.0], abs=1e-5)


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
    keys = np.array([*histories_of(torch.from_numpy(padded)), None], object)[:-1]
    for part in (order[:3], order[2:9], order):
        found = contexts.outputs(keys[part])
        for row, place in zip(found, part):
            with torch.no_grad():
                wanted = predictor(torch.tensor([[0, *said[place]]]))[0, -1]
            assert torch.allclose(row, wanted, atol=1e-6)
    assert len(contexts) == len(said)
    monkeypatch.setattr("neve.decoding.transducer.histories.MOST_CONTEXTS", 1)
    contexts.outputs(keys[:2])
    contexts.outputs(keys[2:4])
    assert len(contexts) == 2  # forgotten when there were too many
