"""The states of the global random number generators: torch's, numpy's and Python's."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_all(seed: int, rank: int) -> None:
    """Seed all generators, differently in each process."""
    torch.manual_seed(seed + (rank << 40))
    random.seed(f"{seed} {rank}")
    np.random.seed([seed % 2**32, rank])


def random_state() -> dict:
    """The generators' states, in types that a checkpoint may hold."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Go on where `random_state` was taken."""
    torch.set_rng_state(state["torch"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


class kept_random_state:
    """Context after which the generators go on as if nothing in it had drawn from them."""

    def __enter__(self) -> None:
        self.state = random_state()

    def __exit__(self, *error) -> None:
        set_random_state(self.state)
