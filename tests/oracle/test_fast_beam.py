"""Fast beam search: the same best path from the engine's streams and from the real k2's."""

import numpy as np
import pytest
import torch
from table_transducer import encoded, table_transducer

from neve import fsa
from neve.decoding.transducer import fast_beam
from neve.fsa.backends.k2.travel import from_fsa, to_fsa


@pytest.mark.parametrize("words", [False, True], ids=["any tokens", "graph"])
def test_fast_beam(comparison, monkeypatch, words):
    # the scores of the tables as they are: k2 has no part in their normalisation
    monkeypatch.setattr(fast_beam, "token_log_probs", lambda logits, *_: logits)
    for rng in comparison.cases():
        tokens = int(rng.integers(3, 7))
        searched = one_graph(rng, tokens) if words else fsa.trivial_graph(tokens - 1)
        frames = int(rng.integers(1, 15))
        by_frame = rng.normal(size=(frames, 1, tokens)).astype(np.float32) * 2
        table = rng.normal(size=(tokens, tokens)).astype(np.float32)
        table[:, 0] = 0.0
        # in a further frame nothing is said: it is for the arcs that end a path
        nothing = np.full((1, 1, tokens), -np.inf, np.float32)
        nothing[..., 0] = 0.0
        limits = {"beam": float(rng.choice([4.0, 20.0])), "max_states": 64}
        limits["max_contexts"] = int(rng.choice([2, 4, 8]))
        theirs = comparison.call(
            "rnnt_streams", graphs=[from_fsa(searched)], vocab_size=tokens, num_history=1,
            log_probs=np.concatenate((by_frame, nothing)), table=table, **limits,
        )  # fmt: skip
        (best,) = fsa.shortest_path(fsa.connect(to_fsa(theirs["lattice"])))
        tables = torch.from_numpy(by_frame + table)
        ours = fast_beam.fast_beam_search(
            table_transducer(tokens), encoded(tables), [frames], searched, **limits
        )
        (path,) = fsa.shortest_path(ours)
        comparison.same("tokens", path.labels, best.labels)
        comparison.close("scores", path.scores, best.scores, 1e-4)


def one_graph(rng, tokens: int, states: int = 6, arcs: int = 20) -> fsa.Fsa:
    """Random arcs over tokens; every state may end, at no cost, which k2 would not count."""
    src = np.concatenate((rng.integers(0, states - 1, arcs), np.arange(states - 1)))
    ends = np.arange(len(src)) >= arcs
    labels = np.where(ends, -1, rng.integers(1, tokens, len(src)))
    dst = np.where(ends, states - 1, rng.integers(0, states - 1, len(src)))
    scores = np.where(ends, 0.0, rng.normal(size=len(src)))
    order = np.argsort(src, kind="stable")
    columns = (column[order] for column in (src, dst, labels, scores))
    return fsa.Fsa.from_graph(fsa.Graph.from_arcs(states, *columns), acceptor=True)
