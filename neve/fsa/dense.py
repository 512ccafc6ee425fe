"""Dense scores of segments of a batch: the other side of an intersection with a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.fsa.arguments import with_data
from neve.fsa.fsa import Fsa
from neve.fsa.fsa_vec import FsaVec


class DenseFsaVec:
    """Log-probabilities of K segments of a batch, as K automata that accept any label each frame.

    Segment k has `lengths[k]` frames and one more, which has score 0 for label -1 and none for any
    other. All frames lie after one another in `scores` (F, C+1): column 0 is label -1, column j+1
    label j. `frame_splits` (K+1,) int64 says which rows are whose. `rows`, `starts`, `lengths` (K,)
    int64 are on the CPU, as frame_splits is.
    """

    def __init__(self, log_probs: Tensor, supervision_segments: Tensor, allow_truncate: int = 0):
        """log_probs (N, T, C) float32 (or float64, for checking gradients).

        supervision_segments (K, 3) int32: row, first frame, frames. A segment may reach beyond T by
        allow_truncate frames and is then cut at T. Raises NeveError for rows or frames out of
        range, and for NaN and +inf.
        """
        for name, value in (
            ("log_probs", log_probs), ("supervision_segments", supervision_segments),
        ):  # fmt: skip
            if not isinstance(value, Tensor):
                raise NeveError(f"{name}: a tensor is needed, not {type(value).__name__}")
        if log_probs.ndim != 3:
            raise NeveError(f"log_probs: shape {tuple(log_probs.shape)}, (N, T, C) is needed")
        if log_probs.dtype not in (torch.float32, torch.float64):
            raise NeveError(f"log_probs: float32 is needed, not {log_probs.dtype}")
        segments = supervision_segments
        if segments.ndim != 2 or segments.shape[1] != 3 or segments.dtype != torch.int32:
            raise NeveError(
                "supervision_segments: (K, 3) int32 is needed, not "
                f"{tuple(segments.shape)} {segments.dtype}"
            )
        num_rows, num_frames, num_classes = log_probs.shape
        rows, starts, lengths = with_data(segments, "supervision_segments").cpu().long().unbind(1)
        wrong = (rows < 0) | (rows >= num_rows) | (starts < 0) | (lengths < 0)
        wrong |= starts + lengths > num_frames + allow_truncate
        if bool(wrong.any()):
            k = int(torch.nonzero(wrong)[0])
            raise NeveError(
                f"supervision_segments: segment {k} is row {rows[k]}, frames {starts[k]}.."
                f"{starts[k] + lengths[k]} of {num_rows} rows of {num_frames} frames "
                f"(allow_truncate {allow_truncate})"
            )
        self.log_probs = log_probs
        self.rows, self.starts = rows, starts
        self.lengths = torch.minimum(lengths, (num_frames - starts).clamp(min=0))
        self.frame_splits = torch.cat((torch.zeros(1).long(), (self.lengths + 1).cumsum(0)))
        self.num_classes = num_classes
        if log_probs.device.type == "cpu":  # elsewhere it would wait for the device
            self._check_values()

    def _check_values(self) -> None:
        values = self.log_probs.detach()
        if bool((values < torch.inf).all()):
            return
        for k, (row, start, length) in enumerate(zip(self.rows, self.starts, self.lengths)):
            if not bool((values[row, start : start + length] < torch.inf).all()):
                raise NeveError(f"log_probs: row {int(row)} holds NaN or +inf (segment {k})")

    def __len__(self) -> int:
        return len(self.rows)

    def dim0(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple:
        """(segments, None, None), as in k2."""
        return (len(self), None, None)

    @property
    def duration(self) -> Tensor:
        """(K,) int32: frames of each segment, without the added one."""
        return self.lengths.to(torch.int32)

    @property
    def device(self) -> torch.device:
        return self.log_probs.device

    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def to(self, device: str | torch.device) -> DenseFsaVec:
        """The same segments on another device."""
        segments = torch.stack((self.rows, self.starts, self.lengths), dim=1).to(torch.int32)
        return DenseFsaVec(self.log_probs.to(device), segments)

    @classmethod
    def _from_dense_fsa_vec(cls, dense_fsa_vec: DenseFsaVec, scores: Tensor) -> DenseFsaVec:
        """Segments as long as those of `dense_fsa_vec` with other `scores`, laid out as its own."""
        wanted = (int(dense_fsa_vec.frame_splits[-1]), dense_fsa_vec.num_classes + 1)
        if tuple(scores.shape) != wanted:
            raise NeveError(f"scores: shape {tuple(scores.shape)}, {wanted} is needed")
        starts, lengths = dense_fsa_vec.frame_splits[:-1], dense_fsa_vec.lengths
        segments = torch.stack((torch.zeros_like(starts), starts, lengths), dim=1)
        return cls(scores[:, 1:].unsqueeze(0), segments.to(torch.int32))

    def _places(self) -> tuple[Tensor, Tensor]:
        """(segment, frame within it) of each row of `scores`, on the CPU."""
        segment = torch.repeat_interleave(torch.arange(len(self)), self.lengths + 1)
        return segment, torch.arange(len(segment)) - self.frame_splits[segment]

    @property
    def scores(self) -> Tensor:
        """(F, C+1), of the dtype of log_probs, to which the gradient flows."""
        segment, frame = self._places()
        real = (frame < self.lengths[segment]).to(self.device)
        at = self.rows[segment] * self.log_probs.shape[1] + self.starts[segment] + frame
        flat = self.log_probs.reshape(-1, self.num_classes)
        at = at.clamp(max=max(len(flat) - 1, 0)).to(self.device)
        if len(flat) == 0:
            flat = flat.new_zeros(1, self.num_classes)
        spoken = torch.where(real.unsqueeze(1), flat[at], -torch.inf)
        ends = torch.where(real, -torch.inf, 0.0).to(flat.dtype).unsqueeze(1)
        return torch.cat((ends, spoken), dim=1)

    def segments(self) -> Tensor:
        """(K, longest segment, C): the segments, padded with 0; the gradient flows to log_probs."""
        longest = int(self.lengths.max()) if len(self) else 0
        whole = torch.equal(self.rows, torch.arange(len(self.log_probs)))
        if whole and not bool(self.starts.any()):
            return self.log_probs[:, :longest].contiguous()
        frame = torch.arange(longest)
        real = (frame < self.lengths.unsqueeze(1)).to(self.device)
        at = (self.starts.unsqueeze(1) + frame).clamp(max=self.log_probs.shape[1] - 1)
        found = self.log_probs[self.rows.unsqueeze(1).to(self.device), at.to(self.device)]
        return torch.where(real.unsqueeze(2), found, 0.0)

    def __repr__(self) -> str:
        return (
            f"DenseFsaVec({len(self)} segments, {int(self.lengths.sum())} frames, "
            f"{self.num_classes} classes)"
        )


def convert_dense_to_fsa_vec(dense_fsa_vec: DenseFsaVec) -> FsaVec:
    """The same as automata with an arc for each label of each frame: C arcs a frame, a chain."""
    dense = dense_fsa_vec
    scores = dense.scores
    classes, device = dense.num_classes, dense.device
    fsas = []
    for begin, length in zip(dense.frame_splits.tolist(), dense.lengths.tolist()):
        frames = torch.arange(length, dtype=torch.int32, device=device)
        last = torch.tensor([length], dtype=torch.int32, device=device)
        src = torch.cat((frames.repeat_interleave(classes), last))
        labels = torch.arange(classes, dtype=torch.int32, device=device).repeat(length)
        labels = torch.cat((labels, torch.full_like(last, -1)))
        values = scores[begin : begin + length, 1:].reshape(-1)
        values = torch.cat((values, scores[begin + length, :1]))
        splits = (torch.tensor([0, length + 2]), torch.tensor([0, len(src)]))
        fsas.append(Fsa._make(src, src + 1, labels, values, *splits, {}))
    return FsaVec(fsas)
