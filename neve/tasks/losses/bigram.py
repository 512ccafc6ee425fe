"""The total of a bigram model of tokens with CTC's topology, as products of matrices.

Every token may follow every other, so that the composed graph is dense: in each frame its arcs are
one matrix, with which the probabilities of all states of all utterances are multiplied. They are
kept in a reasonable range by dividing them by their sum in every frame.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neve.kernels import Graph

LEAST = 1e-30  # a probability that float32 still multiplies


class BigramTotals(nn.Module):
    """Log-sums over all paths of a model in which the last token alone is the history.

    Args:
        graph: an epsilon-free acceptor of tokens 1 to C - 1, with an arc for each token from every
            state; the state after a token is always the same.
    """

    def __init__(self, graph: Graph):
        super().__init__()
        tokens = graph.max_label
        scores = np.zeros((graph.num_states, tokens + 1))  # column 0: the end
        after = np.zeros(tokens + 1, np.int64)
        src, labels = graph.src, graph.labels
        scores[src, np.maximum(labels, 0)] = np.exp(graph.scores.astype(np.float64))
        after[labels[labels > 0]] = graph.dst[labels > 0]
        scores = np.maximum(scores, LEAST)
        within = scores[after[1:]]
        follow = torch.from_numpy(within[:, 1:]).float()
        # a token that follows itself needs a blank between
        others = follow.clone().fill_diagonal_(0.0)
        self.register_buffer("steps", torch.cat([follow, others]))
        self.register_buffer("ends", torch.from_numpy(within[:, 0]).float())
        self.register_buffer("first", torch.from_numpy(scores[0, 1:]).float())
        self.nothing = float(scores[0, 0])

    def forward(self, log_probs: Tensor, lengths: Tensor) -> Tensor:
        """(N,) totals of (N, T, C) log-probabilities, of which (N,) frames count."""
        count, frames, _ = log_probs.shape
        tokens = len(self.ends)
        lengths = lengths.to(log_probs.device)
        highest = log_probs.detach().amax(2, keepdim=True)
        likely = (log_probs - highest).float().exp()
        # probabilities: of nothing said yet; of the last token and a blank after it, or none
        silent = log_probs.new_ones(count, 1, dtype=torch.float32)
        ended = silent.new_zeros(count, tokens)
        inside = ended
        total = silent.new_zeros(count)
        for t in range(frames):
            real = (t < lengths).unsqueeze(1)
            blank, token = likely[:, t, :1], likely[:, t, 1:]
            entered = torch.cat([ended, inside], dim=1) @ self.steps
            now_inside = token * (inside + entered + silent * self.first)
            now_ended = blank * (ended + inside)
            now_silent = blank * silent
            mass = now_inside.sum(1) + now_ended.sum(1) + now_silent.sum(1)
            mass = torch.where(real.squeeze(1), mass, 1.0)
            total = total + torch.where(real.squeeze(1), mass.log() + highest[:, t, 0], 0.0)
            scale = mass.unsqueeze(1)
            inside = torch.where(real, now_inside / scale, inside)
            ended = torch.where(real, now_ended / scale, ended)
            silent = torch.where(real, now_silent / scale, silent)
        rest = (ended + inside) @ self.ends + silent.squeeze(1) * self.nothing
        return (total + rest.log()).to(log_probs.dtype)
