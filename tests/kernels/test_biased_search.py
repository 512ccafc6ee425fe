"""Searches with listed phrases: against all paths, and the same search with dictionaries."""

import numpy as np
import pytest
from phrase_bonus import defined

from neve.graphs import BiasingGraph
from neve.kernels import (
    Graph,
    biased_lattice_search,
    biased_one_best,
    lattice_search,
    one_best,
    prefix_beam_search,
)
from neve.kernels.phrases import no_phrases
from neve.kernels.token_passing import next_beam

WIDE = {"search_beam": 1e6, "min_active": 0, "max_active": 10**6}
# they overlap, begin and end with one another, and one of them is to be avoided
PHRASES = [[1, 2], [2, 3, 1], [2, 3], [1, 1, 1, 2], [3], [4, 4]]
BOOSTS = [1.0, 2.5, 0.75, 3.0, -1.5, 2.0]


def random_graph(rng, num_states=5, num_arcs=14):
    """Arcs with none to two of the words 1 to 5, also those that end."""
    final = num_states - 1
    arcs = [(*rng.integers(0, final, 2), rng.integers(0, 4)) for _ in range(num_arcs)]
    arcs += [(state, final, -1) for state in rng.integers(0, final, 2)]
    src, dst, labels = np.array(arcs).T
    said = [rng.integers(1, 6, rng.integers(0, 3)).tolist() for _ in arcs]
    splits = np.cumsum([0, *map(len, said)])
    scores = rng.integers(-8, 1, len(arcs)) / 4
    return Graph.from_arcs(num_states, src, dst, labels, scores, sum(said, []), splits)


def task(seed, frames=7):
    rng = np.random.default_rng(seed)
    log_probs = rng.integers(-20, 1, (1, frames, 4)).astype(np.float32) / 4
    return random_graph(rng), log_probs, np.array([frames])


def all_paths(graph, log_probs):
    """{arcs: score without bonuses} of all whole paths."""
    found, frames = {}, len(log_probs)
    wave = [((), 0, 0.0)]
    for frame in range(frames + 1):
        wave, old = [], wave
        for arcs, state, score in old:
            for e in range(graph.row_splits[state], graph.row_splits[state + 1]):
                label, more = graph.labels[e], score + float(graph.scores[e])
                if (label == -1) != (frame == frames):
                    continue
                if label == -1:
                    found[(*arcs, e)] = more
                else:
                    more += float(log_probs[frame, label])
                    wave.append(((*arcs, e), graph.dst[e], more))
    return found


def earned(graph, arcs):
    words, _ = graph.words(np.array(arcs))
    return defined(PHRASES, BOOSTS, words.tolist())


@pytest.mark.parametrize("seed", range(12))
def test_the_best_path_and_all_of_the_lattice_are_those_of_brute_force(seed):
    graph, log_probs, lengths = task(seed)
    phrases = BiasingGraph(PHRASES, BOOSTS).automaton
    wanted = {
        arcs: score + earned(graph, arcs) for arcs, score in all_paths(graph, log_probs[0]).items()
    }
    (path,) = biased_one_best(graph, phrases, log_probs, lengths, **WIDE)
    if not wanted:
        assert path.score == -np.inf
        return
    assert path.score == pytest.approx(max(wanted.values()))
    arcs = tuple(path.arcs.tolist())
    assert wanted[arcs] == pytest.approx(path.score)
    assert path.arc_scores.sum() + earned(graph, arcs) == pytest.approx(path.score)
    for beam in (1e6, 6.0):
        (lattice,) = biased_lattice_search(
            graph, phrases, log_probs, lengths, output_beam=beam, **WIDE
        )
        found = {}
        rows = np.searchsorted(lattice.src, np.arange(lattice.num_states + 1))
        wave = [((), 0, 0.0)]
        while wave:
            said, state, score = wave.pop()
            for e in range(rows[state], rows[state + 1]):
                one = ((*said, lattice.arc_map[e]), lattice.dst[e], score + lattice.scores[e])
                if lattice.labels[e] == -1:
                    found[one[0]] = one[2]
                else:
                    wave.append(one)
        near = {arcs: score for arcs, score in wanted.items() if score >= path.score - beam + 1e-3}
        assert near.keys() <= found.keys() <= wanted.keys()
        for arcs, score in found.items():
            assert score == pytest.approx(wanted[arcs], abs=1e-4)


def with_dictionaries(graph, biasing, log_probs, search_beam, min_active, max_active):
    """The best score, by a search that keeps {(state, of phrases): score}."""
    alive, beam, frames = {(0, 0): 0.0}, np.float32(search_beam), len(log_probs) + 1
    for t in range(frames):
        beam = next_beam(
            beam, np.float32(search_beam), len(alive), t, frames, min_active, max_active
        )
        ends = []
        for (state, before), score in alive.items():
            for e in range(graph.row_splits[state], graph.row_splits[state + 1]):
                label = graph.labels[e]
                if (label == -1) != (t == frames - 1):
                    continue
                end, after = score + float(graph.scores[e]), before
                end += 0.0 if label == -1 else float(log_probs[t, label])
                for word in graph.aux_values[graph.aux_splits[e] : graph.aux_splits[e + 1]]:
                    after, more = biasing.step(after, int(word))
                    end += more
                if label == -1:
                    end, after = end + biasing.finish(after), 0
                ends.append(((int(graph.dst[e]), after), end))
        cut = max((end for _, end in ends), default=0.0) - beam
        alive = {}
        for pair, end in ends:
            if end > cut:
                alive[pair] = max(end, alive.get(pair, -np.inf))
    return alive.get((graph.num_states - 1, 0), -np.inf)


@pytest.mark.parametrize("beams", [(3.1, 1, 100), (8.1, 3, 6), (2.1, 0, 3)])
def test_pruning_heeds_the_bonuses(beams):
    differs = 0
    for seed in range(20):
        graph, log_probs, lengths = task(seed, 15)
        biasing = BiasingGraph(PHRASES, BOOSTS)
        wanted = with_dictionaries(graph, biasing, log_probs[0], *beams)
        (path,) = biased_one_best(graph, biasing.automaton, log_probs, lengths, *beams)
        assert path.score == pytest.approx(wanted, abs=1e-4)
        (wide,) = biased_one_best(graph, biasing.automaton, log_probs, lengths, **WIDE)
        differs += wide.score > path.score + 1e-3
    assert differs  # something was pruned


def test_without_phrases_nothing_changes_and_rows_are_independent():
    for seed in range(8):
        graph, _, _ = task(seed)
        rng = np.random.default_rng(seed)
        log_probs = (-rng.random((3, 40, 4)) * 5).astype(np.float32)
        lengths = np.array([40, 0, 25])
        for partial in (False, True):
            given = (log_probs, lengths, 8.0, 2, 50, partial)
            plain = one_best(graph, *given)
            biased = biased_one_best(graph, no_phrases(), *given)
            for one, other in zip(plain, biased, strict=True):
                assert one.arcs.tolist() == other.arcs.tolist()
                assert one.score == other.score
            given = (log_probs, lengths, 8.0, 5.0, 2, 50, partial)
            plain = lattice_search(graph, *given)
            biased = biased_lattice_search(graph, no_phrases(), *given)
            for one, other in zip(plain, biased, strict=True):
                assert one.num_states == other.num_states
                for name in ("src", "dst", "arc_map", "scores", "frames"):
                    assert getattr(one, name).tolist() == getattr(other, name).tolist()
            phrases = BiasingGraph(PHRASES, BOOSTS).automaton
            given = (8.0, 2, 50, partial)
            together = biased_one_best(graph, phrases, log_probs, lengths, *given, threads=2)
            for row in range(len(lengths)):
                (alone,) = biased_one_best(
                    graph, phrases, log_probs[row : row + 1], lengths[row : row + 1], *given
                )
                assert alone.arcs.tolist() == together[row].arcs.tolist()


def test_a_path_that_is_cut_short_keeps_what_is_whole():
    # words 1 2, where the graph goes on by word 3 and the scores do not
    graph = Graph.from_arcs(5, [0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, -1], [0.0] * 4, [1, 2, 3, 0])
    log_probs = np.full((1, 2, 4), -9.0, np.float32)
    log_probs[0, 0, 1] = log_probs[0, 1, 2] = -0.5
    biasing = BiasingGraph([[1, 2], [2, 3]], [1.0, 4.0])
    given = (log_probs, np.array([2]), 20.0, 1, 10, True)
    (path,) = biased_one_best(graph, biasing.automaton, *given)
    assert path.arcs.tolist() == [0, 1] and path.score == pytest.approx(-1.0 + 2.0)
    (lattice,) = biased_lattice_search(graph, biasing.automaton, *given[:2], 20.0, 8.0, 1, 10, True)
    assert lattice.scores.sum() == pytest.approx(path.score)


@pytest.mark.parametrize("frames", [4, 5])
def test_all_alignments_of_prefixes_get_the_bonus_of_their_tokens(frames):
    scores = np.random.default_rng(frames).normal(size=(2, frames, 4)) * 2
    scores -= np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    scores, lengths = scores.astype(np.float32), np.full(2, frames)
    biasing = BiasingGraph(PHRASES, BOOSTS)
    plain = prefix_beam_search(scores, lengths, 2000)
    rows = prefix_beam_search(scores, lengths, 2000, phrases=biasing.automaton)
    for before, after in zip(plain, rows, strict=True):
        wanted = {tuple(one.tokens): one.score + biasing.score(one.tokens) for one in before}
        found = {tuple(one.tokens): one.score for one in after}
        assert found == pytest.approx(wanted, abs=1e-5)
        ordered = [one.score for one in after]
        assert ordered == sorted(ordered, reverse=True)


def test_a_narrow_prefix_beam_keeps_a_listed_token_that_is_not_among_the_best():
    scores = np.full((1, 3, 9), -9.0, np.float32)
    scores[0, :, 1:7] = np.log([0.3, 0.2, 0.15, 0.1, 0.1, 0.05])
    scores[0, 1, 0] = -0.1
    biasing = BiasingGraph([[6, 7]], 9.0)
    ((best,),) = prefix_beam_search(scores, np.array([3]), 1, phrases=biasing.automaton)
    assert best.tokens[:2] == [6, 7]
