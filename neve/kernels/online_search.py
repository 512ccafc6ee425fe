"""Pruned lattices of recordings that come in chunks, as far as they have come.

A stream keeps the trellis of its search and its beam. Chunks are searched as `search` does whole
recordings, but for its rules about the last frames, since nobody knows which they are. Then the
arcs labelled -1 are taken as though the recording ended here, for the lattice only. FSA-SPEC
section 9, online variant.
"""

from typing import NamedTuple

import numpy as np

from neve.kernels.graph import Graph
from neve.kernels.search import (
    SLACK,
    Lattice,
    Trellis,
    as_lattice,
    empty_lattice,
    extend,
    is_exact,
    pruned,
    start_of_search,
)
from neve.kernels.token_passing import checked, each_row

ENDLESS = 2**31 - 1


class Stream(NamedTuple):
    """A search between two chunks: what it keeps, its beam in the last frame, frames so far."""

    trellis: Trellis
    beam: float
    num_frames: int


def online_search(
    graph: Graph,
    log_probs: np.ndarray,
    lengths: np.ndarray,
    streams: list[Stream | None],
    search_beam: float,
    output_beam: float,
    min_active: int,
    max_active: int,
    allow_partial: bool = True,
    pruning: str = "exact",
    threads: int | None = None,
) -> list[tuple[Lattice, Stream]]:
    """(lattice from the first frame on, stream after this chunk) of each row.

    log_probs (N, T, C) float32 is a chunk of `lengths` (N,) frames of each of the streams, None for
    a new one. Streams given are not changed. pruning "exact" keeps exactly the arcs on paths within
    output_beam of the best so far, and lattices do not depend on how a recording was cut. With "k2"
    each chunk prunes the frames from two before it on, once, so that they do. The rest is as in
    `lattice_search`; it raises the same errors.
    """
    exact = is_exact(pruning)
    log_probs, lengths = checked(
        graph.max_label,
        log_probs,
        lengths,
        search_beam=search_beam,
        output_beam=output_beam,
        max_active=max_active,
    )

    def search(row, slot):
        stream = streams[row] or Stream(start_of_search(), search_beam, 0)
        num_frames = stream.num_frames + int(lengths[row])
        if graph.num_states < 2:
            return empty_lattice(), stream._replace(num_frames=num_frames)

        def go_on(trellis, scores, count, last, beam):
            beam, *trellis = extend(
                graph.row_splits, graph.dst, graph.labels, graph.scores, scores, count, last,
                np.float32(search_beam), np.float32(output_beam), int(min_active), int(max_active),
                bool(allow_partial), False, np.float32(beam), slot, *trellis,
            )  # fmt: skip
            return Trellis(*trellis), float(beam)

        trellis, beam = go_on(
            stream.trellis.copy(), log_probs[row], int(lengths[row]), ENDLESS, stream.beam
        )
        if exact:  # what is out of reach of all active states; the slack covers rounding
            trellis = pruned(trellis, 0, np.float32(output_beam) + SLACK)
        else:
            trellis = pruned(trellis, max(0, stream.num_frames - 2), output_beam)
        after = Stream(trellis, beam, num_frames)
        ended, _ = go_on(trellis.copy(), log_probs[row], 1, num_frames + 1, beam)
        if exact:
            ended = pruned(ended, 0, output_beam)
        return as_lattice(graph, ended, exact), after

    return each_row(search, len(log_probs), graph.num_states, threads)
