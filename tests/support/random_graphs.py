"""Random automata of up to six states and all their paths, for tests that enumerate."""

import os
from collections.abc import Iterator

import numpy as np
import torch

from neve.fsa import Fsa


def cases(count: int = 200) -> Iterator[tuple[np.random.Generator, str]]:
    """`count` times a generator and a text that says how to have the same case again.

    The seed is a new one in every run; NEVE_TEST_SEED fixes it.
    """
    seed = int(os.environ.get("NEVE_TEST_SEED") or int.from_bytes(os.urandom(4), "little"))
    for number in range(count):
        yield np.random.default_rng([seed, number]), f"NEVE_TEST_SEED={seed}, case {number}"


def random_fsa(
    rng: np.random.Generator,
    acyclic: bool = True,
    labels: tuple[int, ...] = (0, 1, 2),
    most_states: int = 6,
    most_arcs: int = 10,
    aux: bool = False,
    highest: int = 4,
) -> Fsa:
    """2..most_states states (rarely none), arcs as they come, several ends, maybe dead ends.

    Scores are multiples of 1/4 from -2 to highest/4, so that sums are exact.
    """
    if rng.random() < 0.03:
        return Fsa.from_str("", acceptor=not aux)
    final = int(rng.integers(1, most_states))
    arcs = []
    for _ in range(int(rng.integers(0, most_arcs + 1))):
        src, dst = int(rng.integers(final)), int(rng.integers(final))
        if acyclic:
            if src == dst:
                continue
            src, dst = min(src, dst), max(src, dst)
        arcs.append((src, dst, int(rng.choice(labels))))
    arcs += [(int(rng.integers(final)), final, -1) for _ in range(int(rng.integers(1, 4)))]
    arcs.sort(key=lambda arc: arc[0])
    scores = torch.from_numpy(rng.integers(-8, highest + 1, len(arcs)).astype(np.float32) / 4)
    table = torch.cat(
        (torch.tensor(arcs, dtype=torch.int32), scores.view(torch.int32).unsqueeze(1)), dim=1
    )
    fsa = Fsa(table, num_states=final + 1)
    if aux:
        words = torch.from_numpy(rng.integers(0, 4, len(arcs)).astype(np.int32))
        fsa.aux_labels = torch.where(fsa.labels == -1, -1, words)
    return fsa


def arcs_of(fsa: Fsa) -> list[tuple[int, int, int, float]]:
    """(src, dst, label, score) of each arc of one automaton."""
    return list(zip(fsa.src.tolist(), fsa.dst.tolist(), fsa.labels.tolist(), fsa.scores.tolist()))


def all_paths(fsa: Fsa, longest: int = 12) -> list[tuple[int, ...]]:
    """Every path from the start to the final state of at most `longest` arcs, as arc indices."""
    arcs = arcs_of(fsa)
    final = fsa.num_states - 1
    found, open_paths = [], [(0, ())] if fsa.num_states else []
    while open_paths:
        state, path = open_paths.pop()
        if state == final:
            found.append(path)
        elif len(path) < longest:
            open_paths += [
                (dst, (*path, e)) for e, (src, dst, _, _) in enumerate(arcs) if src == state
            ]
    return found


def path_score(fsa: Fsa, path: tuple[int, ...]) -> float:
    return sum(float(fsa.scores[e]) for e in path)
