"""One side of benchmarks/engine.py: runs the tasks that it is told, in its own interpreter.

    python engine_peer.py neve|k2|torch|kaldi THREADS

Each line of the input is a JSON object {"task": name, ...its arguments}; each line of the output is
{"parts": {part: [wall, CPU seconds]}, "before", "peak": MB of memory, "value": what was computed}.
The tasks of neve and k2 are the same code: neve.fsa has k2's functions.
"""

import json
import sys
import time

import numpy as np

NAME = sys.argv[1]
if NAME == "neve":
    import torch

    import neve.fsa as k2
elif NAME == "k2":
    import k2
    import torch
elif NAME == "torch":
    import torch
else:
    import kaldi_decoder
    import kaldifst

KEPT = {}  # inputs and graphs, made outside the time
BEAMS = (20.0, 30, 10000)  # search beam, least and most active states


def make_rnnt(B, T, S, C, R):
    g = torch.Generator().manual_seed(0)
    am, lm = torch.randn(B, T, C, generator=g), torch.randn(B, S + 1, C, generator=g)
    symbols = torch.randint(1, C, (B, S), generator=g)
    boundary = torch.tensor([[0, 0, S, T]] * B)
    logits = torch.randn(B, T, R, C, generator=g)
    KEPT["rnnt"] = [x.requires_grad_() for x in (am, lm, logits)], symbols, boundary


def rnnt(R, **_):
    """Smoothed loss, prune ranges, pruned loss, forward and backward."""
    (am, lm, logits), symbols, boundary = KEPT["rnnt"]
    for x in (am, lm, logits):
        x.grad = None
    clock = Clock()
    loss, (gx, gy) = k2.rnnt_loss_smoothed(
        lm, am, symbols, 0, 0.25, 0.0, boundary=boundary, reduction="sum", return_grad=True
    )
    loss.backward()
    clock.lap("smoothed")
    ranges = k2.get_rnnt_prune_ranges(gx, gy, boundary, R)
    clock.lap("ranges")
    pruned = k2.rnnt_loss_pruned(logits, symbols, ranges, 0, boundary=boundary, reduction="sum")
    pruned.backward()
    clock.lap("pruned")
    return clock, [float(loss.detach()), float(pruned.detach())]


def make_ctc(B, T, S, C):
    g = torch.Generator().manual_seed(0)
    log_probs = torch.randn(B, T, C, generator=g).log_softmax(-1).requires_grad_()
    KEPT["ctc"] = log_probs, torch.randint(1, C, (B, S), generator=g)


def ctc(B, T, S, **_):
    """CTC loss, forward and backward; neve and k2 make the graphs, too."""
    log_probs, symbols = KEPT["ctc"]
    log_probs.grad = None
    frames, count = torch.full((B,), T), torch.full((B,), S)
    clock = Clock()
    if NAME == "torch":
        x = log_probs.transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(x, symbols, frames, count, reduction="sum")
    else:
        segments = torch.stack((torch.arange(B), torch.zeros(B), frames), 1).to(torch.int32)
        dense = k2.DenseFsaVec(log_probs, segments)
        loss = k2.ctc_loss(k2.ctc_graph(symbols.tolist()), dense, 10.0, reduction="sum")
    loss.backward()
    clock.lap("loss")
    return clock, float(loss.detach())


def load(graph, posteriors):
    """Keeps a decoding graph and log-probabilities."""
    KEPT.clear()
    KEPT["lp"] = np.load(posteriors)["lp"]
    if NAME == "neve":
        from neve.kernels import Graph

        KEPT["graph"] = Graph.load(graph)
    elif NAME == "k2":
        KEPT["graph"] = k2.Fsa.from_dict(torch.load(graph))
    else:
        KEPT["graph"] = kaldifst.StdConstFst.read(graph)
    return Clock(), None


def best_paths():
    """The words of each utterance's best path."""
    log_probs = KEPT["lp"]
    clock = Clock()
    if NAME == "kaldi":
        value = [kaldi_words(row) for row in log_probs]
    elif NAME == "neve":
        lengths = np.full(len(log_probs), log_probs.shape[1])
        paths = k2.one_best(KEPT["graph"], log_probs, lengths, *BEAMS)
        value = [KEPT["graph"].words(path.arcs)[0].tolist() for path in paths]
    else:
        best = k2.shortest_path(lattice(), use_double_scores=True)
        words = best.aux_labels.remove_axis(1) if best.aux_labels.num_axes == 3 else best.aux_labels
        arcs = best.arcs.shape()
        arcs = arcs.row_splits(2)[arcs.row_splits(1).long()]
        ends = words.shape.row_splits(1)[arcs.long()].tolist()
        rows = zip(ends, ends[1:])
        value = [[x for x in words.values[a:b].tolist() if x > 0] for a, b in rows]
    clock.lap("decoding")
    return clock, value


def lattices(**pruning):
    """Lattices and their log totals; `pruning` is for neve alone."""
    clock = Clock()
    found = lattice(**pruning)
    clock.lap("lattices")
    totals = found.get_tot_scores(use_double_scores=True, log_semiring=True).tolist()
    clock.lap("totals")
    return clock, totals


def lattice(**pruning):
    tensor = torch.from_numpy(KEPT["lp"])
    count, frames = tensor.shape[:2]
    segments = torch.tensor([[i, 0, frames] for i in range(count)], dtype=torch.int32)
    dense = k2.DenseFsaVec(tensor, segments)
    beam, *active = BEAMS
    return k2.intersect_dense_pruned(KEPT["graph"], dense, beam, 8.0, *active, **pruning)


def kaldi_words(log_probs):
    options = kaldi_decoder.FasterDecoderOptions(beam=BEAMS[0], max_active=BEAMS[2])
    decoder = kaldi_decoder.FasterDecoder(KEPT["graph"], options)
    decoder.decode(kaldi_decoder.DecodableCtc(log_probs))
    _, path = decoder.get_best_path()
    return list(kaldifst.get_linear_symbol_sequence(path)[2])


def build(lang, out):
    """HLG of a directory with L_disambig (.npz, .pt) and G.fst.txt; k2's by icefall's recipe."""
    clock = Clock()
    if NAME == "neve":
        from neve.graphs import build_graph

        graph = build_graph(lang, f"{lang}/G.fst.txt")
        clock.lap("build")
        graph.save(out)
        return clock, [graph.num_states, graph.num_arcs]
    first_token, first_word = (
        next(int(line.split()[1]) for line in open(f"{lang}/{name}.txt") if line.startswith("#0 "))
        for name in ("tokens", "words")
    )
    L = k2.arc_sort(k2.Fsa.from_dict(torch.load(f"{lang}/L_disambig.pt")))
    with open(f"{lang}/G.fst.txt") as stream:
        G = k2.arc_sort(k2.Fsa.from_openfst(stream.read(), acceptor=False))
    LG = k2.connect(k2.compose(L, G))
    LG = k2.connect(k2.determinize(LG))
    labels = LG.labels.clone()
    labels[labels >= first_token] = 0
    LG.labels = labels
    LG.aux_labels.values[LG.aux_labels.values >= first_word] = 0
    LG = k2.connect(k2.remove_epsilon(LG))
    LG.aux_labels = LG.aux_labels.remove_values_eq(0)
    HLG = k2.compose(k2.ctc_topo(first_token - 1), k2.arc_sort(LG), inner_labels="tokens")
    HLG = k2.arc_sort(k2.connect(HLG))
    clock.lap("build")
    del HLG.tokens
    torch.save(HLG.as_dict(), out)
    return clock, [HLG.shape[0], HLG.num_arcs]


def versions():
    """What this side is."""
    from importlib.metadata import version

    names = {"neve": ("torch", "numba"), "k2": ("k2", "torch"), "torch": ("torch",)}
    names["kaldi"] = ("kaldi_decoder",)
    return Clock(), ", ".join(f"{name} {version(name)}" for name in names[NAME])


class Clock:
    """Wall and CPU seconds since it was made, by part."""

    def __init__(self):
        self.parts = {}
        self.start = self.last = (time.perf_counter(), time.process_time())

    def lap(self, name):
        now = (time.perf_counter(), time.process_time())
        self.parts[name] = [b - a for a, b in zip(self.last, now)]
        self.last = now


def memory(key):
    """MB: VmRSS, what is resident now; VmHWM, the most since it was last reset."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith(key)) / 1024


def main():
    if NAME != "kaldi":
        torch.set_num_threads(int(sys.argv[2]))
    made = None
    for line in sys.stdin:
        order = json.loads(line)
        task = order.pop("task")
        if f"make_{task}" in globals() and made != (task, order):
            KEPT.clear()
            globals()[f"make_{task}"](**order)
            made = (task, order)
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")  # VmHWM begins anew
        before = memory("VmRSS")
        clock, value = globals()[task](**order)
        answer = {"parts": clock.parts, "before": before, "peak": memory("VmHWM"), "value": value}
        print(json.dumps(answer), flush=True)


main()
