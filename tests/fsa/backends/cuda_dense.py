"""Family dense of backend cuda against the searches on the CPU; `test_cuda.py` runs this file."""

import os

import numpy as np
import pytest
import torch

from neve.errors import NeveError
from neve.fsa import (
    DenseFsaVec,
    RaggedTensor,
    ctc_graph,
    exact_ctc_loss,
    intersect_dense,
    intersect_dense_pruned,
    shortest_path,
)
from neve.fsa.backends import use
from neve.fsa.backends.cpu import dense as cpu
from neve.fsa.backends.cuda import dense, scores, trellis
from neve.fsa.backends.structures import Graphs, Lattices
from neve.kernels import Graph, lattice_search, one_best

DEVICE = os.environ["NEVE_TEST_DEVICE"]
CLASSES = 4


@pytest.fixture(autouse=True)
def few_lanes(monkeypatch):
    """So few lanes and so little room that blocks end everywhere and some searches are repeated."""
    monkeypatch.setattr(dense, "LANES", 8)
    monkeypatch.setattr(scores, "LANES", 32)
    monkeypatch.setattr(trellis, "LANES", 8)
    monkeypatch.setattr(dense, "TOKENS_A_FRAME", 4)
    monkeypatch.setattr(dense, "ARCS", 64)


def random_graph(rng):
    """Up to 6 states with loops, parallel arcs and ties; the last one is final."""
    num_states = int(rng.integers(2, 7))
    arcs = []
    for state in range(num_states - 1):
        for _ in range(int(rng.integers(0, 5))):
            to = int(rng.integers(0, num_states - 1))
            arcs.append((state, to, int(rng.integers(0, CLASSES)), int(rng.integers(-3, 2))))
        if rng.random() < 0.5:
            arcs.append((state, num_states - 1, -1, int(rng.integers(-3, 2))))
    src, dst, labels, scores = np.array(arcs, np.int32).reshape(-1, 4).T
    rows = np.zeros(num_states + 1, np.int32)
    np.cumsum(np.bincount(src, minlength=num_states), out=rows[1:])
    none = np.zeros(0, np.int32)
    splits = np.zeros(len(src) + 1, np.int32)
    return Graph(rows, dst.copy(), labels.copy(), scores.astype(np.float32), splits, none)


def on_device(graph_list):
    """The graphs one after another; the tensors of `Graphs`."""
    arcs = np.cumsum([0, *(len(g.dst) for g in graph_list)])
    states = np.cumsum([0, *(g.num_states for g in graph_list)])
    rows = [g.row_splits[:-1].astype(np.int64) + base for g, base in zip(graph_list, arcs)]
    rows.append(arcs[-1:])
    fields = [
        np.concatenate([getattr(g, x) for g in graph_list]) for x in ("dst", "labels", "scores")
    ]
    fields = [np.concatenate(rows), *fields, states[:-1], np.diff(states)]
    return Graphs(*(torch.from_numpy(x).to(DEVICE) for x in fields)), arcs


def on_cpu(tensors):
    return [x.cpu() for x in tensors]


def random_batch(rng, most_frames=7):
    shared = rng.random() < 0.5
    graphs = [random_graph(rng) for _ in range(1 if shared else 4)]
    frames = int(rng.integers(1, most_frames + 1))
    log_probs = rng.integers(-4, 1, (4, frames, CLASSES)).astype(np.float32) / 2
    log_probs[rng.random(log_probs.shape) < 0.05] = -np.inf
    lengths = rng.integers(0, frames + 1, 4)
    there, arcs = on_device(graphs)
    if shared:
        there = there._replace(begins=there.begins.repeat(4), counts=there.counts.repeat(4))
        graphs, arcs = graphs * 4, np.zeros(5, int)
    beams = {
        "search_beam": float(rng.choice([0.7, 2.0, 20.0])),
        "min_active": int(rng.integers(0, 4)),
        "max_active": int(rng.integers(1, 6)),
        "allow_partial": bool(rng.random() < 0.5),
    }
    inputs = (torch.from_numpy(log_probs).to(DEVICE), torch.from_numpy(lengths).to(DEVICE))
    return graphs, there, arcs, log_probs, lengths, inputs, beams


def test_best_paths(seed):
    rng = np.random.default_rng(seed)
    for case in range(15):
        graphs, there, arcs, log_probs, lengths, inputs, beams = random_batch(rng)
        found = dense.one_best(there, *inputs, **beams)
        ends = found.counts.cumsum(0).tolist()
        for n, graph in enumerate(graphs):
            where = f"seed {seed}, case {case}, sequence {n}"
            wanted = one_best(graph, log_probs[n : n + 1], lengths[n : n + 1], **beams, threads=1)
            mine = slice(ends[n] - int(found.counts[n]), ends[n])
            np.testing.assert_array_equal(
                found.arcs[mine].cpu().numpy() - arcs[n], wanted[0].arcs, where
            )
            assert found.scores[n].item() == wanted[0].score, where
            np.testing.assert_array_equal(
                found.arc_scores[mine].cpu().numpy(), wanted[0].arc_scores, where
            )


@pytest.mark.parametrize("pruning", ["exact", "k2"])
def test_lattices(pruning, seed):
    rng = np.random.default_rng(seed)
    for case in range(7):
        # the last one is long enough for windows of backward pruning
        graphs, there, arcs, log_probs, lengths, inputs, beams = random_batch(
            rng, 7 if case < 6 else 45
        )
        beams["output_beam"] = float(rng.choice([0.5, 2.0, 8.0]))
        found = dense.lattice(there, *inputs, **beams, exact=pruning == "exact")
        for n, graph in enumerate(graphs):
            where = f"seed {seed}, case {case}, sequence {n}"
            row = (log_probs[n : n + 1], lengths[n : n + 1])
            wanted = lattice_search(graph, *row, **beams, pruning=pruning, threads=1)[0]
            mine = slice(int(found.arc_splits[n]), int(found.arc_splits[n + 1]))
            states = int(found.state_splits[n + 1] - found.state_splits[n])
            assert states == wanted.num_states, where
            for name in ("src", "dst", "labels", "scores", "frames"):
                np.testing.assert_array_equal(
                    getattr(found, name)[mine].cpu().numpy(),
                    getattr(wanted, name),
                    f"{where} {name}",
                )
            arc_map = found.arc_map[mine].cpu().numpy()
            arc_map = np.where(arc_map < 0, -1, arc_map - arcs[n])
            np.testing.assert_array_equal(arc_map, wanted.arc_map, where)


def test_unpruned_lattices(seed):
    rng = np.random.default_rng(seed)
    for case in range(6):
        _, there, _, _, _, inputs, _ = random_batch(rng, 5)
        segments = torch.from_numpy(rng.integers(0, 4, 4)).to(DEVICE)
        limits = (float(rng.choice([0.5, 2.0, 8.0])), int(rng.choice([40, 1000])), 1000)
        wanted = cpu.lattice_unpruned(Graphs(*on_cpu(there)), *on_cpu((*inputs, segments)), *limits)
        found = dense.lattice_unpruned(there, *inputs, segments, *limits)
        for name, x, y in zip(Lattices._fields, found, wanted):
            assert torch.equal(x.cpu(), y), f"seed {seed}, case {case}, {name}"


def test_lattices_through_the_front():
    """Scores, gradients and best paths of both intersections, all computed by the backend."""
    tokens = [[1, 2, 3], [3]]
    log_probs = torch.randn(2, 5, CLASSES).log_softmax(-1)
    segments = torch.tensor([[0, 0, 5], [1, 1, 4]], dtype=torch.int32)

    def everything(device):
        leaf = log_probs.to(device, copy=True).requires_grad_()
        graphs = ctc_graph(tokens).to(device)
        frames = DenseFsaVec(leaf, segments)
        results = []
        for lattice in (
            intersect_dense_pruned(graphs, frames, 20.0, 8.0, 1, 1000),
            intersect_dense(graphs, frames, 8.0),
        ):
            totals = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
            totals.sum().backward()
            best = shortest_path(lattice)
            results += [totals, leaf.grad.clone(), lattice.get_arc_post(True, True)]
            results += [best.labels, best.get_tot_scores(True, False)]
        targets = RaggedTensor(tokens).to(device)
        loss = exact_ctc_loss(leaf, targets, torch.tensor([5, 4]), reduction="sum")
        loss.backward()
        return [*results, loss, leaf.grad]

    with use("cpu"):
        wanted = everything("cpu")
    with use("cuda"):
        found = everything(DEVICE)
    for number, (x, y) in enumerate(zip(found, wanted)):
        torch.testing.assert_close(
            x.detach().cpu(), y.detach(), rtol=1e-5, atol=1e-5, msg=f"result {number}"
        )


def test_lack_of_room_names_what_to_lower(monkeypatch):
    monkeypatch.setattr(dense, "ARCS", 2)
    monkeypatch.setattr(dense, "MOST", 63)
    none = np.zeros(0, np.int32)
    labels, scores = np.array([0, 1, 2, 3, -1], np.int32), np.zeros(5, np.float32)
    dst, splits = np.array([0, 0, 0, 0, 1], np.int32), np.zeros(6, np.int32)
    there, _ = on_device([Graph(np.array([0, 5, 5], np.int32), dst, labels, scores, splits, none)])
    inputs = (torch.zeros(1, 9, CLASSES, device=DEVICE), torch.tensor([9], device=DEVICE))
    assert dense.one_best(there, *inputs, 20.0, 0, 10, False).counts.tolist() == [10]
    monkeypatch.setattr(dense, "MOST", 3)
    with pytest.raises(NeveError, match="max_active"):
        dense.one_best(there, *inputs, 20.0, 0, 10, False)
    with pytest.raises(NeveError, match="max_states"):
        dense.lattice_unpruned(there, *inputs, torch.zeros(1).long().to(DEVICE), 1.0, 3, 1000)


def test_no_sequences():
    there, _ = on_device([random_graph(np.random.default_rng(0))])
    there = there._replace(begins=there.begins[:0], counts=there.counts[:0])
    inputs = (torch.zeros(0, 3, CLASSES, device=DEVICE), torch.zeros(0, device=DEVICE).long())
    assert len(dense.one_best(there, *inputs, 20.0, 0, 10, True).counts) == 0
    assert dense.lattice(there, *inputs, 20.0, 8.0, 0, 10, False, True).arc_splits.tolist() == [0]
