"""Lattices of recordings in chunks: against those of the whole, and against all paths."""

import numpy as np
import pytest
import torch
from random_graphs import all_paths, cases, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    DenseFsaVec,
    Fsa,
    FsaVec,
    OnlineDenseIntersecter,
    ctc_topo,
    intersect_dense_pruned,
    linear_fsa,
    shortest_path,
)


def chunk_of(log_probs, *segments):
    return DenseFsaVec(log_probs, torch.tensor(segments, dtype=torch.int32).reshape(-1, 3))


def in_chunks(intersecter, log_probs, ends):
    """The lattice after each chunk of the one row of log_probs; chunks end at `ends`."""
    state, begin, found = None, 0, []
    for end in ends:
        lattice, (state,) = intersecter.decode(
            chunk_of(log_probs, (0, begin, end - begin)), [state]
        )
        assert state.num_frames == end
        found.append(lattice)
        begin = end
    return found


def same(a, b):
    names = ("src", "dst", "labels", "scores", "state_splits", "arc_splits", "arc_map_a", "frame")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_where_a_recording_is_cut_does_not_matter():
    for rng, where in cases():
        graph = random_fsa(rng, acyclic=False, aux=True, most_arcs=12)
        frames = int(rng.integers(0, 40))
        # multiples of 1/4, so that sums are exact, and beams that no difference hits
        log_probs = torch.from_numpy(rng.integers(-16, 1, (1, frames, 3)) / 4).float()
        search_beam, output_beam = rng.choice([0.6, 2.1, 5.1, 1e3]), rng.choice([0.6, 2.1, 5.1])
        # max_active / 2 <= min_active and never too many: all frames have the same rules
        low, high = (3, 6) if rng.random() < 0.7 else (0, 2)
        partial = bool(rng.random() < 0.5)
        beams = (float(search_beam), float(output_beam), low, high)
        intersecter = OnlineDenseIntersecter(
            graph, 1, *beams, allow_partial=partial, frame_idx_name="frame"
        )
        ends = sorted(rng.integers(0, frames + 1, rng.integers(0, 6)).tolist()) + [frames]
        found = in_chunks(intersecter, log_probs, ends)
        for lattice, end in zip(found, ends):
            (once,) = in_chunks(intersecter, log_probs, [end])
            assert same(lattice, once), where
        if high == 6:
            whole = intersect_dense_pruned(
                graph, chunk_of(log_probs, (0, 0, frames)), *beams, frame_idx_name="frame",
                allow_partial=partial,
            )  # fmt: skip
            assert same(found[-1], whole), where
            assert torch.equal(found[-1].aux_labels, whole.aux_labels), where


def test_what_is_kept_is_what_lies_near_the_best_path():
    for rng, where in cases():
        graph = random_fsa(rng, acyclic=False, most_arcs=8)
        frames, beam = int(rng.integers(0, 5)), float(rng.choice([0.6, 2.1, 100.0]))
        log_probs = torch.from_numpy(rng.integers(-8, 3, (1, frames, 3)) / 4).float()
        intersecter = OnlineDenseIntersecter(
            graph, 1, 1e9, beam, 0, 10**6, allow_partial=False, frame_idx_name="frame"
        )
        middle = int(rng.integers(0, frames + 1))
        *_, lattice = in_chunks(intersecter, log_probs, [middle, frames])
        paths = {
            path: sum(float(log_probs[0, t, graph.labels[e]]) for t, e in enumerate(path[:-1]))
            + sum(float(graph.scores[e]) for e in path)
            for path in all_paths(graph, frames + 1)
            if len(path) == frames + 1
        }
        cut = max(paths.values(), default=0) - beam
        wanted = {(t, e) for path, x in paths.items() if x >= cut for t, e in enumerate(path)}
        found = list(zip(lattice.frame.tolist(), lattice.arc_map_a.tolist()))
        assert set(found) == wanted and len(found) == len(wanted), where


@pytest.mark.parametrize("pruning", ["exact", "k2"])
def test_recordings_side_by_side_do_not_touch_each_other(pruning):
    generator = torch.Generator().manual_seed(3)
    log_probs = torch.randn(3, 30, 5, generator=generator).log_softmax(-1) * 3
    intersecter = OnlineDenseIntersecter(
        ctc_topo(4), 3, 8.0, 4.0, 1, 100, pruning=pruning, frame_idx_name="frame"
    )
    _, states = intersecter.decode(chunk_of(log_probs, (2, 0, 7), (0, 0, 12)), [None, None])
    chunks = chunk_of(log_probs, (0, 12, 18), (1, 0, 30), (2, 7, 4))
    together, after = intersecter.decode(chunks, [states[1], None, states[0]])
    assert [state.num_frames for state in after] == [30, 30, 11]
    for k, (row, ends) in enumerate(((0, [12, 30]), (1, [30]), (2, [7, 11]))):
        *_, alone = in_chunks(intersecter, log_probs[row : row + 1], ends)
        assert torch.equal(together[k].scores, alone.scores)
        assert torch.equal(together[k].arc_map_a, alone.arc_map_a)
        best = shortest_path(together)[k]
        wanted = log_probs[row, : ends[-1]].argmax(-1).tolist()
        assert best.labels.tolist() == [*wanted, -1]
        assert best.frame.tolist() == list(range(ends[-1] + 1))
    # states may be used again
    again, _ = intersecter.decode(chunks, [states[1], None, states[0]])
    assert torch.equal(again.scores, together.scores)


def test_the_pruning_of_chunks_keeps_what_lies_near_the_best_path():
    generator = torch.Generator().manual_seed(5)
    log_probs = torch.randn(1, 50, 5, generator=generator).log_softmax(-1)
    arcs = {}
    for pruning in ("exact", "k2"):
        intersecter = OnlineDenseIntersecter(
            ctc_topo(4), 1, 20.0, 3.0, 1, 100, pruning=pruning, frame_idx_name="frame"
        )
        *_, lattice = in_chunks(intersecter, log_probs, [10, 20, 35, 50])
        arcs[pruning] = set(zip(lattice.frame.tolist(), lattice.arc_map_a.tolist()))
    assert arcs["exact"] < arcs["k2"]


def test_partial_results_end_where_the_recording_is():
    chain, log_probs = linear_fsa([1, 2, 3]), torch.zeros(1, 3, 4)
    for partial, wanted in ((True, [1, 2, -1]), (False, [])):
        intersecter = OnlineDenseIntersecter(chain, 1, 9.0, 9.0, 1, 9, allow_partial=partial)
        lattice, states = intersecter.decode(chunk_of(log_probs, (0, 0, 2)), [None])
        assert lattice.labels.tolist() == wanted
        lattice, _ = intersecter.decode(chunk_of(log_probs, (0, 2, 1)), states)
        assert lattice.labels.tolist() == [1, 2, 3, -1]
        assert lattice.get_tot_scores().tolist() == [0.0]


def test_recordings_that_cannot_go_on_stay_without_paths():
    intersecter = OnlineDenseIntersecter(linear_fsa([1]), 1, 9.0, 9.0, 1, 9)
    log_probs = torch.zeros(1, 4, 2)
    for pruning in ("exact", "k2"):
        intersecter = OnlineDenseIntersecter(linear_fsa([1]), 1, 9.0, 9.0, 1, 9, pruning=pruning)
        *_, lattice = in_chunks(intersecter, log_probs, [1, 2, 2, 4])
        assert lattice.get_tot_scores().tolist() == [-np.inf]
    empty = OnlineDenseIntersecter(Fsa.from_str(""), 2, 9.0, 9.0, 1, 9)
    lattice, _ = empty.decode(chunk_of(log_probs, (0, 0, 2)), [None])
    assert lattice[0].num_states == 0


def test_bad_arguments_are_named():
    graph, beams = ctc_topo(3), (5.0, 5.0, 1, 9)
    chunk = chunk_of(torch.zeros(2, 3, 4), (0, 0, 3), (1, 0, 3))
    intersecter = OnlineDenseIntersecter(graph, 2, *beams)
    _, states = intersecter.decode(chunk, [None, None])
    other = OnlineDenseIntersecter(ctc_topo(3), 1, *beams)
    with pytest.raises(NeveError, match="dense_fsas: 2 segments, num_streams is 1"):
        other.decode(chunk, [None, None])
    with pytest.raises(NeveError, match="decode_states: 1 for 2 segments"):
        intersecter.decode(chunk, [None])
    one = chunk_of(torch.zeros(1, 3, 4), (0, 0, 3))
    for state in (states[0], 3):
        with pytest.raises(NeveError, match="number 0 is not a state of this intersecter"):
            other.decode(one, [state])
    with pytest.raises(NeveError, match="3 classes, but the graph has label 3"):
        other.decode(chunk_of(torch.zeros(1, 3, 3), (0, 0, 3)), [None])
    with pytest.raises(NeveError, match="one graph for all is needed, not 2"):
        OnlineDenseIntersecter(FsaVec([graph, graph]), 2, *beams)
    for position, name in ((1, "num_streams"), (2, "search_beam"), (3, "output_beam")):
        arguments = [graph, 2, *beams]
        arguments[position] = 0
        with pytest.raises(NeveError, match=f"{name} must be positive"):
            OnlineDenseIntersecter(*arguments)
    with pytest.raises(NeveError, match="pruning: must be exact or k2"):
        OnlineDenseIntersecter(graph, 2, *beams, pruning="odd")
