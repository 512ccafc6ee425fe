"""Alignment: fewest errors, nothing lost, the edge cases, and what jiwer says."""

import itertools
import random

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.scoring import Counts, align, count_pairs, split_characters, split_words

TOKENS = st.lists(st.sampled_from(["A", "B", "C", "*", "<eps>", "É"]), max_size=8)


def levenshtein(ref, hyp):
    """The textbook recursion, row by row."""
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        previous, row = row, [i]
        for j, h in enumerate(hyp, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (r != h)))
    return row[-1]


def distance(ref, hyp):
    return count_pairs(align(ref, hyp)).errors


def test_against_every_alignment_there_is():
    """Brute force: over all pairs of short sequences, the recursion and all ways to align agree."""

    def fewest(ref, hyp):
        if not ref or not hyp:
            return len(ref) + len(hyp)
        return min(
            fewest(ref[1:], hyp) + 1,
            fewest(ref, hyp[1:]) + 1,
            fewest(ref[1:], hyp[1:]) + (ref[0] != hyp[0]),
        )

    sequences = [list(s) for n in range(4) for s in itertools.product("AB", repeat=n)]
    for ref, hyp in itertools.product(sequences, sequences):
        assert distance(ref, hyp) == fewest(ref, hyp) == levenshtein(ref, hyp)


@settings(max_examples=200, deadline=None)
@given(ref=TOKENS, hyp=TOKENS)
def test_fewest_errors_and_nothing_lost(ref, hyp):
    pairs = align(ref, hyp)
    counts = count_pairs(pairs)
    assert [r for r, _ in pairs if r is not None] == ref
    assert [h for _, h in pairs if h is not None] == hyp
    assert (None, None) not in pairs
    assert counts.errors == levenshtein(ref, hyp)
    assert (counts.reference, counts.hypothesis) == (len(ref), len(hyp))
    assert align(list(ref), list(hyp)) == pairs


@settings(max_examples=100, deadline=None)
@given(a=TOKENS, b=TOKENS, c=TOKENS)
def test_a_distance_is_symmetric_and_no_detour_is_shorter(a, b, c):
    there, back = count_pairs(align(a, b)), count_pairs(align(b, a))
    assert there.errors == back.errors
    assert there.deletions - there.insertions == back.insertions - back.deletions
    assert distance(a, c) <= there.errors + distance(b, c)
    assert (there.errors == 0) == (a == b)


@settings(max_examples=100, deadline=None)
@given(ref=TOKENS, hyp=TOKENS, prefix=TOKENS)
def test_what_both_begin_with_costs_nothing(ref, hyp, prefix):
    assert distance(prefix + ref, prefix + hyp) == distance(ref, hyp)


@settings(max_examples=100, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.text(" ABÉ中", max_size=12), st.text(" ABÉ中", max_size=12)), min_size=1
    )
)
def test_jiwer_agrees(pairs):
    refs = [" ".join(split_words(r)) for r, _ in pairs]
    hyps = [" ".join(split_words(h)) for _, h in pairs]
    words, characters = Counts(), Counts()
    for r, h in pairs:
        words += count_pairs(align(split_words(r), split_words(h)))
        characters += count_pairs(align(split_characters(r), split_characters(h)))
    assert words.rate == pytest.approx(jiwer.process_words(refs, hyps).wer, abs=1e-12)
    assert characters.rate == pytest.approx(jiwer.process_characters(refs, hyps).cer, abs=1e-12)


def test_jiwer_agrees_on_long_texts():
    generator = random.Random(0)
    words = [f"w{i}" for i in range(30)]
    for _ in range(20):
        ref = generator.choices(words, k=60)
        hyp = [w for w in ref if generator.random() > 0.1]
        for _ in range(8):
            hyp.insert(generator.randrange(len(hyp)), generator.choice(words))
        theirs = jiwer.process_words(" ".join(ref), " ".join(hyp))
        assert distance(ref, hyp) == theirs.substitutions + theirs.deletions + theirs.insertions


@pytest.mark.parametrize(
    "ref, hyp, counts, rate",
    [
        ("", "", Counts(), 0.0),
        ("", "A B", Counts(insertions=2), 2.0),
        ("A B", "", Counts(deletions=2), 1.0),
        ("A", "A B C", Counts(correct=1, insertions=2), 2.0),
    ],
)
def test_edge_cases_are_defined_and_are_jiwers(ref, hyp, counts, rate):
    ours = count_pairs(align(split_words(ref), split_words(hyp)))
    assert ours == counts
    assert ours.rate == rate == jiwer.process_words(ref, hyp).wer


def test_characters_with_and_without_spaces():
    assert split_characters("  A  BC\t D ") == "A BC D"
    assert split_characters("A BC", spaces=False) == "ABC"
    assert count_pairs(align(split_characters("A B"), split_characters("AB"))).deletions == 1


def test_a_mixture_of_string_and_list_is_refused():
    with pytest.raises(TypeError):
        align("AB", ["A", "B"])
