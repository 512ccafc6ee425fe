"""A neural LM beside a transducer while it searches: shallow fusion.

The LM's log-probability of each token, times a scale, is added to the transducer's; blank has none
(Gulcehre et al., 2015, arXiv:1503.03535; for transducers Kannan et al., 2018, arXiv:1712.01996).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.decoding.transducer.histories import Histories


class Fusion:
    """The LM's part of one search; only the hypotheses of the last frame are remembered.

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
        """(M, V) what is added to the log-probabilities of the next token after each history.

        Each history, or the one without its last token, was asked for the time before.
        """
        if self.table is None:
            self.table, self.state = self.lm.start(1)
            self.places = {0: 0}
        device = self.table.device
        stay = [node for node in dict.fromkeys(nodes) if node in self.places]
        new = [node for node in dict.fromkeys(nodes) if node not in self.places]
        tables, states = [], []
        if stay:
            rows = torch.tensor([self.places[node] for node in stay], device=device)
            tables.append(self.table[rows])
            states.append(self.lm.select(self.state, rows))
        if new:
            before = [self.places[histories.parents[node]] for node in new]
            state = self.lm.select(self.state, torch.tensor(before, device=device))
            said = torch.tensor([histories.labels[node] for node in new], device=device)
            table, state = self.lm.step(said, state)
            tables.append(table)
            states.append(state)
        self.table = torch.cat(tables)
        self.state = self.lm.join(states)
        self.places = {node: place for place, node in enumerate([*stay, *new])}
        rows = torch.tensor([self.places[node] for node in nodes], device=device)
        found = self.table[rows, : self.tokens] * self.scale
        found[:, 0] = 0.0
        return found
