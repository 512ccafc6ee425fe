"""The bonus of listed phrases against its definition, by brute force; and lattices with it."""

import itertools
import time

import numpy as np
import pytest
import torch
from phrase_bonus import defined

from neve.errors import NeveError
from neve.fsa import Fsa, FsaVec, RaggedTensor, shortest_path
from neve.graphs import BiasingGraph, bias_lattice, read_phrases, token_biasing, word_biasing
from neve.lang import Lang, LangConfig, build_lang


@pytest.mark.parametrize("seed", range(5))
def test_the_bonus_of_any_sequence_is_as_defined(seed):
    draw = np.random.default_rng(seed)
    phrases = [draw.integers(1, 4, draw.integers(1, 5)).tolist() for _ in range(8)]
    phrases += [phrases[0]]
    boosts = draw.normal(1.0, 1.0, len(phrases)).tolist()
    biasing = BiasingGraph(phrases, boosts)
    assert biasing.num_states <= sum(map(len, phrases)) + 1
    for length in range(6):
        for tokens in itertools.product(range(1, 5), repeat=length):
            assert biasing.score(tokens) == pytest.approx(defined(phrases, boosts, tokens))


def test_arrays_of_states_and_tokens_step_as_numbers_do():
    draw = np.random.default_rng(0)
    phrases = [draw.integers(1, 6, draw.integers(1, 6)).tolist() for _ in range(30)]
    biasing = BiasingGraph(phrases, 0.5)
    states = np.zeros((7, 3), np.int64)
    totals = np.zeros((7, 3))
    rows = draw.integers(0, 9, (40, 7, 3))  # 0 and 6 to 8 are in no phrase
    for tokens in rows:
        alone = [biasing.step(int(s), int(t)) for s, t in zip(states.ravel(), tokens.ravel())]
        states, delta = biasing.step(states, tokens)
        assert states.ravel().tolist() == [s for s, _ in alone]
        np.testing.assert_allclose(delta.ravel(), [d for _, d in alone])
        totals += delta
    totals += biasing.finish(states)
    for i, j in itertools.product(range(7), range(3)):
        tokens = rows[:, i, j].tolist()
        assert totals[i, j] == pytest.approx(defined(phrases, [0.5] * 30, tokens))
    after, delta = biasing.step(0, np.arange(9))  # broadcast: all that may follow a state
    assert after.shape == delta.shape == (9,)


def test_what_a_beginning_earns_is_given_back():
    biasing = BiasingGraph([[1, 2, 3]], 2.0)
    state, first = biasing.step(biasing.start, 1)
    state, second = biasing.step(state, 2)
    assert (first, second) == (2.0, 2.0) and biasing.finish(state) == -4.0
    state, lost = biasing.step(state, 4)
    assert (state, lost) == (biasing.start, -4.0)
    # once a phrase is whole nothing of it is given back
    state = biasing.start
    for token in (1, 2, 3):
        state, _ = biasing.step(state, token)
    assert biasing.finish(state) == 0.0 and biasing.step(state, 9) == (0, 0.0)
    # a beginning that another phrase ends with is kept: 1 2 of 1 2 3 goes on as 2 of 2 4
    both = BiasingGraph([[1, 2, 3], [2, 4]], 1.0)
    assert both.score([1, 2, 4]) == 2.0


def test_bad_phrases():
    with pytest.raises(NeveError, match="phrases: number 1 has no token"):
        BiasingGraph([[1], []])
    with pytest.raises(NeveError, match="phrases: number 1 has the token 0"):
        BiasingGraph([[1, 2], [3, 0]])
    with pytest.raises(NeveError, match="boosts: number 0 is nan"):
        BiasingGraph([[1]], float("nan"))
    assert BiasingGraph([]).score([1, 2]) == 0.0


def test_100000_phrases_are_built_in_seconds():
    draw = np.random.default_rng(0)
    phrases = [draw.integers(3, 500, n).tolist() for n in draw.integers(2, 12, 100_000)]
    begin = time.process_time()
    biasing = BiasingGraph(phrases, 1.0)
    assert time.process_time() - begin < 20.0
    assert biasing.score(phrases[77]) >= len(phrases[77])
    arrays = [value for value in vars(biasing).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 50 * sum(map(len, phrases))


def random_lattice(seed, ragged):
    """A small acyclic automaton whose arcs have words."""
    draw = np.random.default_rng(seed)
    rows, words = [], []
    for src in range(5):
        for dst in range(src + 1, 6):
            for _ in range(int(draw.integers(1, 3))):
                rows.append((src, dst, int(draw.integers(0, 3)), draw.normal()))
                words.append(draw.integers(0, 3, int(draw.integers(0, 3))).tolist())
    rows.append((5, 6, -1, 0.0))
    words.append([-1])
    if not ragged:
        words = [row[:1] or [0] for row in words]
    text = "".join(f"{s} {d} {x} {w:.4f}\n" for s, d, x, w in rows) + "6\n"
    fsa = Fsa.from_str(text)
    if ragged:
        fsa.aux_labels = RaggedTensor(words)
    else:
        fsa.aux_labels = torch.tensor([row[0] for row in words], dtype=torch.int32)
    fsa.frame = torch.arange(fsa.num_arcs, dtype=torch.int32)
    return fsa


def paths(fsa):
    """{arcs' number of the first lattice, in order: score} of all paths of one automaton."""
    arcs = list(zip(fsa.src.tolist(), fsa.dst.tolist(), fsa.labels.tolist(), fsa.scores.tolist()))
    frame = fsa.frame.tolist()
    found = {}

    def walk(state, way, score):
        for number, (src, dst, label, weight) in enumerate(arcs):
            if src != state:
                continue
            if label == -1:
                found[way] = score + weight
            else:
                walk(dst, (*way, frame[number]), score + weight)

    walk(0, (), 0.0)
    return found


@pytest.mark.parametrize("ragged", [False, True])
def test_each_path_of_a_lattice_gets_the_bonus_of_its_words(ragged):
    lattice = FsaVec([random_lattice(seed, ragged) for seed in range(3)])
    phrases, boosts = [[1, 2], [2, 2, 1], [1]], [0.7, 1.3, -0.4]
    biased = bias_lattice(lattice, BiasingGraph(phrases, boosts))
    assert biased.num_fsas == 3 and bool((biased.src < biased.dst).all())
    for before, after in zip(lattice, biased):
        words = before.aux_labels.tolist()
        plain, changed = paths(before), paths(after)
        assert set(plain) == set(changed)
        for way, score in plain.items():
            read = [w for i in way for w in (words[i] if ragged else [words[i]]) if w > 0]
            wanted = score + defined(phrases, boosts, read)
            assert changed[way] == pytest.approx(wanted, abs=1e-4)
    best = shortest_path(biased)
    for index, one in enumerate(biased):
        total = float(best[index].scores.sum())
        assert total == pytest.approx(max(paths(one).values()), abs=1e-4)


def test_empty_lattices_and_lattices_without_words():
    empty = FsaVec([random_lattice(0, False), Fsa.from_str(""), random_lattice(1, False)])
    if "aux_labels" in empty.attributes:
        assert bias_lattice(empty, BiasingGraph([[1]], 1.0)).num_fsas == 3
    plain = FsaVec([Fsa.from_str("0 1 1 0.5\n1 2 -1 0\n2\n")])
    with pytest.raises(NeveError, match="no aux_labels"):
        bias_lattice(plain, BiasingGraph([[1]], 1.0))


def test_lists_of_phrases(tmp_path):
    (tmp_path / "phrases.txt").write_text("new york\t2.5\nyes\n")
    phrases = read_phrases(tmp_path / "phrases.txt", str.upper, boost=1.5)
    assert phrases == [(["NEW", "YORK"], 2.5), (["YES"], 1.5)]
    for content, words in (("a\tmuch\n", "1: the boost 'much' is not"), ("\n", "is empty")):
        (tmp_path / "phrases.txt").write_text(content)
        with pytest.raises(NeveError, match=words):
            read_phrases(tmp_path / "phrases.txt")
    (tmp_path / "text").write_text("a NEW YORK YES\n")
    config = LangConfig(kind="char", write_pt=False)
    build_lang(config, [tmp_path / "text"], None, tmp_path / "lang")
    lang = Lang.load(tmp_path / "lang")
    tokens = lang.encode("NEW YORK")
    assert token_biasing(lang, phrases).score(tokens) == 2.5 * len(tokens)
    words = [lang.words[w] for w in ("YES", "NEW", "YORK", "YES")]
    assert word_biasing(lang, phrases).score(words) == 2 * 2.5 + 2 * 1.5
    with pytest.raises(NeveError, match="OSLO of the list of phrases are not there"):
        word_biasing(lang, [(["OSLO"], 1.0)])
