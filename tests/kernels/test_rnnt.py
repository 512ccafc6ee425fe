"""The parts of the RNN-T kernels that the losses' tests do not single out."""

import os

import numba
import numpy as np
import pytest

from neve.kernels.approximate import highest
from neve.kernels.mutual_information import mutual_information
from neve.kernels.rnnt import REGULAR, exp_rows, pruned, pruned_gradient


@numba.njit
def highest_of(row, first):
    return highest(row, first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxima_by_bits_are_maxima(dtype):
    seed = int.from_bytes(os.urandom(4))
    rng = np.random.default_rng(seed)
    for number in range(200):
        size = int(rng.integers(1, 70))
        row = (rng.normal(size=size) * 10.0 ** rng.integers(-40, 30)).astype(dtype)
        if rng.random() < 0.3:
            row[rng.integers(size)] = rng.choice([-np.inf, np.inf, 0.0, -0.0])
        if rng.random() < 0.1:
            row[:] = -np.inf
        first = int(rng.integers(size))
        assert highest_of(row, first) == row[first:].max(), f"seed {seed}, case {number}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_exponentials_do_not_hide_nan(dtype, bad):
    rows = np.zeros((3, 21), dtype)
    rows[1, 17] = np.copysign(bad, -1.0) if np.signbit(bad) else bad
    rows[2, 3] = -np.inf
    found, _ = exp_rows(rows)
    assert np.isnan(found[1]).any()
    np.testing.assert_allclose(found[[0, 2]], np.exp(rows[[0, 2]]), atol=1e-37)


def test_exponentials_are_close_in_float32():
    rows = np.random.default_rng(1).uniform(-86, 86, (50, 333)).astype(np.float32)
    found, high = exp_rows(rows)
    wanted = np.exp((rows - rows.max(1, keepdims=True)).astype(np.float64))
    sure = wanted > 1e-37
    np.testing.assert_allclose(found[sure], wanted[sure], rtol=5e-7)
    assert (high == rows.max(1, keepdims=True)).all()


def test_threads_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(5, 7, 3, 11)).astype(np.float32)
    symbols, begins = rng.integers(0, 11, (5, 4)), np.minimum(np.arange(7), 2)[None].repeat(5, 0)
    boundary = np.array([[0, 0, 4, 7]] * 5)
    px, py = rng.normal(size=(5, 4, 8)), rng.normal(size=(5, 5, 7))
    results = []
    for threads in (1, 3):
        monkeypatch.setattr("neve.kernels.threads.num_threads", lambda threads=threads: threads)
        totals, saved = pruned(logits, symbols, begins, boundary, 0, REGULAR)
        gradient = pruned_gradient(saved, np.ones(5, np.float32))
        results.append((totals, gradient, *mutual_information(px, py, boundary)))
    for one, other in zip(*results):
        assert np.array_equal(one, other)
