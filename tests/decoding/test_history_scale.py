"""Searches in which what was said before counts in part."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neve.decoding.transducer import (
    HistoryScaled,
    fast_beam_search,
    greedy_search,
    modified_beam_search,
)
from neve.errors import ConfigError
from neve.fsa import trivial_graph
from neve.models.joiner import EncoderBlankJoiner, Joiner
from neve.models.predictor import NOTHING, LstmPredictor, StatelessPredictor


def refusing():
    """A transducer of blank and one word, which it does not say again after it.

    A frame x gives the word the odds exp(x), and exp(x - 6) where it was said before.
    """
    predictor = StatelessPredictor(2, 4, 1, history_dropout=0.5).eval()
    predictor.embedding.weight.data = torch.eye(4)[:2]
    joiner = SimpleNamespace(
        project=lambda frames: torch.nn.functional.pad(frames, (0, 3)),
        output=SimpleNamespace(out_features=2),
        project_predictor=lambda outputs: outputs,
        join=lambda frames, said: torch.cat(
            [0 * frames[..., :1], frames[..., :1] - 6 * said[..., 1:2]], dim=-1
        ),
    )
    return SimpleNamespace(predictor=predictor, joiner=joiner)


def test_a_word_said_twice_is_found_twice_where_its_history_counts_less():
    """Odds of the second word: exp(3 - 6) with the history, exp(3) without; a quarter of the one
    and three quarters of the other are exp(1.5), so that it is said; a half of each are 1."""
    model, frames = refusing(), torch.tensor([[[3.0], [-9.0], [3.0]]])
    found = {
        scale: greedy_search(HistoryScaled(model, scale), frames, [3])[0].tokens
        for scale in (1.0, 0.6, 0.4, 0.25)
    }
    assert greedy_search(model, frames, [3])[0].tokens == [1]
    assert found == {1.0: [1], 0.6: [1], 0.4: [1, 1], 0.25: [1, 1]}
    scaled = HistoryScaled(model, 0.25)
    for searched, tokens in ((model, [1]), (scaled, [1, 1])):
        rows = modified_beam_search(searched, frames, [3], length_norm=False)
        assert rows[0][0].tokens == tokens
    # the path is word, blank, word; the odds of the word in its frames:
    second = 0.25 * (-9.0 - 6.0) + 0.75 * -9.0
    expected = [np.log1p(np.exp(-3.0)), np.log1p(np.exp(second)), np.log1p(np.exp(-1.5))]
    greedy = greedy_search(scaled, frames, [3])[0]
    assert greedy.score == pytest.approx(-sum(expected), abs=1e-5)
    lattices = fast_beam_search(scaled, frames, [3], trivial_graph(1))
    assert lattices.get_tot_scores(True, False).item() == pytest.approx(-sum(expected), abs=1e-4)


@pytest.mark.parametrize("kind", [Joiner, EncoderBlankJoiner])
@pytest.mark.parametrize("context_size", [1, 2])
def test_scores_are_those_of_both_weighted(kind, context_size):
    torch.manual_seed(0)
    model = SimpleNamespace(
        predictor=StatelessPredictor(5, 8, context_size, history_dropout=0.5).eval(),
        joiner=kind(6, 8, 16, 5),
    )
    encoder_out, symbols = torch.randn(3, 6), torch.tensor([[0, 3, 1]])
    with torch.no_grad():
        said = model.predictor(symbols)[0]
        nothing = model.predictor._convolve(torch.full((1, 2 + context_size), NOTHING))[0]
        known, unknown = (
            torch.log_softmax(
                model.joiner.join(
                    model.joiner.project(encoder_out), model.joiner.project_predictor(outputs)
                ),
                dim=-1,
            )
            for outputs in (said, nothing)
        )
        for scale in (0.0, 0.3, 1.0):
            joiner = HistoryScaled(model, scale).joiner
            found = joiner.join(joiner.project(encoder_out), joiner.project_predictor(said))
            torch.testing.assert_close(found, scale * known + (1 - scale) * unknown)


@pytest.mark.parametrize(
    "predictor", [StatelessPredictor(3, 4, 1), LstmPredictor(3, 4, history_dropout=0.5)]
)
def test_a_model_that_has_not_learnt_without_history_is_refused(predictor):
    model = SimpleNamespace(predictor=predictor.eval(), joiner=Joiner(4, 4, 8, 3))
    with pytest.raises(ConfigError, match="decoding.history_scales: 0.5 needs .*history_dropout"):
        HistoryScaled(model, 0.5)
