"""Dense scores of segments of a batch: the other side of an intersection with a graph."""

from __future__ import annotations

import torch

from neve.errors import NeveError


class DenseFsaVec:
    """Log-probabilities of K segments of a batch, as K automata that accept any label each frame.

    Segment k has `lengths[k]` frames and one more, which has score 0 for label -1 and none for any
    other. All frames lie after one another in `scores` (F, C+1) float32: column 0 is label -1,
    column j+1 label j. `frame_splits` (K+1,) int64 says which rows are whose.
    """

    def __init__(self, log_probs: torch.Tensor, segments: torch.Tensor, allow_truncate: int = 0):
        """log_probs (N, T, C) float32; segments (K, 3) int32: row, first frame, frames.

        A segment may reach beyond T by allow_truncate frames and is then cut at T. Raises
        NeveError for rows or frames out of range, and for NaN.
        """
        if log_probs.ndim != 3:
            raise NeveError(f"log_probs: shape {tuple(log_probs.shape)}, (N, T, C) is needed")
        if log_probs.dtype != torch.float32:
            raise NeveError(f"log_probs: float32 is needed, not {log_probs.dtype}")
        if segments.ndim != 2 or segments.shape[1] != 3 or segments.dtype != torch.int32:
            raise NeveError(
                f"segments: (K, 3) int32 is needed, not {tuple(segments.shape)} {segments.dtype}"
            )
        num_rows, num_frames, num_classes = log_probs.shape
        rows, starts, lengths = segments.cpu().long().unbind(1)
        for k, (row, start, length) in enumerate(segments.tolist()):
            if not 0 <= row < num_rows:
                raise NeveError(f"segments: row {row} of segment {k} is not in 0..{num_rows - 1}")
            if start < 0 or length < 0 or start + length > num_frames + allow_truncate:
                raise NeveError(
                    f"segments: segment {k} has frames {start}..{start + length} of {num_frames} "
                    f"(allow_truncate {allow_truncate})"
                )
            if torch.isnan(log_probs[row, start : start + length]).any():
                raise NeveError(f"log_probs: row {row} holds NaN")
        self.log_probs = log_probs
        self.rows, self.starts = rows, starts
        self.lengths = torch.minimum(lengths, (num_frames - starts).clamp(min=0))
        self.frame_splits = torch.cat((torch.zeros(1).long(), (self.lengths + 1).cumsum(0)))
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scores(self) -> torch.Tensor:
        """(F, C+1) float32; the gradient reaches log_probs."""
        frames = []
        end = self.log_probs.new_full((1, self.num_classes + 1), -torch.inf)
        end[0, 0] = 0.0
        for row, start, length in zip(self.rows, self.starts, self.lengths):
            part = self.log_probs[row, start : start + length]
            frames += [torch.nn.functional.pad(part, (1, 0), value=-torch.inf), end]
        return torch.cat(frames) if frames else end[:0]

    def padded(self) -> torch.Tensor:
        """(K, longest segment, C) float32: the segments, for the search kernels."""
        longest = int(self.lengths.max()) if len(self) else 0
        log_probs = self.log_probs.detach()
        if bool((self.starts == 0).all()) and torch.equal(self.rows, torch.arange(len(log_probs))):
            return log_probs[:, :longest]
        result = log_probs.new_zeros(len(self), longest, self.num_classes)
        for k, (row, start, length) in enumerate(zip(self.rows, self.starts, self.lengths)):
            result[k, :length] = log_probs[row, start : start + length]
        return result
