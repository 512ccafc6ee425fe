"""Lattices, scores of states, totals, posteriors and paths, against the real k2."""

import numpy as np
import pytest
import torch
from oracle_graphs import graph, graphs, rows

import neve.fsa as fsa
from neve.fsa.backends.k2.travel import from_fsa, to_fsa

TOTAL, GRADIENT = 1e-3, 2e-4
SEMIRINGS = pytest.mark.parametrize("log_semiring", [False, True])
ACTIVE = ((0, 4), (3, 8), (0, 1000), (30, 1000))  # k2 wants fewer at least than at most
DOUBLE = pytest.mark.parametrize("use_double_scores", [False, True])


def decoding_graph(rng, classes: int, states: int = 12, arcs: int = 40, ends=False) -> fsa.Fsa:
    """A graph without epsilons whose labels are classes, with aux_labels; connected or not.

    It ends in three states, or (`ends`) everywhere.
    """
    table = np.stack(
        (
            np.sort(rng.integers(0, states - 1, arcs)),
            rng.integers(0, states - 1, arcs),
            rng.integers(0, classes, arcs),
        ),
        axis=1,
    )
    last = range(states - 1) if ends else rng.choice(states - 1, 3, replace=False)
    table = np.concatenate((table, [[s, states - 1, -1] for s in last]))
    table = table[np.argsort(table[:, 0], kind="stable")].astype(np.int32)
    bits = rng.normal(size=len(table)).astype(np.float32).view(np.int32)
    found = fsa.Fsa(torch.from_numpy(np.column_stack((table, bits))), num_states=states)
    words = torch.from_numpy(rng.integers(0, 5, len(table)).astype(np.int32))
    found.aux_labels = torch.where(found.labels == -1, -1, words)
    return found


def dense_case(rng, batch: int, classes: int, longest: int = 50):
    """(log_probs, segments (batch, 3) of falling lengths)."""
    lengths = -np.sort(-rng.integers(1, longest, batch))
    sharp = float(rng.choice([1.0, 3.0]))
    scores = rng.normal(size=(batch, int(lengths[0]), classes)).astype(np.float32) * sharp
    order = rng.permutation(batch)
    padded = np.zeros_like(scores)
    padded[order] = scores
    segments = np.stack((order, np.zeros_like(order), lengths), axis=1).astype(np.int32)
    return torch.from_numpy(padded).log_softmax(-1), torch.from_numpy(segments)


def lattice_rows(lattice: fsa.Fsa, arc: str, frame: str):
    """(automaton, label, (frame, arc of the graph)) of each arc, and the scores."""
    return rows(lattice, frame, arc, states=False)


def compare_lattices(comparison, ours, theirs, log_probs, decoding) -> None:
    wanted = to_fsa(theirs["lattice"])
    comparison.same("number of arcs", ours.arc_splits, wanted.arc_splits)
    (mine, scores), (other, wanted_scores) = (
        lattice_rows(ours, "arc_map_a", "frame"),
        lattice_rows(wanted, "from_arc", "frame"),
    )
    comparison.same("arcs", mine, other)
    comparison.close("scores", scores, wanted_scores, 1e-4)
    comparison.same("aux_labels", *(rows(x, "aux_labels", states=False)[0] for x in (ours, wanted)))
    totals = ours.get_tot_scores(use_double_scores=True, log_semiring=True)
    comparison.close("log totals", totals, theirs["totals"], TOTAL)
    finite = totals[torch.isfinite(totals)]
    if len(finite):
        finite.sum().backward()
        for name, leaf, wanted in zip(
            ("d graph", "d log_probs"), (decoding.scores, log_probs), theirs["grads"]
        ):
            comparison.close(name, leaf.grad, wanted, GRADIENT)


def test_intersect_dense_pruned(comparison):
    for rng in comparison.cases():
        classes, batch = int(rng.integers(3, 12)), int(rng.integers(1, 4))
        decoding = decoding_graph(rng, classes)
        log_probs, segments = dense_case(rng, batch, classes)
        beams = (
            float(rng.choice([2.0, 5.0, 20.0])),
            float(rng.choice([1.0, 4.0, 8.0])),
            *ACTIVE[rng.integers(len(ACTIVE))],
        )
        theirs = comparison.call(
            "intersect_dense_pruned", graph=from_fsa(decoding), log_probs=log_probs,
            segments=segments, search_beam=beams[0], output_beam=beams[1], min_active=beams[2],
            max_active=beams[3], backward=True,
        )  # fmt: skip
        decoding.requires_grad_(True)
        log_probs.requires_grad_(True)
        ours = fsa.intersect_dense_pruned(
            decoding, fsa.DenseFsaVec(log_probs, segments), *beams, frame_idx_name="frame",
            pruning="k2",
        )  # fmt: skip
        compare_lattices(comparison, ours, theirs, log_probs, decoding)


def test_intersect_dense(comparison):
    for rng in comparison.cases():
        classes, batch = int(rng.integers(3, 12)), int(rng.integers(1, 4))
        decoding = fsa.FsaVec([decoding_graph(rng, classes) for _ in range(batch)])
        log_probs, segments = dense_case(rng, batch, classes, 30)
        beam = float(rng.choice([1.0, 4.0, 10.0]))
        theirs = comparison.call(
            "intersect_dense", graphs=from_fsa(decoding), log_probs=log_probs, segments=segments,
            output_beam=beam, backward=True,
        )  # fmt: skip
        decoding.requires_grad_(True)
        log_probs.requires_grad_(True)
        ours = fsa.intersect_dense(
            decoding, fsa.DenseFsaVec(log_probs, segments), beam, frame_idx_name="frame"
        )
        compare_lattices(comparison, ours, theirs, log_probs, decoding)


def test_best_paths_through_a_graph(comparison):
    """one_best, which makes no lattice, against k2's lattice and best path."""
    for rng in comparison.cases():
        classes = int(rng.integers(3, 12))
        decoding = decoding_graph(rng, classes)
        log_probs, segments = dense_case(rng, 2, classes)
        beams = {"search_beam": 20.0, "output_beam": 8.0, "min_active": 30, "max_active": 1000}
        theirs = comparison.call(
            "intersect_dense_pruned", graph=from_fsa(decoding), log_probs=log_probs,
            segments=segments, **beams,
        )["lattice"]  # fmt: skip
        best = to_fsa(comparison.call("shortest_path", arguments=[theirs, True]))
        beams.pop("output_beam")
        lengths = torch.zeros(2, dtype=torch.int64)
        lengths[segments[:, 0].long()] = segments[:, 2].long()
        paths = fsa.one_best(decoding.to_graph(), log_probs, lengths, **beams)
        for position, row in enumerate(segments[:, 0].tolist()):
            one = best[position]
            sums = [
                exact_score(decoding, log_probs[row], arcs)
                for arcs in (paths[row].arcs, one.from_arc.numpy())
            ]
            comparison.close("score", *sums, 1e-5)
            if one.num_arcs:
                comparison.close("score told", paths[row].score, sums[1], TOTAL)
            # loops in another order make paths of one score
            if len(paths[row].arcs) == one.num_arcs and sums[0] == sums[1]:
                continue
            comparison.same("arcs", paths[row].arcs, one.from_arc)


def exact_score(decoding, log_probs, arcs) -> float:
    """The score of a path of these arcs of the graph, one a frame, in float64."""
    arcs = torch.from_numpy(np.array(arcs, np.int64))
    scores = decoding.scores[arcs].double().sum()
    frames = torch.arange(len(log_probs))[: max(0, len(arcs) - 1)]
    return float(scores + log_probs[frames, decoding.labels[arcs[:-1]].long()].double().sum())


@DOUBLE
@SEMIRINGS
def test_scores(comparison, log_semiring, use_double_scores):
    options = {"log_semiring": log_semiring, "use_double_scores": use_double_scores}
    for rng in comparison.cases():
        ours = graphs(rng)
        arrays = from_fsa(ours)
        ours.requires_grad_(True)
        for direction in ("forward", "backward"):
            weights = rng.normal(size=ours.num_states)
            theirs = comparison.call(
                "state_scores", fsa=arrays, direction=direction, grad=weights, **options
            )
            found = getattr(ours, f"get_{direction}_scores")(use_double_scores, log_semiring)
            comparison.close(direction, found, theirs["scores"], 1e-4)
            use = torch.isfinite(found)
            weights = torch.from_numpy(weights).to(found.dtype)
            (grad,) = torch.autograd.grad((found[use] * weights[use]).sum(), ours.scores)
            comparison.close(f"d {direction}", grad, theirs["grad"], GRADIENT)
        theirs = comparison.call("tot_scores", fsa=arrays, **options)
        totals = ours.get_tot_scores(use_double_scores, log_semiring)
        comparison.close("total", totals, theirs["totals"], 1e-4)
        (grad,) = torch.autograd.grad(totals.sum(), ours.scores)
        comparison.close("d total", grad, theirs["grad"], GRADIENT)
        if log_semiring:
            weights = rng.normal(size=ours.num_arcs)
            theirs = comparison.call("arc_post", fsa=arrays, grad=weights, **options)
            post = ours.get_arc_post(use_double_scores, log_semiring)
            comparison.close("arc_post", post, theirs["post"], 1e-4)
            use = torch.isfinite(post)
            weights = torch.from_numpy(weights).to(post.dtype)
            (grad,) = torch.autograd.grad((post[use] * weights[use]).sum(), ours.scores)
            comparison.close("d arc_post", grad, theirs["grad"], GRADIENT)


@DOUBLE
def test_shortest_path(comparison, use_double_scores):
    for rng in comparison.cases():
        ours = graphs(rng, aux=True)
        arrays = from_fsa(ours)
        theirs = to_fsa(comparison.call("shortest_path", arguments=[arrays, use_double_scores]))
        found = fsa.shortest_path(ours, use_double_scores)
        for one, other in zip(rows(found, "aux_labels"), rows(theirs, "aux_labels")):
            comparison.same("arcs", one, other)


def test_shortest_path_of_ties(comparison):
    """Whole scores: which of equal paths is taken is part of the specification."""
    for rng in comparison.cases():
        ours = graphs(rng, most_arcs=20)
        ours.scores = ours.scores.round()
        ours.number = torch.arange(ours.num_arcs, dtype=torch.int32)
        theirs = to_fsa(comparison.call("shortest_path", arguments=[from_fsa(ours), True]))
        comparison.same("arcs", fsa.shortest_path(ours, True).number, theirs.number)


def test_random_paths(comparison):
    for rng in comparison.cases():
        ours = graphs(rng)
        count = int(rng.integers(1, 12))
        theirs = comparison.call(
            "random_paths", fsa=from_fsa(ours), use_double_scores=True, num_paths=count
        )
        comparison.same("paths", fsa.random_paths(ours, True, count).tolist(), theirs)


def test_prune_on_arc_post(comparison):
    for rng in comparison.cases():
        ours = graphs(rng)
        threshold = float(rng.uniform(0.02, 0.5))
        arguments = [from_fsa(ours), threshold, True]
        theirs = to_fsa(comparison.call("prune_on_arc_post", arguments=arguments))
        found = fsa.prune_on_arc_post(ours, threshold, True)
        comparison.same("arcs", rows(found)[0], rows(theirs)[0])


def test_intersect_dense_online(comparison):
    """Graphs that can end everywhere: 1.23.4 goes on from states only that could have ended.

    It cuts lattices where chunks meet, so that its totals are lower but for short first chunks.
    """
    for rng in comparison.cases():
        classes, streams = int(rng.integers(3, 12)), int(rng.integers(1, 4))
        decoding = decoding_graph(rng, classes, ends=True)
        beams = (20.0, 20.0, 3, 1000)
        sizes = rng.integers(1, 11, int(rng.integers(1, 4)))
        chunks = [
            torch.from_numpy(rng.normal(size=(streams, n, classes)).astype(np.float32))
            for n in sizes.tolist()
        ]
        chunks = [chunk.log_softmax(-1) for chunk in chunks]
        theirs = comparison.call(
            "intersect_dense_online", graph=from_fsa(decoding), chunks=chunks, num_streams=streams,
            search_beam=beams[0], output_beam=beams[1], min_active=beams[2], max_active=beams[3],
        )  # fmt: skip
        intersecter = fsa.OnlineDenseIntersecter(decoding, streams, *beams)
        states = [None] * streams
        for number, (chunk, wanted) in enumerate(zip(chunks, theirs)):
            segments = [[stream, 0, chunk.shape[1]] for stream in range(streams)]
            dense = fsa.DenseFsaVec(chunk, torch.tensor(segments, dtype=torch.int32))
            lattice, states = intersecter.decode(dense, states)
            wanted = to_fsa(wanted)
            if number == 0:
                comparison.same(
                    "arcs at first", *(rows(x, states=False)[0] for x in (lattice, wanted))
                )
            totals, wanted_totals = (x.get_tot_scores(True, True) for x in (lattice, wanted))
            comparison.close("log totals", totals, wanted_totals, TOTAL if number == 0 else 0.01)
            best = [fsa.shortest_path(x, True) for x in (lattice, wanted)]
            comparison.close(
                "scores of best paths", *(x.get_tot_scores(True, False) for x in best), TOTAL
            )
            comparison.same("best paths", best[0].labels, best[1].labels)
            comparison.same("words", best[0].aux_labels, best[1].aux_labels)


def test_nbest(comparison):
    """Which of several paths of the same words stands for them is not specified: words are."""
    for rng in comparison.cases():
        ours = graphs(rng, aux=True, labels=(1, 2))
        count = int(rng.integers(1, 12))
        theirs = comparison.call("nbest", lattice=from_fsa(ours), num_paths=count, nbest_scale=0.5)
        found = fsa.Nbest.from_lattice(ours, count, use_double_scores=True, nbest_scale=0.5)
        splits = [found.shape.row_splits(1).tolist(), theirs["splits"].tolist()]
        comparison.same("paths of each lattice", *splits)
        words = [sorted_words(x, splits[0]) for x in (found.fsa, to_fsa(theirs["fsa"]))]
        comparison.same("words", *words)


def sorted_words(paths: fsa.Fsa, splits: list[int]) -> list[list]:
    words = [tuple(row) for row in fsa.get_aux_labels(paths)]
    return [sorted(words[a:b]) for a, b in zip(splits, splits[1:])]


def test_mwer_loss(comparison):
    """Lattices whose paths all have words of their own, so that nothing is left open."""
    for rng in comparison.cases():
        ours = graphs(rng, labels=(1, 2), most=3)
        ours.aux_labels = torch.where(
            ours.labels == -1, -1, torch.arange(1, ours.num_arcs + 1, dtype=torch.int32)
        )
        totals = ours.get_tot_scores(True, True)
        if not torch.isfinite(totals).all() or any(same_words(one) for one in ours):
            continue
        refs = [rng.integers(1, ours.num_arcs + 1, rng.integers(1, 5)).tolist() for _ in totals]
        options = {"nbest_scale": 0.5, "num_paths": 20, "temperature": 1.0}
        theirs = comparison.call("mwer_loss", lattice=from_fsa(ours), ref_texts=refs, **options)
        ours.requires_grad_(True)
        loss = fsa.mwer_loss(ours, refs, use_double_scores=True, reduction="sum", **options)
        comparison.close("loss", loss, theirs["loss"], 1e-4)
        loss.backward()
        comparison.close("d scores", ours.grad, theirs["grad"], GRADIENT)


def same_words(lattice) -> bool:
    """Whether two of its paths differ in their ends alone."""
    ends = lattice.src[lattice.labels == -1].tolist()
    return len(set(ends)) < len(ends)


@pytest.mark.parametrize("history", [1, 2])
def test_rnnt_decoding_streams(comparison, history):
    for rng in comparison.cases():
        vocab = int(rng.integers(3, 7))
        decoding = [stream_graph(rng, vocab) for _ in range(int(rng.integers(1, 4)))]
        frames = int(rng.integers(1, 12))
        log_probs = rng.normal(size=(frames, len(decoding), vocab)).astype(np.float32) * 2
        table = rng.normal(size=(vocab, vocab)).astype(np.float32)
        limits = {
            "beam": float(rng.choice([4.0, 20.0])),
            "max_states": int(rng.choice([4, 64])),
            "max_contexts": int(rng.choice([2, 8])),
        }
        theirs = comparison.call(
            "rnnt_streams", graphs=[from_fsa(one) for one in decoding], vocab_size=vocab,
            num_history=history, log_probs=log_probs, table=table, **limits,
        )  # fmt: skip
        config = fsa.RnntDecodingConfig(vocab, history, **limits)
        streams = [fsa.RnntDecodingStream(one) for one in decoding]
        together = fsa.RnntDecodingStreams(streams, config)
        for frame, (splits, wanted) in zip(log_probs, theirs["contexts"]):
            shape, contexts = together.get_contexts()
            comparison.same("contexts", contexts, wanted)
            comparison.same("contexts of streams", shape.row_splits(1), splits)
            owner = np.repeat(np.arange(len(decoding)), np.diff(splits))
            scores = frame[owner] + table[contexts.numpy()].sum(axis=1)
            together.advance(torch.from_numpy(scores.astype(np.float32)))
        together.terminate_and_flush_to_streams()
        lattice = together.format_output([frames] * len(decoding), allow_partial=True)
        wanted = to_fsa(theirs["lattice"])
        (arcs, scores), (others, wanted_scores) = rows(lattice), rows(wanted)
        comparison.same("arcs", arcs, others)
        comparison.close("scores", scores, wanted_scores, 1e-4)


def stream_graph(rng, vocab: int) -> fsa.Fsa:
    if rng.random() < 0.3:
        return fsa.trivial_graph(vocab - 1)
    return graph(rng, acyclic=False, labels=tuple(range(1, vocab)))
