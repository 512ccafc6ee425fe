"""The lexicon transducer, against the strings that icefall's graphs of the same lexicon have."""

import math

import numpy as np
import pytest

from neve.errors import NeveError
from neve.lang import LexiconEntry, LexiconFst, SymbolTable, make_lexicon_fst
from neve.lang.lexicon import add_disambiguation

ENTRIES = [LexiconEntry("a", ("x",)), LexiconEntry("b", ("x", "y")), LexiconEntry("c", ("x",))]
TOKENS = SymbolTable(["<eps>", "SIL", "x", "y", "#0", "#1", "#2"])
WORDS = SymbolTable(["<eps>", "a", "b", "c", "#0", "<s>", "</s>"])
NONE = np.float32(math.log(0.75))
SIL = np.float32(math.log(0.25))


def rows(fst):
    return [
        (*map(int, arc[:3]), int(aux), score)
        for arc, aux, score in zip(fst.arcs, fst.aux_labels, fst.scores)
    ]


def test_without_silence():
    assert rows(make_lexicon_fst(ENTRIES, TOKENS, WORDS)) == [
        (0, 0, 2, 1, 0.0),
        (0, 1, 2, 2, 0.0),
        (0, 0, 2, 3, 0.0),
        (0, 2, -1, -1, 0.0),
        (1, 0, 3, 0, 0.0),
    ]


def test_with_silence_and_disambiguation():
    entries, _ = add_disambiguation(ENTRIES)
    fst = make_lexicon_fst(entries, TOKENS, WORDS, silence="SIL", sil_prob=0.25, disambig=True)
    assert rows(fst) == [
        (0, 1, 0, 0, NONE),
        (0, 2, 0, 0, SIL),
        (1, 3, 2, 1, 0.0),  # a = x #1
        (1, 4, 2, 2, 0.0),  # b = x y
        (1, 5, 2, 3, 0.0),  # c = x #2
        (1, 1, 4, 4, 0.0),  # #0
        (1, 6, -1, -1, 0.0),
        (2, 1, 1, 0, 0.0),
        (3, 1, 5, 0, NONE),
        (3, 2, 5, 0, SIL),
        (4, 1, 3, 0, NONE),
        (4, 2, 3, 0, SIL),
        (5, 1, 6, 0, NONE),
        (5, 2, 6, 0, SIL),
    ]


def outputs(fst, tokens, start=0):
    """All (words, score) with which a transducer accepts `tokens`."""
    found = []
    for source, target, label, aux, score in rows(fst):
        if source != start:
            continue
        words = [aux] if aux > 0 else []
        if label == -1 and not tokens:
            found.append((words, score))
        elif label == 0 or (tokens and label == tokens[0]):
            rest = tokens[1:] if label else tokens
            for more, rest_score in outputs(fst, rest, target):
                found.append((words + more, score + rest_score))
    return found


def test_it_accepts_words_with_silence_anywhere_between():
    fst = make_lexicon_fst(ENTRIES[:2], TOKENS, WORDS, silence="SIL", sil_prob=0.25)
    x, y, sil = TOKENS["x"], TOKENS["y"], TOKENS["SIL"]
    assert outputs(fst, [x, y]) == [([2], 2 * NONE)]
    (words, score), *others = outputs(fst, [sil, x, x, sil, x, y])
    assert words == [1, 1, 2] and not others
    assert score == pytest.approx(2 * math.log(0.25) + 2 * math.log(0.75), abs=1e-6)
    assert outputs(fst, [y]) == []
    assert outputs(fst, [sil, sil, x]) == []


def test_files(tmp_path):
    fst = make_lexicon_fst(ENTRIES, TOKENS, WORDS, silence="SIL")
    fst.save(tmp_path / "L.npz")
    first = (tmp_path / "L.npz").read_bytes()
    fst.save(tmp_path / "L.npz")
    assert (tmp_path / "L.npz").read_bytes() == first
    again = LexiconFst.load(tmp_path / "L.npz")
    assert np.array_equal(again.arcs, fst.arcs) and again.arcs.dtype == np.int32
    assert np.array_equal(again.aux_labels, fst.aux_labels) and again.aux_labels.dtype == np.int32
    (tmp_path / "L.npz").write_bytes(first[:50])
    with pytest.raises(NeveError, match="L.npz: cannot be read"):
        LexiconFst.load(tmp_path / "L.npz")


def test_the_dictionary_that_k2_reads(tmp_path):
    torch = pytest.importorskip("torch")
    fst = make_lexicon_fst(ENTRIES, TOKENS, WORDS, silence="SIL")
    fst.save_pt(tmp_path / "L.pt")
    content = torch.load(tmp_path / "L.pt", weights_only=True)
    assert set(content) == {"arcs", "aux_labels"}
    assert content["arcs"].dtype == content["aux_labels"].dtype == torch.int32
    assert np.array_equal(content["arcs"].numpy(), fst.arcs)
    assert np.array_equal(content["aux_labels"].numpy(), fst.aux_labels)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, 2.0])
def test_silence_needs_a_probability(probability):
    with pytest.raises(NeveError, match="lang.sil_prob"):
        make_lexicon_fst(ENTRIES, TOKENS, WORDS, silence="SIL", sil_prob=probability)
