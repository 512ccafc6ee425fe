"""Lattices of words intersected with an automaton of phrases."""

from __future__ import annotations

import numpy as np
import torch

from neve.errors import NeveError
from neve.fsa import FsaVec, RaggedTensor
from neve.graphs.biasing import BiasingGraph


def bias_lattice(lattice: FsaVec, biasing: BiasingGraph) -> FsaVec:
    """The lattices with the bonuses of phrases of words added to their scores.

    A state of the result is a state of the lattice and what of phrases was read on the way to it,
    so that each path gets exactly the bonus of its words. It is for lattices that are there already
    (the real k2's, those of streams, on any device); neve's own searches heed phrases as they go,
    and then keep what would have been pruned without. Attributes follow; `bias_scores` (A,)
    float32 has what was added.

    Args:
        lattice: sorted topologically, with words (ids of words.txt) as `aux_labels`, ragged or not.
        biasing: over ids of words (see `word_biasing`).

    Raises NeveError for a lattice without `aux_labels`, or not sorted.
    """
    aux = lattice.attributes.get("aux_labels")
    if aux is None:
        raise NeveError("bias_lattice: the lattice has no aux_labels, and so no words")
    if not bool((lattice.src < lattice.dst).all()):
        raise NeveError("bias_lattice: the lattice is not sorted topologically; use top_sort")
    if isinstance(aux, RaggedTensor):
        splits, words = aux.row_splits.cpu().numpy(), aux.values.cpu().numpy().astype(np.int64)
    else:
        words = aux.cpu().numpy().astype(np.int64)
        splits = np.arange(len(words) + 1)
    src, dst = lattice.flat_states()
    src, dst = src.astype(np.int64), dst.astype(np.int64)
    labels = lattice.labels.cpu().numpy()
    rows = np.concatenate(([0], np.cumsum(np.bincount(src, minlength=lattice.num_states))))
    firsts = lattice.state_splits[:-1][torch.diff(lattice.state_splits) > 0].numpy()
    finals = np.zeros(lattice.num_states, bool)
    finals[lattice.state_splits[1:][torch.diff(lattice.state_splits) > 0].numpy() - 1] = True
    size = biasing.num_states
    # pairs (lattice state, biasing state) as state * size + biasing state; wave after wave
    wave = np.unique(firsts * size)
    pairs, parts = [wave, np.unique(np.flatnonzero(finals) * size)], []
    seen = np.unique(np.concatenate(pairs))
    while len(wave):
        states, biased = np.divmod(wave, size)
        counts = rows[states + 1] - rows[states]
        which = np.repeat(np.arange(len(wave)), counts)
        arcs = np.arange(len(which)) - (np.cumsum(counts) - counts)[which] + rows[states][which]
        after, delta = _read(biasing, biased[which], splits[arcs], splits[arcs + 1], words)
        ends = labels[arcs] == -1
        delta[ends] += biasing.finish(after[ends])
        after[ends] = 0
        target = dst[arcs] * size + after
        parts.append((wave[which], target, arcs, delta))
        wave = np.setdiff1d(target, seen)
        seen = np.union1d(seen, wave)
    none = (np.zeros(0, np.int64),) * 3 + (np.zeros(0),)
    source, target, arcs, delta = (np.concatenate(c) for c in zip(none, *parts))
    order = np.lexsort((target, arcs, source))
    source, target, arcs, delta = source[order], target[order], arcs[order], delta[order]
    first_pair = np.searchsorted(seen, lattice.state_splits.numpy() * size)
    first_arc = np.searchsorted(source, lattice.state_splits.numpy() * size)
    owner = np.repeat(np.arange(lattice.num_fsas), np.diff(first_arc))
    device = lattice.device
    index = torch.from_numpy(arcs).to(device)
    added = torch.from_numpy(delta).to(device, lattice.scores.dtype)
    numbers = [np.searchsorted(seen, x) - first_pair[owner] for x in (source, target)]
    attributes = lattice.attributes_at(index)
    attributes["bias_scores"] = added.float()
    return FsaVec._make(
        *(torch.from_numpy(x).to(device, torch.int32) for x in numbers),
        lattice.labels[index],
        lattice.scores[index] + added,
        torch.from_numpy(first_pair),
        torch.from_numpy(first_arc),
        attributes,
    )


def _read(biasing: BiasingGraph, states, begins, ends, words):
    """(n,) states after rows of words begins..ends-1, and the (n,) deltas."""
    states, delta = states.copy(), np.zeros(len(states))
    place = begins.copy()
    rows = np.flatnonzero(place < ends)
    while len(rows):
        word = words[place[rows]]
        spoken = rows[word > 0]
        states[spoken], more = biasing.step(states[spoken], word[word > 0])
        delta[spoken] += more
        place[rows] += 1
        rows = rows[place[rows] < ends[rows]]
    return states, delta
