"""Long recordings are cut where they are quietest."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.transcribe import cut_at_pauses

RATE = 1000


def test_a_short_recording_stays_whole():
    assert cut_at_pauses(np.ones(5000), RATE, 10.0) == [(0, 5000)]
    assert cut_at_pauses(np.zeros(0), RATE, 10.0) == [(0, 0)]


def test_the_cut_is_in_the_pause():
    samples = np.random.default_rng(0).normal(size=16000)
    samples[7300:7700] = 0
    assert cut_at_pauses(samples, RATE, 10.0)[0][1] in range(7300, 7700)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60000), st.floats(0.5, 20), st.integers(0, 9))
def test_pieces_are_short_and_together_the_whole(length, longest, seed):
    samples = np.random.default_rng(seed).normal(size=length)
    pieces = cut_at_pauses(samples, RATE, longest)
    assert pieces[0][0] == 0 and pieces[-1][1] == length
    assert all(a[1] == b[0] for a, b in zip(pieces, pieces[1:]))
    assert all(end - start <= longest * RATE for start, end in pieces)
