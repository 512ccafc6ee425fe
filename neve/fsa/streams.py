"""Decoding of transducers through graphs, many streams at once: k2's RnntDecodingStreams.

    streams = [RnntDecodingStream(graph) for _ in utterances]
    decoding = RnntDecodingStreams(streams, RnntDecodingConfig(vocab_size, 2, 20.0, 64, 8))
    for frame in frames:
        shape, contexts = decoding.get_contexts()
        decoding.advance(log_probs_of(frame, shape.row_ids(1), contexts))
    decoding.terminate_and_flush_to_streams()
    lattice = decoding.format_output(lengths, allow_partial=True)

The semantics are those of section 16 of the engine's specification. The search runs on the CPU;
contexts and lattices are on the device of the graphs. Lattices carry no gradient, as in k2.

Beyond k2, a stream may heed listed phrases: their bonuses are in the scores of the arcs that say
them, before anything is pruned.
"""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arc_attributes import ragged_of, take
from neve.fsa.arguments import with_data
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec
from neve.fsa.ragged import RaggedTensor, cat
from neve.fsa.ragged_shape import RaggedShape
from neve.kernels.streams import Frame, Listed, advance, contexts_of
from neve.kernels.threads import for_each, num_threads


@dataclasses.dataclass
class RnntDecodingConfig:
    """How to search.

    vocab_size           classes of the model, the blank (0) included
    decoder_history_len  symbols that the model's decoder sees
    beam                 states worse than the frame's best by more than this are dropped
    max_states, max_contexts   how many are kept of each stream in each frame
    """

    vocab_size: int
    decoder_history_len: int
    beam: float
    max_states: int
    max_contexts: int

    def check(self) -> None:
        for name in ("vocab_size", "decoder_history_len", "max_states", "max_contexts"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise NeveError(f"{name}: a whole number of at least 1 is needed, not {value!r}")
        if not self.beam > 0:
            raise NeveError(f"beam: must be more than 0, not {self.beam}")

    @property
    def num_contexts(self) -> int:
        return int(self.vocab_size) ** int(self.decoder_history_len)


class _SearchGraph(NamedTuple):
    """A graph as the kernel wants it, and what it was made of."""

    arrays: tuple[np.ndarray, ...]
    num_states: int
    max_label: int
    tensors: tuple[Tensor, ...]
    versions: tuple[int, ...]


_search_graphs: weakref.WeakKeyDictionary[Fsa, _SearchGraph] = weakref.WeakKeyDictionary()


def _search_graph(fsa: Fsa) -> _SearchGraph:
    """Made once for all streams of a graph, and again when its arcs have changed."""
    tensors = (fsa.src, fsa.dst, fsa.labels, fsa.scores)
    versions = tuple(x._version for x in tensors)
    known = _search_graphs.get(fsa)
    if known and known.versions == versions and all(a is b for a, b in zip(known.tensors, tensors)):
        return known
    src, dst, labels, scores = (x.detach().cpu().numpy() for x in tensors)
    counts = np.bincount(src, minlength=fsa.num_states)
    arrays = (np.concatenate(([0], counts.cumsum())), dst, labels, scores.astype(np.float32))
    max_label = int(labels.max(initial=0))
    made = _SearchGraph(arrays, fsa.num_states, max_label, tensors, versions)
    _search_graphs[fsa] = made
    return made


class RnntDecodingStream:
    """One utterance: its graph, its states now, and the arcs of its frames so far.

    Streams may be put together anew, in other groups, after `terminate_and_flush_to_streams`.
    """

    def __init__(self, fsa: Fsa, listed: Listed | None = None):
        """Of one graph, without states if it has none. Any labels are symbols, 0 is epsilon.

        listed: phrases to heed, and what the arcs of the graph say; streams of one graph that share
        them go ahead together only if it is the same object.
        """
        if not isinstance(fsa, Fsa) or fsa.num_fsas != 1:
            raise NeveError("fsa: one automaton is needed")
        self.fsa, self.device = fsa, fsa.device
        self._graph, self._listed = _search_graph(fsa), listed
        count = min(1, self._graph.num_states)
        self._keys, self._scores = np.zeros(count, np.int64), np.zeros(count)
        self._sizes: tuple[int, int] | None = None  # vocabulary and history that keys are made of
        self._history: list[_Frames] = []

    @property
    def num_states(self) -> int:
        """Of the graph, times those of the automaton of phrases."""
        return self._graph.num_states * (len(self._listed.phrases.held) if self._listed else 1)

    @property
    def begun(self) -> np.ndarray:
        """(K,) the state of the automaton of phrases in each of the states now; 0 without one."""
        return self._keys % max(1, self.num_states) // max(1, self._graph.num_states)

    @property
    def num_frames(self) -> int:
        """Frames so far, without those of groups that are not terminated."""
        return sum(len(frames.num_states) for frames in self._history)

    def __str__(self) -> str:
        return f"RnntDecodingStream({self.num_frames} frames, {len(self._keys)} states)"


class _Frames(NamedTuple):
    """Successive frames of one stream: states before each, arcs of each; see `Frame`."""

    num_states: np.ndarray
    num_arcs: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    arcs: np.ndarray
    arc_scores: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[_Frames]) -> _Frames:
        return cls(*(np.concatenate(column) for column in zip(*parts)))


class RnntDecodingStreams:
    """Several streams that go ahead together, frame by frame."""

    def __init__(self, src_streams: Sequence[RnntDecodingStream], config: RnntDecodingConfig):
        """Raises NeveError for bad settings and for graphs with labels beyond the vocabulary."""
        src_streams = list(src_streams)
        config.check()
        if not src_streams or not all(isinstance(s, RnntDecodingStream) for s in src_streams):
            raise NeveError("src_streams: a list of at least one RnntDecodingStream is needed")
        if len({id(stream) for stream in src_streams}) < len(src_streams):
            raise NeveError("src_streams: a stream is there twice")
        if len({str(stream.device) for stream in src_streams}) > 1:
            raise NeveError("src_streams: the graphs are on several devices; move them to one")
        sizes = (config.vocab_size, config.decoder_history_len)
        for i, stream in enumerate(src_streams):
            graph = stream._graph
            if graph.max_label >= config.vocab_size:
                raise NeveError(
                    f"src_streams: the graph of stream {i} has label {graph.max_label}, but "
                    f"vocab_size is {config.vocab_size}"
                )
            if config.num_contexts * max(1, stream.num_states) >= 2**63:
                raise NeveError(
                    f"decoder_history_len: {config.decoder_history_len} symbols of "
                    f"{config.vocab_size} and {stream.num_states} states do not fit in 64 bits"
                )
            if stream._sizes not in (None, sizes):
                raise NeveError(
                    f"config: stream {i} was decoded with vocab_size and decoder_history_len "
                    f"{stream._sizes}, now they are {sizes}"
                )
        self.config, self.src_streams = dataclasses.replace(config), src_streams
        self.num_streams, self.device = len(src_streams), src_streams[0].device
        self._terminated = False
        self._frames: list[Frame] = []
        self._first_states = [len(stream._keys) for stream in src_streams]
        self._keys = np.concatenate([stream._keys for stream in src_streams])
        self._scores = np.concatenate([stream._scores for stream in src_streams])
        self._splits = _splits_of(self._first_states)
        self._graph_states = np.array([s.num_states for s in src_streams], np.int64)
        self._batches = _batches(src_streams)
        self._find_contexts()

    def __str__(self) -> str:
        return "\n".join(
            [f"RnntDecodingStreams of {self.num_streams}:", *map(str, self.src_streams)]
        )

    def _find_contexts(self) -> None:
        found = contexts_of(self._keys, self._splits, self._graph_states)
        self._rows, self._contexts, self._context_splits = found

    def get_contexts(self) -> tuple[RaggedShape, Tensor]:
        """(shape [stream][context], contexts (N, history) int32, the oldest symbol first)."""
        self._check_alive("get_contexts")
        history = self.config.decoder_history_len
        powers = int(self.config.vocab_size) ** np.arange(history - 1, -1, -1, dtype=np.int64)
        symbols = self._contexts[:, None] // powers % self.config.vocab_size
        shape = RaggedShape.from_row_splits([torch.from_numpy(self._context_splits)])
        contexts = torch.from_numpy(symbols.astype(np.int32))
        return shape.to(self.device), contexts.to(self.device)

    def advance(self, logprobs: Tensor) -> None:
        """One frame: logprobs (N, vocab_size), a row for each of the contexts.

        Raises NeveError for another shape, for NaN and for +inf.
        """
        self._check_alive("advance")
        needed = (len(self._contexts), self.config.vocab_size)
        if not isinstance(logprobs, Tensor) or tuple(logprobs.shape) != needed:
            found = tuple(getattr(logprobs, "shape", ())) or type(logprobs).__name__
            raise NeveError(f"logprobs: a tensor of shape {needed} is needed, not {found}")
        if not logprobs.is_floating_point():
            raise NeveError(f"logprobs: floats are needed, not {logprobs.dtype}")
        with_data(logprobs, "logprobs")
        values = np.ascontiguousarray(logprobs.detach().to("cpu", torch.float32).numpy())
        if values.size and not values.max() < np.inf:
            row = int(np.nonzero(~(values < np.inf).all(axis=1))[0][0])
            raise NeveError(f"logprobs: row {row} holds NaN or +inf")
        found = for_each(len(self._batches), lambda i: self._advance(*self._batches[i], values))
        frame = found[0] if len(found) == 1 else _joined(found)
        self._frames.append(frame)
        self._keys, self._scores, self._splits = frame[:3]
        self._find_contexts()

    def _advance(self, begin: int, end: int, log_probs: np.ndarray) -> Frame:
        """One frame of the streams begin .. end - 1, which have one graph."""
        stream = self.src_streams[begin]
        first, last = self._splits[begin], self._splits[end]
        part = slice(first, last)
        splits = self._splits[begin : end + 1] - first
        state = (self._keys[part], self._scores[part], splits, self._rows[part])
        most = 2**31 - 1
        return advance(
            stream._graph.arrays,
            state,
            log_probs,
            self.config.vocab_size,
            self.config.num_contexts,
            self.config.beam,
            min(self.config.max_states, most),
            min(self.config.max_contexts, most),
            stream._listed,
        )

    def _check_alive(self, what: str) -> None:
        if self._terminated:
            raise NeveError(f"{what}: these streams were terminated; group them anew")

    def terminate_and_flush_to_streams(self) -> None:
        """Ends this group: each stream takes its states and frames with it."""
        self._check_alive("terminate_and_flush_to_streams")
        self._terminated = True
        frames = self._frames
        for i, stream in enumerate(self.src_streams):
            stream._sizes = (self.config.vocab_size, self.config.decoder_history_len)
            states = slice(self._splits[i], self._splits[i + 1])
            stream._keys, stream._scores = self._keys[states], self._scores[states]
        if frames:
            before = [np.array(self._first_states), *(np.diff(frame.splits) for frame in frames)]
            num_states = np.stack(before[:-1])
            for i, part in enumerate(_by_stream(frames)):
                self.src_streams[i]._history.append(_Frames(num_states[:, i], *part))
        self._frames = []

    def format_output(self, num_frames: Sequence[int], allow_partial: bool = False) -> FsaVec:
        """The lattice of num_frames[i] frames of each stream, with the attributes of the graphs.

        Its states are those of the frames, each frame's by key, and a final one; nothing is
        trimmed. It has a final arc where an arc of the last of the frames is one in the graph; with
        allow_partial a stream that has none may end anywhere. No frames give an empty automaton.
        The graphs may have different attributes: an arc without one has its filler.
        """
        if not self._terminated:
            raise NeveError("format_output: terminate_and_flush_to_streams has to be called first")
        lengths = [int(x) for x in num_frames]
        if len(lengths) != self.num_streams:
            raise NeveError(f"num_frames: {self.num_streams} are needed, not {len(lengths)}")
        for i, (length, stream) in enumerate(zip(lengths, self.src_streams)):
            if not 0 <= length <= stream.num_frames:
                raise NeveError(
                    f"num_frames: stream {i} has {stream.num_frames} frames, not {length}"
                )
        parts = [_lattice(s, n, allow_partial) for s, n in zip(self.src_streams, lengths)]
        state_counts, *columns = zip(*parts)
        state_splits = torch.from_numpy(_splits_of(state_counts))
        arc_splits = torch.from_numpy(_splits_of([len(part[1]) for part in parts]))
        *fields, arcs = (torch.from_numpy(np.concatenate(c)).to(self.device) for c in columns)
        attributes = self._attributes_at(arcs, arc_splits)
        return FsaVec._make(*fields, state_splits, arc_splits, attributes)

    def _attributes_at(self, arcs: Tensor, arc_splits: Tensor) -> dict:
        """What arcs (A,) of the streams' graphs carry."""
        fsas = list({id(stream.fsa): stream.fsa for stream in self.src_streams}.values())
        offsets = np.cumsum([0, *(fsa.num_arcs for fsa in fsas)])
        offset_of = {id(fsa): offset for fsa, offset in zip(fsas, offsets)}
        shift = torch.tensor([offset_of[id(stream.fsa)] for stream in self.src_streams])
        shift = torch.repeat_interleave(shift, torch.diff(arc_splits)).to(self.device)
        index = torch.where(arcs >= 0, arcs.long() + shift, -1)
        attributes = {}
        for fsa in fsas:
            attributes = {**fsa.other_attributes(), **attributes}
        for name in dict.fromkeys(name for fsa in fsas for name in fsa.arc_attributes()):
            filler = next(fsa.get_filler(name) for fsa in fsas if name in fsa.arc_attributes())
            attributes[name] = take(_united(fsas, name, filler), index, filler)
        return attributes


def _splits_of(counts: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int64)


def _batches(streams: Sequence[RnntDecodingStream]) -> list[tuple[int, int]]:
    """(first stream, last + 1): neighbours of one graph and its phrases, for each thread some."""
    most = math.ceil(len(streams) / num_threads())
    batches: list[tuple[int, int]] = []
    for i, stream in enumerate(streams):
        begin = batches[-1][0] if batches else 0
        first = streams[begin]
        alike = first._graph is stream._graph and first._listed is stream._listed
        if batches and alike and i - begin < most:
            batches[-1] = (begin, i + 1)
        else:
            batches.append((i, i + 1))
    return batches


def _by_stream(frames: Sequence[Frame]) -> Iterator[tuple[np.ndarray, ...]]:
    """(arcs of each frame, src, dst, arcs, arc_scores) of each stream, over all frames."""
    counts = np.stack([np.diff(frame.arc_splits) for frame in frames])
    # the arcs of a frame lie stream by stream; in the end those of a stream lie frame by frame
    new = np.cumsum(counts.T) - counts.T.ravel()
    shifts = new.reshape(counts.T.shape).T.ravel() - (np.cumsum(counts) - counts.ravel())
    place = np.arange(counts.sum()) + np.repeat(shifts, counts.ravel())
    columns = []
    for name in ("src", "dst", "arcs", "arc_scores"):
        values = np.concatenate([getattr(frame, name) for frame in frames])
        column = np.empty_like(values)
        column[place] = values
        columns.append(column)
    ends = np.cumsum(counts.sum(axis=0))
    for i, end in enumerate(ends):
        part = slice(end - counts[:, i].sum(), end)
        yield counts[:, i], *(column[part] for column in columns)


def _joined(frames: Sequence[Frame]) -> Frame:
    columns = dict(zip(Frame._fields, zip(*frames)))
    joined = {}
    for name, parts in columns.items():
        if name.endswith("splits"):
            joined[name] = _splits_of(np.concatenate([np.diff(part) for part in parts]))
        else:
            joined[name] = np.concatenate(parts)
    return Frame(**joined)


def _lattice(stream: RnntDecodingStream, num_frames: int, allow_partial: bool) -> tuple:
    """(states, src, dst, labels, scores, arcs of the graph) of a stream's first frames."""
    if not num_frames or not stream._graph.num_states:
        none = np.empty(0, np.int32)
        return 0, none, none, none, none.astype(np.float32), none
    history = _Frames.joined(stream._history)
    first = _splits_of(history.num_states[:num_frames])
    counts = history.num_arcs[:num_frames]
    count = counts.sum()
    frame = np.repeat(np.arange(num_frames), counts)
    src, dst, arcs, scores = (column[:count] for column in history[2:])
    src, dst = src + first[frame], dst + first[frame + 1]
    labels, known = np.zeros_like(arcs), arcs >= 0
    labels[known] = stream._graph.arrays[2][arcs[known]]
    last = frame == num_frames - 1
    final = labels == -1
    ends = last & final
    if allow_partial and not ends.any():
        ends = last
    early = final & ~last
    labels = np.where(ends, -1, np.where(early, 0, labels))
    arcs = np.where(early, -1, arcs)
    scores = np.where(ends, 0, scores)
    dst = np.where(ends, first[-1], dst)
    keep = ends | ~last
    kinds = (np.int32, np.int32, np.int32, np.float32, np.int32)
    columns = [x[keep].astype(kind) for x, kind in zip((src, dst, labels, scores, arcs), kinds)]
    return int(first[-1]) + 1, *columns


def _united(fsas: Sequence[Fsa], name: str, filler: int | float) -> Tensor | RaggedTensor:
    """An attribute of several graphs, one after another; the filler where a graph has none."""
    values = [fsa.arc_attributes().get(name) for fsa in fsas]
    if len(values) == 1:
        return values[0]
    ragged = any(isinstance(value, RaggedTensor) for value in values)
    like = next(value for value in values if value is not None)
    parts = []
    for fsa, value in zip(fsas, values):
        if value is None and ragged:
            splits = torch.zeros(fsa.num_arcs + 1, dtype=torch.int32, device=fsa.device)
            value = RaggedTensor.from_splits(splits, splits[:0])
        elif value is None:
            value = like.new_full((fsa.num_arcs, *like.shape[1:]), filler)
        elif ragged and isinstance(value, Tensor):
            value = ragged_of(value, remove_eps=True)
        parts.append(value)
    return cat(parts, axis=0) if ragged else torch.cat(parts)
