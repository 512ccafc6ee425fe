"""Encoders and CTC models: lengths, independence of padding, gradients, bad settings."""

import pytest
import torch

from neve.errors import ConfigError
from neve.models import CtcModel, ModelConfig, build_encoder
from neve.models.conformer import attend, rotary_tables, rotate

CONFORMER = {"encoder": "conformer", "dim": 16, "layers": 2, "heads": 2, "feedforward_dim": 32}
SMALL = [
    ModelConfig(**CONFORMER, kernel=5, subsampling_channels=4),
    ModelConfig(**CONFORMER, kernel=5, subsampling_channels=4, subsampling=2),
    ModelConfig(encoder="tdnn", dim=16, layers=3, subsampling=1),
    ModelConfig(encoder="tdnn", dim=16, layers=3, subsampling=3),
    ModelConfig(encoder="tdnn_lstm", dim=16, layers=2, subsampling=3, lstm_layers=2),
]
NAMES = ["conformer4", "conformer2", "tdnn1", "tdnn3", "tdnn_lstm3"]


@pytest.fixture(params=SMALL, ids=NAMES)
def config(request):
    torch.manual_seed(0)
    return request.param


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 16, 17, 23])
def test_lengths_are_those_of_the_output(config, frames):
    model = CtcModel(config, features=20, tokens=5).eval()
    scores, lengths = model(torch.randn(1, frames, 20), torch.tensor([frames]))
    assert scores.shape == (1, int(lengths[0]), 5)
    assert int(model.lengths(torch.tensor([frames]))[0]) == scores.shape[1]


def test_output_is_normalised_and_does_not_depend_on_padding(config):
    model = CtcModel(config, features=20, tokens=5).eval()
    x, lengths = torch.randn(3, 37, 20), torch.tensor([37, 22, 9])
    scores, frames = model(x, lengths)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(scores.shape[:2]), atol=1e-5)
    for i, (length, frame) in enumerate(zip(lengths.tolist(), frames.tolist())):
        alone, _ = model(x[i : i + 1, :length], lengths[i : i + 1])
        assert torch.allclose(alone[0], scores[i, :frame], atol=1e-5)


def test_every_parameter_gets_a_gradient(config):
    model = CtcModel(config, 20, 5, auxiliary_tokens=7, intermediate_layers=(1,))
    x, lengths = torch.randn(2, 30, 20), torch.tensor([30, 12])
    main, between, auxiliary, *_ = model.training_heads(x, lengths)
    assert len(between) == 1 and auxiliary.shape[-1] == 7
    weights = torch.randn_like(main)
    ((main + between[0]) * weights).sum().backward(retain_graph=True)
    (auxiliary * torch.randn_like(auxiliary)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_bfloat16_is_close_to_float32():
    model = CtcModel(SMALL[0], 20, 5).eval()
    x, lengths = torch.randn(2, 40, 20), torch.tensor([40, 31])
    exact, _ = model(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = model(x, lengths)
    assert rough.dtype == torch.float32
    assert (exact.exp() - rough.exp()).abs().max() < 0.03


def test_rotary_scores_depend_on_distance_alone():
    cos, sin = rotary_tables(50, 8, torch.device("cpu"))
    query, key = torch.randn(8), torch.randn(8)
    score = [
        float(rotate(query, cos[i], sin[i]) @ rotate(key, cos[i + 7], sin[i + 7]))
        for i in (0, 11, 40)
    ]
    assert score == pytest.approx([score[0]] * 3, abs=1e-4)


def test_attention_equals_torchs():
    query, key, value = torch.randn(3, 2, 4, 9, 8)
    mask = torch.arange(9)[None, None, None, :] < torch.tensor([9, 5])[:, None, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(attend(query, key, value, mask), expected, atol=1e-5)


def test_layer_drop_skips_only_while_training():
    config = ModelConfig(**CONFORMER, kernel=5, subsampling_channels=4, layer_drop=1.0)
    encoder = build_encoder(config, 20)
    x, lengths = torch.randn(1, 20, 20), torch.tensor([20])
    before, after = encoder.train()(x, lengths)[0]
    assert torch.equal(before, after)  # the last block is skipped with probability 1
    before, after = encoder.eval()(x, lengths)[0]
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"dim": 15}, "model.dim"),
        ({"kernel": 4}, "model.kernel"),
        ({"subsampling": 3}, "model.subsampling"),
        ({"encoder": "rnn"}, "model.encoder"),
        ({"encoder": "tdnn", "tdnn_kernel": 2}, "model.tdnn_kernel"),
        ({"encoder": "tdnn", "tdnn_dilations": []}, "model.tdnn_dilations"),
    ],
)
def test_settings_that_cannot_be_are_named(change, key):
    with pytest.raises(ConfigError, match=key):
        CtcModel(ModelConfig(**{**CONFORMER, **change}), 20, 5)


def test_intermediate_layer_must_exist():
    with pytest.raises(ConfigError, match="intermediate_layers: 2"):
        CtcModel(SMALL[0], 20, 5, intermediate_layers=(2,))
