"""Random automata for comparison with the real k2, and ways to compare regardless of numbering."""

import itertools

import numpy as np
import torch
from random_graphs import all_paths, random_fsa

from neve.fsa import Fsa, FsaVec, RaggedTensor, connect


def uneven(rng: np.random.Generator, fsa: Fsa) -> Fsa:
    """The automaton with scores that no two paths share."""
    noise = rng.normal(size=fsa.num_arcs).astype(np.float32) / 8
    fsa.scores = fsa.scores + torch.from_numpy(noise)
    return fsa


def graph(rng: np.random.Generator, **options) -> Fsa:
    """A random automaton of up to six states with uneven scores, of two arcs at least.

    k2 1.23.4 refuses the scores of a single arc: a column of one row is not contiguous to it.
    """
    while True:
        fsa = random_fsa(rng, **options)
        if fsa.num_arcs > 1:
            return uneven(rng, fsa)


def graphs(rng: np.random.Generator, most: int = 4, **options) -> FsaVec:
    return FsaVec([graph(rng, **options) for _ in range(int(rng.integers(1, most + 1)))])


def ragged_aux(rng: np.random.Generator, fsa: Fsa) -> Fsa:
    """The automaton with 0 to 3 aux_labels on each arc, and -1 on the final ones."""
    rows = [
        [*rng.integers(1, 5, rng.integers(0, 3)).tolist(), *([-1] if label == -1 else [])]
        for label in fsa.labels.tolist()
    ]
    fsa.aux_labels = RaggedTensor(rows, dtype=torch.int32)
    return fsa


def connected(rng: np.random.Generator, **options) -> Fsa:
    """A random automaton all of whose states are on a path."""
    while True:
        found = graph(rng, **options)
        if connect(found).num_states == found.num_states:
            return found


def with_attributes(rng: np.random.Generator, fsa: Fsa, aux: str = "plain") -> Fsa:
    """The automaton with float `cost` and int or ragged `aux_labels` ("plain", "ragged", "")."""
    if aux == "ragged":
        fsa = ragged_aux(rng, fsa)
    elif aux:
        words = torch.from_numpy(rng.integers(0, 4, fsa.num_arcs).astype(np.int32))
        fsa.aux_labels = torch.where(fsa.labels == -1, -1, words)
    fsa.cost = torch.from_numpy(rng.normal(size=fsa.num_arcs).astype(np.float32))
    return fsa


def aux_of(fsa: Fsa, names: tuple[str, ...]) -> list[tuple]:
    """For each arc the attributes `names`, numbers or tuples of numbers."""
    columns = []
    for name in names:
        value = getattr(fsa, name)
        columns.append(
            [tuple(x) for x in value.tolist()]
            if isinstance(value, RaggedTensor)
            else value.tolist()
        )
    return list(zip(*columns)) if columns else [()] * fsa.num_arcs


def rows(fsa: Fsa, *names: str, states: bool = True) -> tuple[list, np.ndarray]:
    """(arcs without scores, their scores) of one or several automata, sorted.

    With `states` an arc says which states it joins, else only its label and attributes.
    """
    owner = torch.repeat_interleave(torch.arange(fsa.num_fsas), fsa.arc_splits.diff()).tolist()
    columns = [owner, fsa.labels.tolist(), aux_of(fsa, names)]
    if states:
        columns += [fsa.src.tolist(), fsa.dst.tolist()]
    scores = fsa.scores.tolist()
    order = sorted(range(fsa.num_arcs), key=lambda e: (*(c[e] for c in columns), scores[e]))
    return [tuple(c[e] for c in columns) for e in order], np.array([scores[e] for e in order])


def language(fsa: Fsa, aux: str | None = None, longest: int = 12) -> dict[tuple, tuple]:
    """Sequence of labels without 0 -> (best score, what its best path emits), of one automaton.

    Paths of at most `longest` arcs count.
    """
    emitted = aux_of(fsa, (aux,)) if aux else None
    labels, scores = fsa.labels.tolist(), fsa.scores.tolist()
    found: dict[tuple, tuple] = {}
    for path in all_paths(fsa, longest):
        key = tuple(labels[e] for e in path if labels[e] > 0)
        score = sum(scores[e] for e in path)
        if key not in found or score > found[key][0]:
            words = ()
            if emitted is not None:
                parts = (x if isinstance(x, tuple) else (x,) for (x,) in (emitted[e] for e in path))
                words = tuple(x for x in itertools.chain(*parts) if x > 0)
            found[key] = score, words
    return found
