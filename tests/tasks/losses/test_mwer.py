"""MWER: expectations and gradients against their formulas, scores against full sums."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from neve.models.joiner import Joiner
from neve.models.predictor import LstmPredictor, StatelessPredictor
from neve.tasks.losses import mwer


def test_expected_errors_are_the_mean_by_normalised_probabilities():
    scores = torch.tensor([-1.0, -3.0, -2.0, -800.0, -801.0], dtype=torch.float64)
    rows, errors = torch.tensor([0, 0, 2, 3, 3]), torch.tensor([2.0, 0.0, 5.0, 1.0, 3.0]).double()
    found = mwer.expected_errors(scores, rows, errors, 4)
    share = 1 / (1 + math.exp(-2.0))
    last = (1.0 + 3.0 * math.exp(-1.0)) / (1 + math.exp(-1.0))
    assert found.tolist() == pytest.approx([2 * share, 0.0, 5.0, last])


def test_the_gradient_is_probability_times_the_errors_above_the_mean():
    scores = torch.randn(6, dtype=torch.float64, requires_grad=True)
    rows, errors = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([3.0, 0, 1, 2, 2, 5]).double()
    found = mwer.expected_errors(scores, rows, errors, 2)
    found.sum().backward()
    p = torch.cat([scores.detach()[:3].softmax(0), scores.detach()[3:].softmax(0)])
    mean = found.detach()[rows]
    assert torch.allclose(scores.grad, p * (errors - mean))
    assert torch.autograd.gradcheck(
        lambda x: mwer.expected_errors(x, rows, errors, 2), scores.detach().requires_grad_()
    )


def collapse(path):
    return [token for token, _ in itertools.groupby(path) if token != 0]


def test_ctc_lists_the_likeliest_sequences_with_all_their_alignments():
    torch.manual_seed(0)
    log_probs = torch.randn(2, 4, 3).log_softmax(-1)
    lengths = torch.tensor([4, 2])
    totals = [{}, {}]
    for row, length in enumerate(lengths.tolist()):
        for path in itertools.product(range(3), repeat=length):
            score = sum(float(log_probs[row, t, label]) for t, label in enumerate(path))
            key = tuple(collapse(path))
            totals[row][key] = totals[row].get(key, 0.0) + math.exp(score)
    found = mwer.ctc_hypotheses(log_probs, lengths, 200)
    assert {(row, tuple(tokens)) for row, tokens in found} == {
        (row, key) for row in (0, 1) for key in totals[row]
    }
    scores = mwer.ctc_scores(log_probs, lengths, found)
    for (row, tokens), score in zip(found, scores.tolist()):
        assert score == pytest.approx(math.log(totals[row][tuple(tokens)]), abs=1e-5)
    best = mwer.ctc_hypotheses(log_probs, lengths, 1)
    assert [row for row, _ in best] == [0, 1]


def transducer(kind):
    torch.manual_seed(2)
    predictor = LstmPredictor(4, 8) if kind == "lstm" else StatelessPredictor(4, 8, 2)
    return SimpleNamespace(predictor=predictor, joiner=Joiner(6, 8, 12, 4))


def full_sum(model, frames, tokens):
    """Log-probability of tokens by the forward recursion over frames and symbols, written out."""
    predicted = model.joiner.project_predictor(model.predictor(torch.tensor([[0, *tokens]])))[0]
    encoded = model.joiner.project(frames)
    log_probs = model.joiner.join(encoded[:, None], predicted[None]).log_softmax(-1)
    alpha = {(0, 0): 0.0}
    for t in range(len(frames)):
        for u in range(len(tokens) + 1):
            if t == u == 0:
                continue
            ways = []
            if t:
                ways.append(alpha[t - 1, u] + log_probs[t - 1, u, 0])
            if u:
                ways.append(alpha[t, u - 1] + log_probs[t, u - 1, tokens[u - 1]])
            alpha[t, u] = torch.logsumexp(torch.stack([torch.as_tensor(w) for w in ways]), 0)
    return alpha[len(frames) - 1, len(tokens)] + log_probs[-1, -1, 0]


@pytest.mark.parametrize("kind", ["stateless", "lstm"])
def test_transducer_scores_are_full_sums_and_so_are_their_gradients(kind):
    model = transducer(kind)
    encoded = torch.randn(2, 4, 6, requires_grad=True)
    lengths = torch.tensor([4, 3])
    hypotheses = [(0, [1, 2, 3]), (0, []), (0, [2]), (1, [3, 3])]
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])
    found = mwer.transducer_scores(model, encoded, lengths, hypotheses, "regular")
    (found * weights).sum().backward()
    gradient = encoded.grad.clone()
    inner = model.joiner.output.weight.grad.clone()
    encoded.grad = None
    model.joiner.zero_grad()
    wanted = torch.stack(
        [full_sum(model, encoded[row, : lengths[row]], tokens) for row, tokens in hypotheses]
    )
    assert torch.allclose(found, wanted, atol=1e-4)
    (wanted * weights).sum().backward()
    assert torch.allclose(gradient, encoded.grad, atol=1e-4)
    assert torch.allclose(inner, model.joiner.output.weight.grad, atol=1e-3)


def test_the_search_of_a_transducer_leaves_it_in_training():
    model = transducer("stateless")
    model.predictor.train()
    model.joiner.eval()
    found = mwer.transducer_hypotheses(model, torch.randn(2, 5, 6), torch.tensor([5, 2]), 3)
    assert model.predictor.training and not model.joiner.training
    rows = [row for row, _ in found]
    assert 2 <= rows.count(0) <= 3 and 2 <= rows.count(1) <= 3
    assert len({(row, tuple(tokens)) for row, tokens in found}) == len(found)


def test_words_are_counted_and_phones_where_there_are_no_words():
    class Letters:
        kind = "char"

        def decode(self, tokens):
            return "".join("?AB "[token] for token in tokens)

    lang = Letters()
    found = mwer.word_errors(lang, [(0, [1, 3, 2]), (0, [1]), (1, [2])], [["A", "A"], ["B"]])
    assert found == [1, 1, 0]
    assert mwer.words_of(lang, "A B", [1, 3, 2]) == ["A", "B"]
    lang.kind = "phone"
    assert mwer.words_of(lang, "WORD", [1, 3, 2]) == ["A", "B"]
