"""Neural language models: scores of whole sequences against steps, padding, states, files."""

import dataclasses

import pytest
import torch
import yaml

from neve.errors import ConfigError, NeveError
from neve.models.lm import build_lm, load_lm
from neve.models.lm_config import LmModelConfig

SEQUENCES = [[2, 3, 4, 2, 2, 5], [], [3], [4, 4, 4, 4, 4, 4, 4, 4, 4], [5, 2, 3]]
BOUNDARY = 1


def make(kind, **changes):
    torch.manual_seed(3)
    settings = {"dim": 16, "layers": 2, "heads": 2, "feedforward_dim": 24, "context": 4}
    model = build_lm(LmModelConfig(kind=kind, **{**settings, **changes}), 6, BOUNDARY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


@pytest.fixture(params=["lstm", "transformer"])
def kind(request):
    return request.param


@pytest.mark.parametrize("tied", [True, False])
def test_score_equals_the_sum_of_steps(kind, tied):
    model = make(kind, tied=tied)
    for sequence, score in zip(SEQUENCES, model.score(SEQUENCES), strict=True):
        log_probs, state = model.start(1)
        total = 0.0
        for token in [*sequence, BOUNDARY]:
            assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-5)
            total += float(log_probs[0, token])
            log_probs, state = model.step(torch.tensor([token]), state)
        assert float(score) == pytest.approx(total, abs=1e-4)


def test_a_score_does_not_depend_on_the_batch(kind):
    model = make(kind)
    together = model.score(SEQUENCES)
    for sequence, score in zip(SEQUENCES, together, strict=True):
        assert torch.allclose(model.score([sequence])[0], score, atol=1e-5)
    open_end = model.score(SEQUENCES, ended=False)
    assert open_end[1] == 0.0 and (open_end >= together - 1e-6).all()
    assert model.score([]).shape == (0,)


def test_hypotheses_of_several_lengths_go_together(kind):
    """As in a search: some hypotheses get a token, others do not, then all are one state again."""
    model = make(kind)
    log_probs, state = model.start(2)
    _, longer = model.step(torch.tensor([2]), model.select(state, torch.tensor([1])))
    for token in (3, 4, 5, 2):
        _, longer = model.step(torch.tensor([token]), longer)
    both = model.join([model.select(state, torch.tensor([0])), longer])
    log_probs, both = model.step(torch.tensor([4, 4]), both)
    log_probs, _ = model.step(torch.tensor([5, 5, 5]), model.select(both, torch.tensor([1, 0, 1])))
    for row, prefix in enumerate([[2, 3, 4, 5, 2, 4, 5], [4, 5], [2, 3, 4, 5, 2, 4, 5]]):
        inputs = torch.tensor([[BOUNDARY, *prefix]])
        expected = model(inputs)[0, -1].log_softmax(-1)
        assert torch.allclose(log_probs[row], expected, atol=1e-5)


def test_a_transformer_sees_its_context_alone():
    model = make("transformer", layers=1)
    inputs = torch.tensor([[BOUNDARY, 2, 3, 4, 5, 2, 3]])
    other = inputs.clone()
    other[0, 1] = 5
    same = torch.isclose(model(inputs), model(other), atol=1e-6).all(-1)[0]
    assert same.tolist() == [True, False, False, False, False, True, True]


def test_tied_embeddings_are_one_parameter(kind):
    tied, untied = make(kind, tied=True), make(kind, tied=False)
    count = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert count[1] - count[0] == 6 * 16 and tied.output.weight is tied.embedding.weight


def test_a_model_in_a_directory(tmp_path, kind):
    config = LmModelConfig(kind=kind, dim=16, layers=2, heads=2, feedforward_dim=24, context=4)
    model = make(kind)
    torch.save({"model": model.state_dict()}, tmp_path / "model.pt")
    settings = {"vocab_size": 6, "boundary": BOUNDARY, "model": dataclasses.asdict(config)}
    (tmp_path / "lm.yaml").write_text(yaml.safe_dump(settings))
    assert torch.equal(load_lm(tmp_path).score(SEQUENCES), model.score(SEQUENCES))
    (tmp_path / "lm.yaml").write_text(yaml.safe_dump({**settings, "vocab_size": 7}))
    with pytest.raises(NeveError, match=r"model.pt: does not fit .*lm.yaml"):
        load_lm(tmp_path)
    (tmp_path / "lm.yaml").write_text("model: [")
    with pytest.raises(NeveError, match="lm.yaml: does not describe a language model"):
        load_lm(tmp_path)
    with pytest.raises(NeveError, match="lm.yaml: there is no such file; `neve train-lm`"):
        load_lm(tmp_path / "absent")


def test_what_cannot_be(kind):
    with pytest.raises(NeveError, match="not between 0 and 5"):
        make(kind).score([[2, 6]])
    with pytest.raises(ConfigError, match="neural_lm.model.layers must be at least 1"):
        make(kind, layers=0)
    with pytest.raises(ConfigError, match="multiple of 2 \\* neural_lm.model.heads"):
        make("transformer", dim=18)
