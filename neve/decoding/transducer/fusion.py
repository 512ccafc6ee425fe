"""Language models beside a transducer while it searches: shallow fusion, and what it takes off.

Log-probabilities of each token, times a scale, are added to the transducer's; blank has none
(Gulcehre et al., 2015, arXiv:1503.03535; for transducers Kannan et al., 2018, arXiv:1712.01996).
A negative scale takes off what the transducer has learnt of its training text: a low-order n-gram
of that text in LODR (Zheng et al., 2022, arXiv:2203.16776), its own predictor in internal LM
estimation (Variani et al., 2020, arXiv:2003.07705; Meng et al., 2021, arXiv:2011.01991).

A part of a search has `scores`, and `keep`, by which the search says after each frame which
histories it goes on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from neve.decoding.token_ngram import TokenNgram
from neve.decoding.transducer.histories import Histories

SPARE = 64  # histories that are remembered beyond twice as many as are needed


class Part(Protocol):
    """What a search adds to the log-probabilities of tokens."""

    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """(M, V) what is added for the next token after each history; 0 for blank."""

    def keep(self, nodes: list[int], histories: Histories) -> None:
        """Only these histories, and longer ones, will be asked for from now on."""


class Fusion:
    """A neural LM's part of one search.

    Args:
        lm: a `neve.models.lm.LanguageModel` over the transducer's tokens, with their ids.
        scale: its log-probabilities are multiplied by this.
        tokens: number of the transducer's tokens, blank (0) included.
    """

    def __init__(self, lm, scale: float, tokens: int):
        self.lm, self.scale, self.tokens = lm, scale, tokens
        self.table: Tensor | None = None
        self.places: dict[int, int] = {}

    @torch.inference_mode()
    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """See `Part`."""
        if self.table is None:
            self.table, self.state = self.lm.start(1)
            self.places = {0: 0}
        missing = [self._missing(nodes)]
        while missing[-1]:
            missing.append(self._missing(histories.parents[node] for node in missing[-1]))
        for new in reversed(missing):
            self._step(self._missing(new), histories)
        found = self.table[self._rows(nodes), : self.tokens] * self.scale
        found[:, 0] = 0.0
        return found

    def keep(self, nodes: list[int], histories: Histories) -> None:
        """See `Part`. The empty history stays, so that each can be reached from it."""
        kept = {0: None}
        for node in nodes:
            while node not in self.places:
                node = histories.parents[node]
            kept[node] = None
        if len(self.places) > 2 * len(kept) + SPARE:
            rows = self._rows(kept)
            self.table, self.state = self.table[rows], self.lm.select(self.state, rows)
            self.places = {node: place for place, node in enumerate(kept)}

    def _missing(self, nodes) -> list[int]:
        return [node for node in dict.fromkeys(nodes) if node not in self.places]

    def _rows(self, nodes) -> Tensor:
        return torch.tensor([self.places[node] for node in nodes], device=self.table.device)

    def _step(self, new: list[int], histories: Histories) -> None:
        """Take in histories whose beginnings without the last token are there."""
        if not new:
            return
        before = self._rows(histories.parents[node] for node in new)
        said = torch.tensor([histories.labels[node] for node in new], device=self.table.device)
        table, state = self.lm.step(said, self.lm.select(self.state, before))
        self.places.update(zip(new, range(len(self.places), len(self.places) + len(new))))
        self.table = torch.cat([self.table, table])
        self.state = self.lm.join([self.state, state])


class NgramFusion:
    """An n-gram's part of searches, over the transducer's tokens.

    Args:
        ngram: the model.
        scale: its log-probabilities are multiplied by this.
    """

    def __init__(self, ngram: TokenNgram, scale: float):
        self.ngram, self.scale = ngram, scale

    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """See `Part`."""
        rows = np.stack([self.ngram.row(self._context(node, histories)) for node in nodes])
        return (torch.from_numpy(rows) * self.scale).to(histories.device)

    def keep(self, nodes: list[int], histories: Histories) -> None:
        """See `Part`; nothing is remembered of histories."""

    def _context(self, node: int, histories: Histories) -> tuple[int, ...]:
        last: list[int] = []
        while node and len(last) < self.ngram.order - 1:
            last.append(histories.labels[node])
            node = histories.parents[node]
        return self.ngram.context(last[::-1], begins=node == 0)


class InternalFusion:
    """What the transducer itself says of tokens without having heard anything.

    Its joiner gets an encoder output of zeros, and blank is left out.

    Args:
        model: has `joiner`; see `neve.decoding.transducer`.
        scale: the log-probabilities are multiplied by this; negative to take them off.
    """

    def __init__(self, model, scale: float):
        self.model, self.scale = model, scale
        self.encoded: Tensor | None = None

    @torch.inference_mode()
    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """See `Part`."""
        joiner = self.model.joiner
        if self.encoded is None:
            silence = torch.zeros(1, joiner.encoder_proj.in_features, device=histories.device)
            self.encoded = joiner.project(silence)
        logits = joiner.join(self.encoded, histories.outputs(nodes)).float()
        found = torch.zeros_like(logits)
        found[:, 1:] = torch.log_softmax(logits[:, 1:], dim=-1) * self.scale
        return found

    def keep(self, nodes: list[int], histories: Histories) -> None:
        """See `Part`; `Histories` remembers what the predictor says."""


class Sum:
    """Several parts of one search together."""

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)

    def scores(self, nodes: list[int], histories: Histories) -> Tensor:
        """See `Part`."""
        return sum(part.scores(nodes, histories) for part in self.parts)

    def keep(self, nodes: list[int], histories: Histories) -> None:
        """See `Part`."""
        for part in self.parts:
            part.keep(nodes, histories)
