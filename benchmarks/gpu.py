"""The engine on a CUDA device: times of losses and of the search, and what the kernels use.

    python benchmarks/gpu.py [--graph DIR --posteriors FILE] [--repeat N]

Times are medians of --repeat runs after three that do not count, on the device's own clock, in
float32. The pruned RNN-T step is held against the time that the device needs to move its memory
traffic, at the bandwidth that copying a large array reaches. torchaudio's loss is timed where it
is installed. The search is timed on a graph made up at random, or on DIR (see docs/engine.md) with
the log-probabilities `lp` (N, T, C) in FILE (.npz). Where there is no CUDA device it says so, and
tells only what the compiler says about the kernels.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from neve.fsa import exact_ctc_loss, rnnt_loss, rnnt_loss_pruned
from neve.fsa.backends import kernels
from neve.fsa.backends.structures import Graphs
from neve.graphs import load_graph

FRAME = 0.04  # seconds
ROOT = Path(__file__).resolve().parent.parent


def milliseconds(work, repeat: int) -> float:
    times = []
    for i in range(repeat + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def bandwidth(repeat: int) -> float:
    """Bytes a second of copying 1 GiB, read and written."""
    source = torch.zeros(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (milliseconds(lambda: target.copy_(source), repeat) / 1000)


def step(loss, leaf):
    """Loss and gradient of `leaf`."""

    def work():
        leaf.grad = None
        loss(leaf).backward()

    return work


def rnnt(repeat: int, batch=32, frames=250, symbols=60, classes=500, width=5) -> None:
    speed = bandwidth(repeat)
    print(f"copying: {speed / 1e9:.0f} GB/s")
    logits = torch.randn(batch, frames, width, classes, device="cuda", requires_grad=True)
    targets = torch.randint(1, classes, (batch, symbols), device="cuda")
    frame = torch.arange(frames, device="cuda")
    begins = (frame * (symbols + 1 - width) // (frames - 1)).expand(batch, -1).contiguous()
    ranges = begins.unsqueeze(-1) + torch.arange(width, device="cuda")
    floor = 3 * logits.nbytes / speed * 1000  # read twice, the gradient written once
    whole = milliseconds(step(lambda x: rnnt_loss_pruned(x, targets, ranges, 0), logits), repeat)
    family = kernels("rnnt", "cuda")
    boundary = torch.tensor([[0, 0, symbols, frames]] * batch, device="cuda")
    ones = torch.ones(batch, device="cuda")

    def kernels_only():
        found = family.pruned(logits, targets, begins, 0, "regular", boundary, 0.0, False)
        family.pruned_gradient(found[1], ones)

    alone = milliseconds(kernels_only, repeat)
    size = f"B{batch} T{frames} S{symbols} C{classes}"
    print(
        f"pruned RNN-T step, {size} R{width}: {whole:.3f} ms, of which kernels {alone:.3f} ms; "
        f"memory traffic alone {floor:.3f} ms"
    )
    full = torch.randn(batch, frames, symbols + 1, classes, device="cuda", requires_grad=True)
    whole = milliseconds(step(lambda x: rnnt_loss(x, targets, 0), full), repeat)
    print(f"full RNN-T step, {size}: {whole:.3f} ms")
    if importlib.util.find_spec("torchaudio"):
        from torchaudio.functional import rnnt_loss as theirs

        lengths = [torch.full((batch,), x, device="cuda").int() for x in (frames, symbols)]
        targets = targets.int()
        whole = milliseconds(step(lambda x: theirs(x, targets, *lengths, blank=0), full), repeat)
        print(f"torchaudio's full RNN-T step, {size}: {whole:.3f} ms")
    else:
        print("torchaudio is not installed: its loss is not timed")


def ctc(repeat: int, batch=32, frames=500, symbols=60, classes=500) -> None:
    log_probs = torch.randn(batch, frames, classes, device="cuda").log_softmax(-1).requires_grad_()
    targets = torch.randint(1, classes, (batch, symbols), device="cuda")
    lengths = [torch.full((batch,), x, device="cuda") for x in (frames, symbols)]
    ours = milliseconds(
        step(lambda x: exact_ctc_loss(x, targets, *lengths, reduction="sum"), log_probs), repeat
    )

    def with_torch(x):
        x = x.transpose(0, 1)
        return torch.nn.functional.ctc_loss(x, targets, *lengths, reduction="sum")

    theirs = milliseconds(step(with_torch, log_probs), repeat)
    size = f"N{batch} T{frames} S{symbols} C{classes}"
    print(f"CTC step, {size}: {ours:.3f} ms; torch {theirs:.3f} ms")


def made_up_graph(states=500_000, degree=5, classes=500) -> Graphs:
    """States with a loop and arcs to others, drawn at random; one in ten may end."""
    generator = np.random.default_rng(0)
    dst = generator.integers(0, states - 1, (states - 1, degree + 1)).astype(np.int32)
    labels = generator.integers(0, classes, dst.shape).astype(np.int32)
    dst[:, 0] = np.arange(states - 1)
    ends = generator.random(states - 1) < 0.1
    dst[ends, -1], labels[ends, -1] = states - 1, -1
    rows = np.append(np.arange(states) * (degree + 1), dst.size)
    scores = generator.normal(size=dst.shape).astype(np.float32) - 3
    return on_device(rows, dst.ravel(), labels.ravel(), scores.ravel(), states)


def on_device(rows, dst, labels, scores, states: int) -> Graphs:
    arrays = (np.asarray(rows, np.int64), dst, labels, scores, np.array([0]), np.array([states]))
    return Graphs(*(torch.from_numpy(np.array(x)).cuda() for x in arrays))


def search(repeat: int, graph: Path | None, posteriors: Path | None, batch=32) -> None:
    if graph is None:
        graphs = made_up_graph()
        log_probs = (4 * torch.randn(batch, 500, 500, device="cuda")).log_softmax(-1)
    else:
        found = load_graph(graph)
        arrays = (found.row_splits, found.dst, found.labels, found.scores)
        graphs = on_device(*arrays, found.num_states)
        log_probs = torch.from_numpy(np.load(posteriors)["lp"]).float()
        log_probs = log_probs[torch.arange(batch) % len(log_probs)].cuda()
    lengths = torch.full((batch,), log_probs.shape[1], device="cuda")
    graphs = graphs._replace(begins=graphs.begins.repeat(batch), counts=graphs.counts.repeat(batch))
    family = kernels("dense", "cuda")
    seconds = int(lengths.sum()) * FRAME
    what = f"{batch} sequences of {log_probs.shape[1]} frames, {len(graphs.dst)} arcs in the graph"
    beams = (20.0, 30, 10000)

    def lattices():
        family.lattice(graphs, log_probs, lengths, 20.0, 8.0, 30, 10000, False, True)

    for name, work in (
        ("best paths", lambda: family.one_best(graphs, log_probs, lengths, *beams, False)),
        ("lattices", lattices),
    ):
        time = milliseconds(work, repeat)
        print(f"{name}: {time:.1f} ms for {what}: real-time factor {time / 1000 / seconds:.2e}")


def compiled() -> None:
    """What the compiler says of every kernel: registers, shared memory, spilled bytes."""
    script = ROOT / "tests/fsa/backends/cuda_compiles.py"
    subprocess.run([sys.executable, str(script)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, help="a directory that save_graph wrote")
    parser.add_argument("--posteriors", type=Path, help="log-probabilities `lp` (N, T, C), .npz")
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    if (arguments.graph is None) != (arguments.posteriors is None):
        parser.error("--graph and --posteriors go together")
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing is timed")
    else:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
        rnnt(arguments.repeat)
        ctc(arguments.repeat)
        search(max(1, arguments.repeat // 4), arguments.graph, arguments.posteriors)
    if importlib.util.find_spec("triton"):
        compiled()
    else:
        print("triton is not installed: pip install 'neve[cuda]'")


if __name__ == "__main__":
    main()
