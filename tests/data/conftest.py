"""A tiny corpus for each test that asks for one."""

import pytest
from tiny_corpus import TinyCorpus, hum


@pytest.fixture
def corpus(tmp_path) -> TinyCorpus:
    return TinyCorpus(tmp_path / "corpus")


@pytest.fixture
def tiny(tmp_path):
    """TinyCorpus with other sizes: `tiny(count=30, speakers=2)`."""
    return lambda **sizes: TinyCorpus(tmp_path / "corpus", **sizes)


@pytest.fixture
def humming():
    return hum
