"""Estimation on disk against that in memory: the same numbers, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import ConfigError
from neve.lm import estimate, write_arpa
from neve.lm.config import memory_bytes
from neve.lm.disk import DiskArray

DATA = Path(__file__).parent / "data"


def assert_same(one, other):
    assert one.words == other.words
    for mine, theirs in zip(one.levels, other.levels, strict=True):
        for name in ("context", "word", "log_prob", "backoff", "count"):
            mine_values, values = (np.asarray(getattr(level, name)) for level in (mine, theirs))
            assert np.array_equal(mine_values, values), name


@pytest.mark.parametrize(
    ("name", "order", "prune", "memory"),
    [
        ("gettysburg", 1, (), 2000),
        ("gettysburg", 3, (), 2000),  # a few words at a time
        ("tiny", 4, (), 1),
        ("digits", 3, (), 3000),  # contexts that occur more often than fits
        ("zipf", 4, (0, 1, 1, 2), 200_000),
        ("zipf", 3, (), 100_000),
    ],
)
def test_the_same_model(tmp_path, name, order, prune, memory):
    text = (DATA / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]
    options = {"discount_fallback": (0.5, 1.0, 1.5), "prune": prune}
    whole = estimate(text, order, ["never"], **options)
    parts = estimate(text, order, ["never"], memory=memory, scratch=tmp_path, **options)
    assert isinstance(parts.levels[-1].word, DiskArray) and not isinstance(whole, DiskArray)
    assert_same(whole, parts)
    for model in (whole, parts):
        write_arpa(model, tmp_path / f"{model is whole}.arpa")
    assert (tmp_path / "True.arpa").read_bytes() == (tmp_path / "False.arpa").read_bytes()
    assert parts.score(text[0]) == whole.score(text[0])
    assert parts.perplexity(text[:50]) == whole.perplexity(text[:50])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=5), min_size=1, max_size=12).filter(any),
    st.integers(1, 4),
    st.sampled_from([(), (0, 1)]),
    st.integers(1, 9000),
)
def test_any_text(tmp_path_factory, text, order, prune, memory):
    options = {"discount_fallback": (0.5, 1.0, 1.5), "prune": prune[:order]}
    scratch = tmp_path_factory.mktemp("scratch")
    parts = estimate(text, order, memory=memory, scratch=scratch, **options)
    assert_same(estimate(text, order, **options), parts)


def test_what_fits_stays_in_memory(tmp_path):
    options = {"discount_fallback": (0.5, 1.0, 1.5), "memory": 1 << 20, "scratch": tmp_path}
    model = estimate(["a b", "b a"], 2, **options)
    assert isinstance(model.levels[0].word, np.ndarray) and not list(tmp_path.iterdir())


def test_only_the_model_is_left_on_disk(tmp_path):
    text = (DATA / "gettysburg.txt").read_text(encoding="utf-8").split("\n")[:-1]
    estimate(text, 3, memory=2000, scratch=tmp_path, discount_fallback=(0.5, 1.0, 1.5))
    left = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in left if name.startswith(("tokens", "run_", "ids", "uniform"))]


def test_arrays_on_disk(tmp_path):
    array = DiskArray(tmp_path / "x", np.int32)
    assert len(array) == 0 and len(array[:]) == 0 and len(array.mapped()) == 0
    array.append(np.arange(10))
    array[2:4] = np.array([7, 8])
    assert (
        array[1:5].tolist() == [1, 7, 8, 4]
        and array[9] == 9
        and array[::3].tolist() == [0, 8, 6, 9]
    )
    assert [start for start, _ in array.blocks(4)] == [0, 4, 8]
    with pytest.raises(ValueError, match="2 values for 1 places"):
        array[9:12] = np.arange(2)
    array.remove()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 << 30), ("500M", 500 << 20), ("1.5 GiB", 3 << 29), ("100", 100)]
)
def test_sizes(text, size):
    assert memory_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "0", "-1G", "2X"])
def test_bad_sizes(text):
    with pytest.raises(ConfigError, match="lm.memory"):
        memory_bytes(text)
