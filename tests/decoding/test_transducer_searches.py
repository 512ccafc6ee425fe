"""Searches with tiny transducers: against all paths there are, and batches against single rows."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neve.decoding.phrases import PhraseBonus
from neve.decoding.transducer import (
    Histories,
    beam_search,
    greedy_search,
    histories,
    modified_beam_search,
)
from neve.graphs import BiasingGraph
from neve.models.joiner import Joiner
from neve.models.predictor import LstmPredictor, StatelessPredictor

TOKENS, WIDTH = 3, 8
PREDICTORS = ("context 1", "context 2", "lstm")


def tiny(kind, seed=0, tokens=TOKENS, sharpness=3.0):
    """A model with random weights, whose outputs differ much from token to token."""
    torch.manual_seed(seed)
    if kind == "lstm":
        predictor = LstmPredictor(tokens, WIDTH)
    else:
        predictor = StatelessPredictor(tokens, WIDTH, int(kind[-1]))
    model = SimpleNamespace(predictor=predictor.eval(), joiner=Joiner(WIDTH, WIDTH, 16, tokens))
    for parameter in [*predictor.parameters(), *model.joiner.parameters()]:
        parameter.data.mul_(sharpness)
    return model


def log_probs_after(model, encoder_out, tokens, frame, penalty=0.0, temperature=1.0):
    """(V,) by the whole-sequence forward of the predictor."""
    symbols = torch.tensor([[0, *tokens]])
    with torch.no_grad():
        predicted = model.joiner.project_predictor(model.predictor(symbols)[0, -1])
        logits = model.joiner.join(model.joiner.project(encoder_out[frame]), predicted)
    logits[0] -= penalty
    return torch.log_softmax(logits / temperature, dim=-1).double().numpy()


def totals_of_all_paths(model, encoder_out, most=1, moves_on=True, **options):
    """tokens -> log of the summed probability of its paths.

    moves_on: a token takes the path to the next frame; otherwise `most` tokens at most in each.
    """
    totals = {}

    def walk(frame, said, tokens, score):
        if frame == len(encoder_out):
            totals[tokens] = np.logaddexp(totals.get(tokens, -np.inf), score)
            return
        scores = log_probs_after(model, encoder_out, tokens, frame, **options)
        walk(frame + 1, 0, tokens, score + scores[0])
        if said < most:
            for token in range(1, len(scores)):
                now = (frame + 1, 0) if moves_on else (frame, said + 1)
                walk(*now, (*tokens, token), score + scores[token])

    walk(0, 0, (), 0.0)
    return totals


def inputs(rows=1, frames=4, seed=1):
    torch.manual_seed(seed)
    return torch.randn(rows, frames, WIDTH)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_modified_beam_search_sums_up_all_paths_where_the_beam_holds_them(kind):
    model, encoder_out = tiny(kind), inputs()
    options = {"blank_penalty": 0.7, "temperature": 1.3}
    (found,) = modified_beam_search(
        model, encoder_out, [4], beam=1000, length_norm=False, **options
    )
    wanted = totals_of_all_paths(model, encoder_out[0], penalty=0.7, temperature=1.3)
    assert len(wanted) == sum(2**n for n in range(5))
    assert {tuple(path.tokens): path.score for path in found} == pytest.approx(wanted, abs=1e-4)
    scores = [path.score for path in found]
    assert scores == sorted(scores, reverse=True)
    assert np.logaddexp.reduce(scores) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_beam_search_sums_up_all_paths_where_the_beam_holds_them(kind):
    model, encoder_out = tiny(kind), inputs(frames=2)
    (found,) = beam_search(
        model, encoder_out, [2], beam=1000, max_symbols=2, length_norm=False, blank_penalty=-0.5
    )
    wanted = totals_of_all_paths(model, encoder_out[0], most=2, moves_on=False, penalty=-0.5)
    assert len(wanted) == sum(2**n for n in range(5))
    assert {tuple(path.tokens): path.score for path in found} == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("search", [modified_beam_search, beam_search])
def test_phrases_add_the_bonus_of_its_tokens_to_each_hypothesis(search):
    model, encoder_out = tiny("context 2"), inputs(frames=3)
    biasing = BiasingGraph([[1, 2], [2, 2, 1], [2]], [0.8, 1.5, -0.6])
    options = {"beam": 1000, "length_norm": False}
    moves_on = search is modified_beam_search
    if not moves_on:
        options["max_symbols"] = 1
    wanted = totals_of_all_paths(model, encoder_out[0], moves_on=moves_on)
    wanted = {tokens: score + biasing.score(tokens) for tokens, score in wanted.items()}
    bonus = PhraseBonus(biasing, TOKENS)
    (found,) = search(model, encoder_out, [3], phrases=bonus, **options)
    assert {tuple(path.tokens): path.score for path in found} == pytest.approx(wanted, abs=1e-4)
    scores = [path.score for path in found]
    assert scores == sorted(scores, reverse=True)
    options["beam"] = 1  # where the bonus decides what is kept
    strong = PhraseBonus(BiasingGraph([[2, 2]], 20.0), TOKENS)
    (found,) = search(model, encoder_out, [3], phrases=strong, **options)
    assert found[0].tokens[:2] == [2, 2]


def test_beam_search_without_a_bound_stops_when_nothing_better_can_come():
    model, encoder_out = tiny("context 2", sharpness=1.0), inputs(frames=3)
    few, many = (
        beam_search(model, encoder_out, [3], beam=4, max_symbols=most)[0] for most in (10, 1000)
    )
    assert [path.tokens for path in few] == [path.tokens for path in many]
    assert [path.score for path in few] == pytest.approx([path.score for path in many])


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("most", [1, 2])
def test_greedy_search_takes_the_best_token_of_each_frame(kind, most):
    model, encoder_out = tiny(kind), inputs(frames=12)
    (found,) = greedy_search(model, encoder_out, [12], max_symbols=most, blank_penalty=0.3)
    tokens, frames, log_probs, score = [], [], [], 0.0
    for frame in range(12):
        for _ in range(most):
            scores = log_probs_after(model, encoder_out[0], tokens, frame, penalty=0.3)
            best = int(scores.argmax())
            score += scores[best]
            if best == 0:
                break
            tokens, frames = [*tokens, best], [*frames, frame]
            log_probs.append(scores[best] - np.logaddexp.reduce(scores[1:]))
    assert len(tokens) > 2 and (most == 1 or len(set(frames)) < len(frames))
    assert (found.tokens, found.frames) == (tokens, frames)
    assert found.log_probs == pytest.approx(log_probs, abs=1e-4)
    assert found.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_beam_of_one_is_greedy(kind):
    model, encoder_out = tiny(kind), inputs(frames=20)
    (greedy,) = greedy_search(model, encoder_out, [20])
    ((best,),) = modified_beam_search(model, encoder_out, [20], beam=1)
    assert (best.tokens, best.frames) == (greedy.tokens, greedy.frames)
    assert best.score == pytest.approx(greedy.score)


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("search", [greedy_search, modified_beam_search, beam_search])
def test_a_batch_gives_what_its_rows_give(kind, search):
    model, encoder_out = tiny(kind, tokens=7), inputs(rows=5, frames=15)
    lengths = [15, 0, 4, 9, 12]
    together = search(model, encoder_out, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        (alone,) = search(model, encoder_out[row : row + 1, : max(length, 1)], [length])
        one, other = (
            [paths] if search is greedy_search else paths for paths in (together[row], alone)
        )
        assert [(path.tokens, path.frames) for path in one] == [
            (path.tokens, path.frames) for path in other
        ]
        for path, same in zip(one, other):
            assert path.score == pytest.approx(same.score, abs=1e-4)
            assert path.log_probs == pytest.approx(same.log_probs, abs=1e-4)


@pytest.mark.parametrize("search", [greedy_search, modified_beam_search, beam_search])
def test_a_blank_penalty_and_a_sure_blank_leave_log_probs_of_tokens_alone(search):
    model, encoder_out = tiny("context 2"), inputs(frames=6)
    sure = {}
    for penalty in (0.0, 0.01, 40.0):
        found = search(model, encoder_out, [6], blank_penalty=penalty)
        (path,) = found if search is greedy_search else [found[0][0]]
        assert path.tokens and max(path.log_probs) <= 0.0
        sure[penalty] = path
    assert sure[0.0].tokens == sure[0.01].tokens
    assert sure[0.0].log_probs == pytest.approx(sure[0.01].log_probs, abs=1e-4)
    with torch.no_grad():
        model.joiner.output.bias[0] = 40.0  # nothing but blank, and a beam that says it anyway
    if search is not greedy_search:
        for path in search(model, encoder_out, [6], beam=20)[0]:
            for place, (frame, log_prob) in enumerate(zip(path.frames, path.log_probs)):
                scores = log_probs_after(model, encoder_out[0], path.tokens[:place], frame)
                wanted = scores[path.tokens[place]] - np.logaddexp.reduce(scores[1:])
                assert log_prob == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("search", [modified_beam_search, beam_search])
def test_frames_and_log_probs_are_those_of_the_best_alignment(search):
    model, encoder_out = tiny("context 2"), inputs(frames=4)
    for path in search(model, encoder_out, [4], beam=1000)[0]:
        if not path.tokens:
            continue
        assert path.frames == sorted(path.frames)
        for place, (frame, log_prob) in enumerate(zip(path.frames, path.log_probs)):
            scores = log_probs_after(model, encoder_out[0], path.tokens[:place], frame)
            wanted = scores[path.tokens[place]] - np.logaddexp.reduce(scores[1:])
            assert log_prob == pytest.approx(wanted, abs=1e-4)
        if search is modified_beam_search:
            best = max(
                (alignment_score(model, encoder_out[0], path.tokens, frames), frames)
                for frames in itertools.combinations(range(4), len(path.tokens))
            )
            assert tuple(path.frames) == best[1]


def alignment_score(model, encoder_out, tokens, frames):
    score, said = 0.0, 0
    for frame in range(len(encoder_out)):
        scores = log_probs_after(model, encoder_out, tokens[:said], frame)
        emits = said < len(frames) and frames[said] == frame
        score += scores[tokens[said]] if emits else scores[0]
        said += emits
    return score


def test_length_norm_decides_between_long_and_short():
    model, encoder_out = tiny("context 2", seed=3), inputs(frames=4)
    plain, normed = (
        modified_beam_search(model, encoder_out, [4], beam=1000, length_norm=on)[0]
        for on in (False, True)
    )
    assert plain != normed
    assert sorted(plain, key=lambda path: -path.score / (len(path.tokens) + 1)) == normed


def test_a_blank_penalty_makes_hypotheses_longer():
    model, encoder_out = tiny("context 2"), inputs(frames=30)
    counts = [
        len(greedy_search(model, encoder_out, [30], blank_penalty=penalty)[0].tokens)
        for penalty in (-100.0, 0.0, 100.0)
    ]
    assert counts[0] == 0 and 0 < counts[1] < 30 and counts[2] == 30


def test_a_stateless_predictor_is_asked_once_for_each_context():
    model, encoder_out = tiny("context 2"), inputs(rows=4, frames=40)
    asked, step = [], model.predictor.step

    def counted(symbols, state):
        asked.append(len(symbols))
        return step(symbols, state)

    model.predictor.step = counted
    first = Histories(model, encoder_out.device)
    modified_beam_search(model, encoder_out, [40] * 4, histories=first)
    # at most 3 x 3 contexts, whose first and whose second tokens take a step each
    assert len(first.contexts) <= 9 and sum(asked) <= 18
    before = sum(asked)
    again = Histories(model, encoder_out.device, first.contexts)
    modified_beam_search(model, encoder_out, [40] * 4, histories=again)
    assert sum(asked) == before


def test_contexts_are_forgotten_when_there_are_too_many(monkeypatch):
    model, encoder_out = tiny("context 2", tokens=20, sharpness=1.5), inputs(rows=3, frames=30)
    wanted = modified_beam_search(model, encoder_out, [30] * 3)
    monkeypatch.setattr(histories, "MOST_CONTEXTS", 5)
    for paths, others in zip(modified_beam_search(model, encoder_out, [30] * 3), wanted):
        assert [path.tokens for path in paths] == [path.tokens for path in others]
        assert [path.score for path in paths] == pytest.approx([path.score for path in others])
