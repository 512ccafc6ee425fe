"""KenLM run on the spot: lmplz estimates the same models, and its reader gives the same scores.

NEVE_LMPLZ names the program (else `lmplz` is looked for); the reader is the Python package kenlm.
Each is a developer's own to build; what is missing is skipped.
"""

import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from neve.lm import entropy_prune, estimate, interpolate, read_arpa, write_arpa

LMPLZ = os.environ.get("NEVE_LMPLZ") or shutil.which("lmplz")
DATA = Path(__file__).parent / "data"

needs_lmplz = pytest.mark.skipif(not LMPLZ, reason="there is no lmplz (NEVE_LMPLZ)")


def text_of(seed, sentences=400, vocabulary=150):
    """A text whose n-grams repeat: each word is near one of the two before."""
    rng = np.random.default_rng(seed)
    lines = []
    for length in rng.integers(0, 14, sentences):
        words = [int(rng.zipf(1.3)) % vocabulary]
        for _ in range(length):
            near = (words[-1] * 7 + int(rng.zipf(1.6))) % vocabulary
            words.append(near if rng.random() < 0.6 else int(rng.zipf(1.2)) % vocabulary)
        lines.append(" ".join(f"v{word}é" for word in words))
    return lines


def lmplz(text, order, tmp_path, *options):
    (tmp_path / "text").write_text("\n".join(text) + "\n", encoding="utf-8")
    out = tmp_path / "lmplz.arpa"
    with open(tmp_path / "text", "rb") as stdin:
        subprocess.run(
            [LMPLZ, "-o", str(order), "-S", "64M", "-T", str(tmp_path), "--arpa", str(out)]
            + ["--discount_fallback", "--minimum_block", "8K", "--sort_block", "1M", *options],
            stdin=stdin,
            check=True,
            capture_output=True,
        )
    return read_arpa(out)


def table(model, order):
    level = model.levels[order - 1]
    return dict(zip(model.ngrams(order), zip(level.log_prob, level.backoff)))


def assert_equal(ours, theirs):
    assert ours.order == theirs.order
    for order in range(1, ours.order + 1):
        mine, other = table(ours, order), table(theirs, order)
        assert mine.keys() == other.keys()
        differences = [np.subtract(mine[ngram], other[ngram]) for ngram in mine]
        assert np.abs(differences).max() < 1e-4


@needs_lmplz
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("order", "prune"), [(1, ()), (2, ()), (3, ()), (3, (0, 1, 2)), (4, (0, 0, 1)), (5, ())]
)
def test_the_same_probabilities(tmp_path, seed, order, prune):
    text = text_of(10 * seed + order)
    options = ["--prune", *map(str, prune)] if prune else []
    theirs = lmplz(text, order, tmp_path, *options)
    usual = {"discount_fallback": (0.5, 1.0, 1.5), "prune": prune}
    assert_equal(estimate(text, order, **usual), theirs)
    parts = estimate(text, order, memory=100_000, scratch=tmp_path, **usual)
    assert_equal(parts, theirs)


@needs_lmplz
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_same_probabilities_with_a_limited_vocabulary(tmp_path, order):
    text = text_of(order)
    words = [f"v{number}é" for number in range(0, 150, 2)]
    (tmp_path / "words").write_text(" ".join([*words, "unheard"]), encoding="utf-8")
    theirs = lmplz(text, order, tmp_path, "--limit_vocab_file", str(tmp_path / "words"))
    usual = {"discount_fallback": (0.5, 1.0, 1.5)}
    ours = estimate(text, order, limit=words, **usual)
    assert_equal(ours, theirs)
    assert_equal(estimate(text, order, limit=words, memory=90_000, scratch=tmp_path, **usual), ours)


def models():
    text = text_of(5)
    usual = {"discount_fallback": (0.5, 1.0, 1.5)}
    first = estimate(text, 3, ["never"], **usual)
    second = estimate(text_of(6, 100), 4, **usual)
    return {
        "estimated": first,
        "mixed": interpolate([first, second], [0.8, 0.2]),
        "pruned": entropy_prune(first, 1e-4),
    }


@pytest.mark.parametrize("name", ["estimated", "mixed", "pruned"])
def test_kenlm_reads_our_files(tmp_path, name):
    kenlm = pytest.importorskip("kenlm", reason="the Python package kenlm is not there")
    model = models()[name]
    write_arpa(model, tmp_path / "lm.arpa")
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    assert theirs.order == model.order
    for sentence in (*text_of(7, 60), "", "never v1é", "never"):
        assert theirs.score(sentence) == pytest.approx(model.score(sentence), abs=2e-4)
        words = sentence.split()
        total = sum(model.log_prob(["<s>", *words[:n]], word) for n, word in enumerate(words))
        assert math.isclose(theirs.score(sentence, eos=False), total, abs_tol=2e-4)
