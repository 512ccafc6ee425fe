"""Prefix beam search and alignment: against all alignments of tiny scores."""

import itertools

import numpy as np
import pytest

from neve.errors import NeveError
from neve.kernels.ctc_prefix import align_ctc, prefix_beam_search


def random_log_probs(rows, frames, classes, seed=0, sharpness=2.0):
    scores = np.random.default_rng(seed).normal(size=(rows, frames, classes)) * sharpness
    scores -= np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return scores.astype(np.float32)


def collapsed(labels):
    return tuple(
        label for i, label in enumerate(labels) if label and (i == 0 or labels[i - 1] != label)
    )


def all_alignments(log_probs):
    """tokens -> (log of the summed probability, best alignment's log-probability, and it)."""
    found = {}
    for labels in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = float(sum(log_probs[t, label] for t, label in enumerate(labels)))
        total, best, path = found.get(collapsed(labels), (-np.inf, -np.inf, None))
        path, best = (labels, score) if score > best else (path, best)
        found[collapsed(labels)] = (np.logaddexp(total, score), best, path)
    return found


@pytest.mark.parametrize(("frames", "classes"), [(5, 3), (4, 4), (1, 3), (6, 2)])
def test_all_alignments_are_summed_where_the_beam_holds_them(frames, classes):
    log_probs = random_log_probs(3, frames, classes)
    rows = prefix_beam_search(log_probs, np.full(3, frames), beam=500)
    for row, prefixes in zip(log_probs, rows):
        wanted = {tokens: total for tokens, (total, _, _) in all_alignments(row).items()}
        found = {tuple(prefix.tokens): prefix.score for prefix in prefixes}
        assert found == pytest.approx(wanted, abs=1e-5)
        assert len(found) == len(prefixes)  # none twice
        scores = [prefix.score for prefix in prefixes]
        assert scores == sorted(scores, reverse=True)


def plain_prefix_search(log_probs, beam):
    """The same search with dictionaries, all tokens tried in every frame."""
    beams = {(): (0.0, -np.inf)}
    for frame in log_probs.astype(np.float64):
        new = {}

        def add(tokens, blank, end, new=new):
            old = new.get(tokens, (-np.inf, -np.inf))
            new[tokens] = (np.logaddexp(old[0], blank), np.logaddexp(old[1], end))

        for tokens, (blank, end) in beams.items():
            total = np.logaddexp(blank, end)
            add(tokens, total + frame[0], end + frame[tokens[-1]] if tokens else -np.inf)
            for token in range(1, len(frame)):
                before = blank if tokens and tokens[-1] == token else total
                add((*tokens, token), -np.inf, before + frame[token])
        best = sorted(new.items(), key=lambda item: -np.logaddexp(*item[1]))[:beam]
        beams = {tokens: parts for tokens, parts in best if np.logaddexp(*parts) > -np.inf}
    return [(list(tokens), float(np.logaddexp(*parts))) for tokens, parts in beams.items()]


@pytest.mark.parametrize("beam", [1, 2, 5, 16])
@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_a_small_beam_keeps_what_a_plain_search_keeps(beam, sharpness):
    log_probs = random_log_probs(4, 40, 12, seed=beam, sharpness=sharpness)
    lengths = np.array([40, 17, 0, 33])
    rows = prefix_beam_search(log_probs, lengths, beam, threads=2)
    for row, length, prefixes in zip(log_probs, lengths, rows):
        wanted = plain_prefix_search(row[:length], beam)
        assert [prefix.tokens for prefix in prefixes] == [tokens for tokens, _ in wanted]
        assert [prefix.score for prefix in prefixes] == pytest.approx(
            [score for _, score in wanted], abs=1e-4
        )


def test_impossible_tokens_are_in_no_prefix():
    log_probs = np.full((2, 3, 3), -np.inf, np.float32)
    log_probs[0, :, 2] = 0.0
    found, none = prefix_beam_search(log_probs, np.array([3, 3]), beam=4)
    assert [(prefix.tokens, prefix.score) for prefix in found] == [([2], 0.0)]
    assert none == []


def test_what_cannot_be_searched_is_named():
    log_probs = random_log_probs(1, 3, 4)
    with pytest.raises(NeveError, match="beam must be positive"):
        prefix_beam_search(log_probs, np.array([3]), beam=0)
    with pytest.raises(NeveError, match="not within the 3 frames"):
        prefix_beam_search(log_probs, np.array([4]), beam=2)


def test_the_best_alignment_is_found():
    (log_probs,) = random_log_probs(1, 5, 3)
    for tokens, (_, best, path) in all_alignments(log_probs).items():
        labels, score = align_ctc(log_probs, list(tokens))
        assert score == pytest.approx(best, abs=1e-5)
        assert tuple(labels.tolist()) == path


def test_tokens_without_an_alignment_are_refused():
    (log_probs,) = random_log_probs(1, 3, 3)
    assert align_ctc(log_probs, [1, 1])[0].tolist() == [1, 0, 1]
    with pytest.raises(NeveError, match="3 tokens have no CTC alignment with 3 frames"):
        align_ctc(log_probs, [1, 1, 2])
    labels, score = align_ctc(log_probs[:0], [])
    assert labels.tolist() == [] and score == 0.0
