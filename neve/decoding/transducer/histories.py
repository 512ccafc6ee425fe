"""Token histories as nodes of a tree, and what the predictor says after each, computed once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# So many contexts of a stateless predictor are remembered; then it begins anew.
MOST_CONTEXTS = 50_000


class Histories:
    """Histories of the tokens of a batch; node 0 is the empty one. Equal tokens, equal node.

    Outputs of a stateless predictor depend on the last `context_size` tokens, and are kept in
    `contexts` from batch to batch. Those of another depend on the whole history, and are kept for
    this batch.

    A predictor's state is a tensor or a tuple of tensors, whose first dimension is that of the
    hypotheses.

    Args:
        model: has `predictor` and `joiner`.
        device: where they compute.
        contexts: of another batch searched with the same model.
    """

    def __init__(self, model, device: torch.device, contexts: Contexts | None = None):
        self.model, self.device = model, device
        self.parents, self.labels = [-1], [0]
        self.children: dict[tuple[int, int], int] = {}
        self.context_size = getattr(model.predictor, "context_size", 0) or 0
        self.contexts = None
        if self.context_size:
            self.contexts = Contexts(model, device) if contexts is None else contexts
            self.last = [(0,)]  # before the first blank there is nothing, not even a blank
        else:
            self.after = Outputs()
            self.states = [Outputs()]  # a table for each tensor of which a state consists

    def extend(self, node: int, token: int) -> int:
        """The node of a history with one more token."""
        key = (node, token)
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = len(self.parents)
            self.parents.append(node)
            self.labels.append(token)
            if self.context_size:
                self.last.append((*self.last[node], token)[-self.context_size :])
        return child

    def tokens(self, node: int) -> list[int]:
        """The tokens of a history, blanks not among them."""
        found = []
        while node:
            found.append(self.labels[node])
            node = self.parents[node]
        return found[::-1]

    def outputs(self, nodes: list[int]) -> Tensor:
        """(M, J) projected outputs of the predictor after each of the histories."""
        if self.contexts is not None:
            return self.contexts.outputs([self.last[node] for node in nodes])
        self._advance(nodes)
        return self.after.rows(nodes)

    def _advance(self, nodes: list[int]) -> None:
        """Compute what is missing with a predictor whose state is more than its last tokens."""
        predictor = self.model.predictor
        if 0 not in self.after:
            blank = torch.zeros(1, dtype=torch.long, device=self.device)
            output, state = predictor.step(blank, predictor.init_state(1, self.device))
            self._keep([0], output, state)
        new = [node for node in dict.fromkeys(nodes) if node not in self.after]
        if new:
            before = [self.parents[node] for node in new]
            state = tuple(table.rows(before) for table in self.states)
            tokens = torch.tensor([self.labels[node] for node in new], device=self.device)
            self._keep(new, *predictor.step(tokens, state if len(state) > 1 else state[0]))

    def _keep(self, nodes: list[int], output: Tensor, state: Tensor | tuple[Tensor, ...]) -> None:
        self.after.add(nodes, self.model.joiner.project_predictor(output))
        parts = (state,) if isinstance(state, Tensor) else state
        if len(parts) > len(self.states):
            self.states = [Outputs() for _ in parts]
        for table, part in zip(self.states, parts):
            table.add(nodes, part)


class Contexts:
    """What a stateless predictor says after its last tokens, computed once for each context.

    A context is as many tokens as the predictor sees, or fewer, from the blank on with which every
    history begins.

    Args:
        model: has `predictor`, with a `context_size`, and `joiner`.
        device: where they compute.
    """

    def __init__(self, model, device: torch.device):
        self.model, self.device = model, device
        self.size = model.predictor.context_size
        self.known = Outputs()

    def __len__(self) -> int:
        return len(self.known)

    @torch.inference_mode()
    def outputs(self, contexts: Sequence[tuple[int, ...]]) -> Tensor:
        """(M, J) projected outputs of the predictor after each of M contexts."""
        if len(self.known) > MOST_CONTEXTS:
            self.known.clear()
        missing: dict[int, dict[tuple, None]] = {}
        for context in contexts:
            if context not in self.known:
                missing.setdefault(len(context), {})[context] = None
        for new in missing.values():
            tokens = torch.tensor(list(new), device=self.device)
            state = self.model.predictor.init_state(len(tokens), self.device)
            for place in range(tokens.shape[1]):
                output, state = self.model.predictor.step(tokens[:, place], state)
            self.known.add(new, self.model.joiner.project_predictor(output))
        return self.known.rows(contexts)


class Outputs:
    """Rows of a growing table by key."""

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        self.places: dict = {}
        self.table = torch.empty(0)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key) -> bool:
        return key in self.places

    def add(self, keys, rows: Tensor) -> None:
        """Append (M, ...) rows of M new keys."""
        begin, end = len(self.places), len(self.places) + len(rows)
        if end > len(self.table):
            larger = rows.new_empty((max(2 * end, 256), *rows.shape[1:]))
            if begin:
                larger[:begin] = self.table[:begin]
            self.table = larger
        self.table[begin:end] = rows
        self.places.update(zip(keys, range(begin, end)))

    def rows(self, keys) -> Tensor:
        """(M, ...) rows of M keys."""
        index = [self.places[key] for key in keys]
        return self.table[torch.tensor(index, dtype=torch.long, device=self.table.device)]
