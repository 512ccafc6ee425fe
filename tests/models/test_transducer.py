"""Predictors, joiner and transducer models: steps against whole sequences, parts, bad settings."""

import pytest
import torch

from neve.errors import ConfigError
from neve.models import ModelConfig, TransducerModel
from neve.models.joiner import EncoderBlankJoiner, Joiner
from neve.models.predictor import NOTHING, LstmPredictor, StatelessPredictor, build_predictor

TOKENS = 7
KINDS = ["context 1", "context 2", "context 4", "lstm 1", "lstm 2"]


def make(kind):
    torch.manual_seed(0)
    name, number = kind.split()
    if name == "lstm":
        return LstmPredictor(TOKENS, 8, int(number), dropout=0.3).eval()
    return StatelessPredictor(TOKENS, 8, int(number)).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_give_what_whole_sequences_give(kind):
    predictor = make(kind)
    symbols = torch.randint(1, TOKENS, (3, 6))
    whole = predictor(torch.nn.functional.pad(symbols, (1, 0)))
    assert whole.shape == (3, 7, 8)
    state = predictor.init_state(3)
    for u in range(7):
        said = symbols[:, u - 1] if u else torch.zeros(3, dtype=torch.int64)
        out, state = predictor.step(said, state)
        assert torch.allclose(out, whole[:, u], atol=1e-6), u


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_stateless_predictor_sees_its_context_and_no_more(size):
    predictor = make(f"context {size}")
    one = torch.tensor([[0, 1, 2, 3, 4, 5, 6]])
    for changed in range(1, 7):
        other = one.clone()
        other[0, changed] = one[0, changed] % 6 + 1
        same = (predictor(one) == predictor(other)).all(-1)[0].tolist()
        assert same == [not changed <= u < changed + size for u in range(7)]


def test_before_the_first_symbol_there_is_nothing_not_a_blank():
    predictor = make("context 3")
    padded = predictor(torch.tensor([[0, 0, 0, 1]]))[0, -1]
    assert not torch.allclose(padded, predictor(torch.tensor([[0, 1]]))[0, -1])


def test_an_lstm_remembers_the_first_symbol():
    predictor = make("lstm 1")
    ends = predictor(torch.tensor([[0, 1, 3, 3], [0, 2, 3, 3]]))[:, -1]
    assert not torch.allclose(ends[0], ends[1])


def test_the_joiner_is_its_formula():
    torch.manual_seed(0)
    joiner = Joiner(5, 4, 6, TOKENS)
    encoder, predictor = torch.randn(2, 3, 1, 5), torch.randn(2, 1, 4, 4)
    found = joiner.join(joiner.project(encoder), joiner.project_predictor(predictor))
    assert found.shape == (2, 3, 4, TOKENS)
    weights = dict(joiner.named_parameters())
    inner = torch.tanh(
        weights["encoder_proj.weight"] @ encoder[1, 2, 0] + weights["encoder_proj.bias"]
        + weights["predictor_proj.weight"] @ predictor[1, 0, 3] + weights["predictor_proj.bias"]
    )  # fmt: skip
    wanted = weights["output.weight"] @ inner + weights["output.bias"]
    assert torch.allclose(found[1, 2, 3], wanted, atol=1e-6)


def config(**changes):
    return ModelConfig(
        kind="transducer", encoder="tdnn", dim=16, layers=2, subsampling=2, predictor_dim=8,
        joiner_dim=12, **changes,
    )  # fmt: skip


def test_a_model_has_the_parts_that_it_is_asked_for():
    model = TransducerModel(config(), 20, TOKENS)
    assert model.ctc_head is None and model.simple_am_proj is None
    assert model.ctc_log_probs(torch.randn(1, 2, 16)) is None
    whole = TransducerModel(config(), 20, TOKENS, ctc_tokens=5, training=True)
    more = set(dict(whole.named_parameters())) - set(dict(model.named_parameters()))
    assert {name.split(".")[0] for name in more} == {"ctc_head", "simple_am_proj", "simple_lm_proj"}
    encoded, lengths = whole(torch.randn(2, 21, 20), torch.tensor([21, 8]))
    assert encoded.shape == (2, 11, 16) and lengths.tolist() == [11, 4]
    assert whole.lengths(torch.tensor([21, 8])).tolist() == [11, 4]
    log_probs = whole.ctc_log_probs(encoded)
    assert log_probs.shape == (2, 11, 5)
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(2, 11), atol=1e-5)


def test_the_simple_joiner_starts_flat():
    torch.manual_seed(0)
    model = TransducerModel(config(), 20, TOKENS, training=True)
    bound = 0.25 / 16**0.5  # a quarter of torch's bound
    assert 0.9 * bound < float(model.simple_am_proj.weight.detach().abs().max()) <= bound


def test_the_kind_of_predictor_follows_the_configuration():
    assert isinstance(build_predictor(config(), TOKENS), StatelessPredictor)
    lstm = build_predictor(config(predictor="lstm", predictor_layers=2), TOKENS)
    assert isinstance(lstm, LstmPredictor) and lstm.layers == 2
    for wrong in ({"context_size": 0}, {"predictor_dim": 10}):
        with pytest.raises(ConfigError, match=r"model\.context_size.*model\.predictor_dim"):
            build_predictor(ModelConfig(**wrong), TOKENS)


@pytest.mark.parametrize("kind", ["context 2", "lstm 1"])
def test_training_hides_the_histories_of_the_share_of_utterances_that_is_asked_for(kind):
    predictor = make(kind)
    symbols = torch.randint(1, TOKENS, (400, 5))
    with torch.no_grad():
        seen = predictor(symbols)
        nothing = predictor(torch.full_like(symbols, NOTHING)) if kind != "lstm 1" else None
        predictor.history_dropout = 0.3
        assert torch.equal(predictor(symbols), seen)  # not in a search
        predictor.train()
        if kind == "lstm 1":
            predictor.dropout.p = 0.0
            nothing = predictor.lstm(torch.zeros(400, 5, 8))[0]
        found = predictor(symbols)
    hidden = (found == nothing).all(-1).all(-1)
    kept = (found == seen).all(-1).all(-1)
    assert bool((hidden | kept).all())
    assert float((hidden & ~kept).float().mean()) == pytest.approx(0.3, abs=0.08)


def test_a_share_of_hidden_symbols_of_1_is_an_error():
    with pytest.raises(ConfigError, match="history_dropout"):
        build_predictor(ModelConfig(history_dropout=1.0), TOKENS)


def test_blank_of_the_encoder_alone_does_not_hear_the_predictor():
    torch.manual_seed(0)
    joiner = EncoderBlankJoiner(5, 4, 6, TOKENS)
    encoded = joiner.project(torch.randn(2, 3, 1, 5))
    predicted = joiner.project_predictor(torch.randn(2, 1, 4, 4))
    log_probs = joiner.join(encoded, predicted)
    assert log_probs.shape == (2, 3, 4, TOKENS)
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(2, 3, 4), atol=1e-5)
    assert torch.allclose(torch.log_softmax(log_probs, -1), log_probs, atol=1e-5)
    assert torch.equal(log_probs[..., 0], log_probs[:, :, :1, 0].expand(2, 3, 4))
    assert not torch.allclose(log_probs[:, :, 0, 1:], log_probs[:, :, 1, 1:])
    model = TransducerModel(config(blank="encoder"), 20, TOKENS)
    assert isinstance(model.joiner, EncoderBlankJoiner)
