"""OpenFst's graphs to arrays and back, and the operations that are OpenFst's (by kaldifst).

kaldifst hands out no arrays, so graphs travel as OpenFst files in a temporary directory: ours are
written as its `vector` type and its own are read back as `const`, whose arcs lie flat.
"""

import struct
import tempfile
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.kernels import Graph, arc_sort, minimize

_MAGIC = 2125659606
_ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("cost", "<f4"), ("dst", "<i4")])
_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("in_eps", "<u4"), ("out_eps", "<u4")]
)


def to_openfst(graph: Graph):
    """`graph` as a kaldifst.StdVectorFst: costs are negated scores, arcs -1 become final costs.

    Auxiliary labels become output labels: NeveError if an arc has more than one.
    """
    import kaldifst

    lengths = np.diff(graph.aux_splits)
    if lengths.size and lengths.max() > 1:
        raise NeveError(
            "an OpenFst arc has one output label, arc "
            f"{int(lengths.argmax())} of the graph emits {int(lengths.max())}"
        )
    olabels = np.zeros(graph.num_arcs, np.int32)
    olabels[lengths == 1] = graph.aux_values
    num_states = max(graph.num_states - 1, 0)
    src = graph.src
    inner = graph.labels != -1
    final = np.full(num_states, np.inf, np.float32)
    np.minimum.at(final, src[~inner], -graph.scores[~inner])
    src = src[inner]
    counts = np.bincount(src, minlength=num_states)
    # each state is its final cost (4 bytes), the number of its arcs (8) and these (16 each)
    begins = np.concatenate(([0], np.cumsum(3 + 4 * counts)))
    words = np.zeros(begins[-1], np.int32)
    words[begins[:-1]] = final.view(np.int32)
    words[begins[:-1] + 1] = counts
    firsts = np.concatenate(([0], np.cumsum(counts)))[:-1]
    at = begins[src] + 3 + 4 * (np.arange(len(src)) - firsts[src])
    words[at] = graph.labels[inner]
    words[at + 1] = olabels[inner]
    words[at + 2] = (-graph.scores[inner]).view(np.int32)
    words[at + 3] = graph.dst[inner]
    header = struct.pack("<i", _MAGIC)
    for name in (b"vector", b"standard"):
        header += struct.pack("<i", len(name)) + name
    start = 0 if num_states else -1
    header += struct.pack("<iiQqqq", 2, 0, 0, start, num_states, len(src))
    with tempfile.TemporaryDirectory(prefix="neve") as directory:
        path = Path(directory) / "graph.fst"
        path.write_bytes(header + words.tobytes())
        fst = kaldifst.StdVectorFst.read(str(path))
    if fst is None:
        raise NeveError("OpenFst could not read a graph back; is the temporary directory full?")
    return fst


def from_openfst(fst) -> Graph:
    """A kaldifst FST as a graph, with one new final state; its start becomes state 0."""
    import kaldifst

    with tempfile.TemporaryDirectory(prefix="neve") as directory:
        path = Path(directory) / "graph.fst"
        if not kaldifst.StdConstFst(fst).write(str(path)):
            raise NeveError("OpenFst could not write a graph; is the temporary directory full?")
        data = path.read_bytes()
    at = 4
    for _ in range(2):  # the names of the FST's and the arc's type
        (length,) = struct.unpack_from("<i", data, at)
        at += 4 + length
    _, flags, _, start, num_states, num_arcs = struct.unpack_from("<iiQqqq", data, at)
    at += 40
    if flags & 3:
        raise NeveError("graphs with symbol tables inside are not supported")

    def aligned(at):
        return -(-at // 16) * 16 if flags & 4 else at

    at = aligned(at)
    states = np.frombuffer(data, _STATE, num_states, at)
    at = aligned(at + states.nbytes)
    arcs = np.frombuffer(data, _ARC, num_arcs, at)
    if num_states == 0 or start < 0:
        return Graph.from_arcs(0, [], [], [], [])
    number = np.arange(num_states + 1, dtype=np.int32)
    number[0], number[start] = start, 0
    src = np.repeat(np.arange(num_states, dtype=np.int32), states["arcs"])
    final = np.nonzero(states["final"] < np.inf)[0].astype(np.int32)
    ends = np.full(len(final), -1, np.int32)
    return Graph.from_arcs(
        num_states + 1,
        number[np.concatenate((src, final))],
        number[np.concatenate((arcs["dst"], np.full(len(final), num_states, np.int32)))],
        np.concatenate((arcs["ilabel"], ends)),
        -np.concatenate((arcs["cost"], states["final"][final])),
        np.concatenate((arcs["olabel"], ends)),
    )


def compose_determinize_minimize(a: Graph, b: Graph, delta: float = 1e-5) -> Graph:
    """`a` composed with `b`, determinised (with epsilons removed) and minimised.

    Weights are tropical; `delta` is as for neve.kernels.minimize. Disambiguation symbols must make
    the composition determinisable, else there is a NeveError.
    """
    import kaldifst

    a, b = to_openfst(a), to_openfst(b)
    kaldifst.arcsort(a, "olabel")
    kaldifst.arcsort(b, "ilabel")
    fst = kaldifst.StdVectorFst(kaldifst.compose(a, b))
    try:
        kaldifst.determinize_star(fst, use_log=False)
    except RuntimeError as error:
        raise NeveError(
            "determinisation failed: two word sequences have the same tokens and disambiguation "
            f"symbols; make the lang directory again (stage 3). OpenFst says: {error}"
        ) from None
    return minimize(arc_sort(from_openfst(fst))[0], delta)
