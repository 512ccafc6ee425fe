"""Lattices of recordings that come in chunks: k2's OnlineDenseIntersecter."""

from __future__ import annotations

import dataclasses

from neve.errors import NeveError
from neve.fsa.backends.cpu.dense import joined
from neve.fsa.dense import DenseFsaVec
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.kernels import Graph
from neve.kernels.online_search import Stream, online_search
from neve.kernels.search import is_exact


@dataclasses.dataclass(frozen=True)
class DecodeStateInfo:
    """Where the search of one recording stands: of use to the intersecter that made it only."""

    graph: Graph
    stream: Stream

    @property
    def num_frames(self) -> int:
        """Frames so far."""
        return self.stream.num_frames


class OnlineDenseIntersecter:
    """Intersects chunks of dense scores with one graph, for many recordings side by side.

        intersecter = OnlineDenseIntersecter(graph, 2, 20.0, 8.0, 30, 10000)
        lattice, states = intersecter.decode(first_chunks, [None, None])
        lattice, states = intersecter.decode(next_chunks, states)

    The beams are those of `intersect_dense_pruned`, but since nobody knows which frames are the
    last five, the beam is no wider there. With pruning "exact", the default, lattices do not depend
    on where recordings were cut into chunks: after the last chunk they are what one chunk gives,
    and what intersect_dense_pruned gives wherever its beam does the same in the last five frames
    (never more than max_active_states, never fewer than the larger of min_active_states and
    max_active_states / 2 where min_active_states are reached; or beams that prune nothing).
    "k2" prunes the frames of each chunk, and two before, once, as k2 does.

    A recording that is at no end of the graph gives a lattice of where it is, unless allow_partial
    is False; then that lattice is empty. frame_idx_name names an attribute that gets the frame of
    each arc, counted from the first chunk on. The search runs on the CPU, on as many threads as
    recordings; scores have no gradient.
    """

    def __init__(
        self,
        decoding_graph: Fsa | Graph,
        num_streams: int,
        search_beam: float,
        output_beam: float,
        min_active_states: int,
        max_active_states: int,
        allow_partial: bool = True,
        pruning: str = "exact",
        frame_idx_name: str | None = None,
    ):
        """`num_streams` is the largest number of recordings in one call of `decode`."""
        for name, value in (
            ("num_streams", num_streams),
            ("search_beam", search_beam),
            ("output_beam", output_beam),
            ("max_active_states", max_active_states),
        ):
            if not value > 0:
                raise NeveError(f"{name} must be positive, not {value}")
        is_exact(pruning)
        if isinstance(decoding_graph, Graph):
            self._fsa, self._graph = Fsa.from_graph(decoding_graph), decoding_graph
        elif decoding_graph.num_fsas == 1:
            self._fsa, self._graph = decoding_graph, decoding_graph.to_graph()
        else:
            raise NeveError(
                f"decoding_graph: one graph for all is needed, not {decoding_graph.num_fsas}"
            )
        self.num_streams = num_streams
        self._beams = (search_beam, output_beam, min_active_states, max_active_states)
        self._allow_partial, self._pruning = allow_partial, pruning
        self._frame_idx_name = frame_idx_name

    def decode(
        self, dense_fsas: DenseFsaVec, decode_states: list[DecodeStateInfo | None]
    ) -> tuple[FsaVec, list[DecodeStateInfo]]:
        """(lattices from the first frame on, states after these chunks), one for each segment.

        decode_states has the state after the chunk before of each segment's recording, None for a
        new one; states given stay as they are. Lattices carry the graph's attributes and
        `arc_map_a`, the graph's arc of each arc.
        """
        count = len(dense_fsas)
        if count > self.num_streams:
            raise NeveError(f"dense_fsas: {count} segments, num_streams is {self.num_streams}")
        if len(decode_states) != count:
            raise NeveError(f"decode_states: {len(decode_states)} for {count} segments")
        for k, state in enumerate(decode_states):
            if state is None:
                continue
            if not isinstance(state, DecodeStateInfo) or state.graph is not self._graph:
                raise NeveError(f"decode_states: number {k} is not a state of this intersecter")
        found = online_search(
            self._graph,
            dense_fsas.segments().detach().float().cpu().numpy(),
            dense_fsas.lengths.numpy(),
            [state and state.stream for state in decode_states],
            *self._beams,
            self._allow_partial,
            self._pruning,
        )
        lattices = joined([lattice for lattice, _ in found], [0] * count)
        arc_map = lattices.arc_map.to(self._fsa.device)
        attributes = self._fsa.attributes_at(arc_map.long())
        attributes["arc_map_a"] = arc_map
        if self._frame_idx_name is not None:
            attributes[self._frame_idx_name] = lattices.frames.to(self._fsa.device)
        fsas = FsaVec._make(
            *(
                x.to(self._fsa.device)
                for x in (lattices.src, lattices.dst, lattices.labels, lattices.scores)
            ),
            lattices.state_splits,
            lattices.arc_splits,
            attributes,
        )
        return fsas, [DecodeStateInfo(self._graph, stream) for _, stream in found]
