"""Zipformer: names, shapes and outputs are those of the published models; lengths; bad settings.

NEVE_CONFORMANCE names the directory that holds icefall_zipformer_shapes.json.gz and
icefall_zipformer_tiny.npz.
"""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import zipformer_reference

from neve.errors import ConfigError
from neve.models import CtcModel, ModelConfig
from neve.models.config import ZipformerConfig
from neve.models.icefall import neve_name, renamed
from neve.models.scheduled import Schedule, set_batches
from neve.models.transducer import TransducerModel
from neve.models.zipformer import Zipformer, chunk_mask

CONFORMANCE = Path(os.environ.get("NEVE_CONFORMANCE", ""))
needs_conformance = pytest.mark.skipif(
    "NEVE_CONFORMANCE" not in os.environ, reason="NEVE_CONFORMANCE names no directory"
)


def published(config: dict, causal: bool, **more) -> ModelConfig:
    own = ZipformerConfig(
        encoder_dims=config["encoder_dim"],
        num_encoder_layers=config["num_encoder_layers"],
        downsampling_factors=config["downsampling_factor"],
        feedforward_dims=config["feedforward_dim"],
        num_heads=config["num_heads"],
        kernels=config["cnn_module_kernel"],
        unmasked_dims=config["encoder_unmasked_dim"],
        causal=causal,
        **more,
    )
    return ModelConfig(encoder="zipformer", predictor_dim=512, joiner_dim=512, zipformer=own)


@needs_conformance
@pytest.mark.parametrize(
    "name", ["small", "small_causal", "medium", "medium_causal", "large", "large_causal"]
)
def test_names_shapes_and_counts_are_the_published_ones(name):
    with gzip.open(CONFORMANCE / "icefall_zipformer_shapes.json.gz", "rt") as stream:
        expected = json.load(stream)[name]
    with torch.device("meta"):
        config = published(expected["config"], name.endswith("causal"))
        model = TransducerModel(config, 80, 500, training=True)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    counts = {key: value.numel() for key, value in model.state_dict().items()}
    assert sum(counts.values()) == expected["parameters_with_simple_projections"]
    simple = {key for key in shapes if key.startswith("simple_")}
    without = sum(count for key, count in counts.items() if key not in simple)
    assert without == expected["parameters_without_simple_projections"]
    wanted = {neve_name(key): value for key, value in expected["shapes"].items()}
    assert {key: value for key, value in shapes.items() if key not in simple} == wanted


@pytest.fixture(scope="module")
def tiny():
    with np.load(CONFORMANCE / "icefall_zipformer_tiny.npz") as data:
        return {key: data[key] for key in data.files}


def tiny_model(tiny: dict, form: str) -> TransducerModel:
    config = json.loads(str(tiny["config"]))
    start = f"{form}_weight."
    weights, unknown = renamed(
        {
            key.removeprefix(start): torch.from_numpy(value)
            for key, value in tiny.items()
            if key.startswith(start)
        }
    )
    assert not unknown
    own = published(
        config,
        form == "causal",
        chunk_sizes=config["chunk_size"],
        left_context_frames=config["left"],
    )
    model = TransducerModel(own, 80, 500)
    model.load_state_dict(weights)
    return model.eval()


@needs_conformance
@pytest.mark.parametrize("form", ["full", "causal"])
@torch.no_grad()
def test_outputs_are_the_published_ones(tiny, form):
    model = tiny_model(tiny, form)
    expected = {key: torch.from_numpy(tiny[f"{form}_{key}"]) for key in OUTPUTS}
    x, x_lens = expected["x"], expected["x_lens"]
    embed = model.encoder.subsampling(x)
    assert torch.equal(model.encoder.subsampling.lengths(x_lens), expected["embed_lens"])
    assert (embed - expected["embed"]).abs().max() < 1e-5
    out, lengths = model.encode(x, x_lens)
    assert torch.equal(lengths, expected["encoder_lens"])
    assert (out - expected["encoder_out"]).abs().max() < 1e-4
    decoder_out = model.predictor(expected["symbols"])
    assert (decoder_out - expected["decoder_out"]).abs().max() < 1e-5
    joiner = model.joiner
    logits = joiner.join(
        joiner.project(out[:, :4, None]), joiner.project_predictor(decoder_out[:, None])
    )
    assert (logits - expected["joiner_logits"]).abs().max() < 1e-4


OUTPUTS = (
    "x",
    "x_lens",
    "embed",
    "embed_lens",
    "encoder_out",
    "encoder_lens",
    "symbols",
    "decoder_out",
    "joiner_logits",
)


def stream(encoder: Zipformer, x: torch.Tensor, chunk: int, left: int) -> torch.Tensor:
    """The output for features (N, T, F), chunk by chunk; chunk 0: at once."""
    states, outputs = encoder.get_init_states(len(x), left), []
    inputs = encoder.streaming_inputs(x.shape[1], chunk) if chunk else [(0, x.shape[1], True)]
    for begin, end, final in inputs:
        y, states = encoder.streaming_forward(x[:, begin:end], states, chunk, final)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


@needs_conformance
@torch.no_grad()
def test_streaming_output_is_the_published_one(tiny):
    encoder = tiny_model(tiny, "causal").encoder
    x = torch.from_numpy(tiny["causal_x"])[:1]
    expected = torch.from_numpy(tiny["causal_stream_out"])
    states = encoder.get_init_states(1, 32)
    for i in range(expected.shape[1] // 4):
        assert encoder.streaming_features(8) == 29
        y, states = encoder.streaming_forward(x[:, 16 * i : 16 * i + 29], states, 8)
        assert (y - expected[:, 4 * i : 4 * i + 4]).abs().max() < 1e-4


# -- small models of our own -----------------------------------------------------------------------


def small(causal: bool, **more) -> ModelConfig:
    own = {
        "encoder_dims": [8, 12, 20, 16],
        "num_encoder_layers": [1, 2, 1, 1],
        "downsampling_factors": [1, 2, 4, 2],
        "feedforward_dims": [16, 24, 24, 16],
        "num_heads": [2, 4, 2, 2],
        "kernels": [7, 5, 3, 5],
        "query_head_dim": 6,
        "pos_head_dim": 3,
        "value_head_dim": 5,
        "pos_dim": 10,
        "subsampling_channels": [2, 3, 4],
        "chunk_sizes": [8, 16, -1],
        "left_context_frames": [16, -1],
        "causal": causal,
    }
    return ModelConfig(encoder="zipformer", zipformer=ZipformerConfig(**{**own, **more}))


def shaken(model):
    """Parameters moved away from zeros and halves, where mistakes would not show."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("log_scale", "bypass_scale")):
                parameter.uniform_(0.3, 0.9)
            elif name.endswith(("bias", "chunkwise_conv_scale")):
                parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("causal, chunk, left", [(False, 0, -1), (True, 0, -1), (True, 8, 8)])
def test_gradients_are_those_of_a_slow_reference(causal, chunk, left):
    torch.manual_seed(3)
    config = small(causal)
    encoder = shaken(Zipformer(config, 20)).double().eval()
    if causal:
        encoder.set_chunk(chunk, left)
    x = torch.randn(2, 47, 20, dtype=torch.float64)
    lengths = torch.tensor([47, 32])
    (out,), frames = encoder(x, lengths)
    weights = torch.randn_like(out) * (torch.arange(out.shape[1]) < frames[:, None])[..., None]
    names = [name for name, p in encoder.named_parameters() if p.requires_grad]
    parameters = dict(encoder.named_parameters())
    ours = torch.autograd.grad((out * weights).sum(), [parameters[name] for name in names])
    total = 0.0
    for row, length in enumerate(encoder.subsampling.lengths(lengths).tolist()):
        settings = config.zipformer
        chunks = left // chunk if chunk and left > 0 else -1
        expected = zipformer_reference.encode(parameters, settings, x[row], length, chunk, chunks)
        count = int(frames[row])
        assert torch.allclose(out[row, :count], expected[:count], atol=1e-5)
        total = total + (expected * weights[row]).sum()
    theirs = torch.autograd.grad(total, [parameters[name] for name in names])
    for name, one, other in zip(names, ours, theirs):
        assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()) + 1e-7), name


@pytest.mark.parametrize("chunk", [8, 16, 32, 64, 0])
@pytest.mark.parametrize("frames", [301, 278, 11])
@torch.no_grad()
def test_streaming_equals_the_masked_whole(chunk, frames):
    torch.manual_seed(4)
    encoder = shaken(Zipformer(small(True), 20)).eval()
    left = 16 if chunk == 8 else 64
    encoder.set_chunk(chunk, left)
    x = torch.randn(2, frames, 20)
    (whole,), lengths = encoder(x, torch.tensor([frames, frames]))
    pieces = stream(encoder, x, chunk, left)
    assert pieces.shape == whole.shape and whole.shape[1] == int(lengths[0])
    assert (pieces - whole).abs().max() < 1e-5


def test_more_than_a_chunk_at_once_is_an_error():
    encoder = Zipformer(small(True), 20).eval()
    with pytest.raises(ConfigError, match="streaming_inputs"):
        encoder.streaming_forward(torch.zeros(1, 31, 20), encoder.get_init_states(1, 16), 8)
    with pytest.raises(ConfigError, match="left context of 6 frames"):
        encoder.get_init_states(1, 6)


def test_chunk_mask():
    mask = chunk_mask(5, 2, 1, torch.device("cpu"))
    seen = [[j for j in range(5) if not mask[i, j]] for i in range(5)]
    assert seen == [[0, 1], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3], [2, 3, 4]]
    assert not chunk_mask(5, 2, -1, torch.device("cpu"))[4, 0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [1, 7, 8, 9, 10, 12, 25, 38])
@torch.no_grad()
def test_lengths_are_those_of_the_output(causal, frames):
    model = CtcModel(small(causal), 20, 5).eval()
    scores, lengths = model(torch.randn(1, frames, 20), torch.tensor([frames]))
    assert scores.shape[1] == int(lengths[0]) == int(model.lengths(torch.tensor([frames]))[0])
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_training_gives_every_parameter_a_gradient(causal, kind):
    torch.manual_seed(5)
    encoder = shaken(Zipformer(small(causal, unmasked_dims=[8, 8, 12, 12]), 20)).train()
    set_batches(encoder, 5000)
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
            (out,), _ = encoder(torch.randn(3, 60, 20), torch.tensor([60, 40, 3]))
        (out.float() * torch.randn(out.shape)).sum().backward()
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@torch.no_grad()
def test_dropped_channels_are_those_past_the_unmasked_ones():
    torch.manual_seed(6)
    encoder = Zipformer(small(False, unmasked_dims=[8, 8, 12, 16]), 20).train()
    x = torch.zeros(2000, 1, 1)
    masks = encoder.channel_masks(x)
    shares = masks[1].expand(2000, 1, 12).float().mean((0, 1))
    assert (shares[:8] == 1).all()
    assert torch.allclose(shares[8:10], torch.tensor(0.875), atol=0.03)
    assert torch.allclose(shares[10:], torch.tensor(0.875**2), atol=0.03)
    assert encoder.eval().channel_masks(x) == [None] * 4


def test_schedules():
    encoder = Zipformer(small(False, warmup_batches=400), 20)
    schedule = Schedule((0, 1.0), (2000, 0.5), (4000, 0.0))
    assert [schedule(t) for t in (-1, 0, 1000, 3000, 4000, 9e9)] == [1, 1, 0.75, 0.25, 0, 0]
    set_batches(encoder, 100)  # a tenth as long a warm-up: as 1000 of the published batches
    assert encoder.stacks[0].layers[0].now(schedule) == 0.75


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kernels": [4]}, "must be odd"),
        ({"num_heads": [2, 2]}, "num_heads"),
        ({"downsampling_factors": [0, 1, 1, 1]}, "downsampling_factors"),
        ({"chunk_sizes": [6]}, "chunks of 6 frames"),
        ({"chunk_sizes": []}, "chunk_sizes"),
        ({"left_context_frames": [0]}, "left_context_frames"),
        ({"subsampling_channels": [8, 8]}, "subsampling_channels"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ConfigError, match=message):
        Zipformer(small(True, **change), 20)


def test_layers_at_several_rates_have_no_common_head():
    with pytest.raises(ConfigError, match="intermediate_layers"):
        CtcModel(small(False), 20, 5, intermediate_layers=(1,))


@torch.no_grad()
def test_compiled_encoder_gives_the_same():
    """By torch's tracer alone; NEVE_COMPILE in the environment: with its code too, in minutes."""
    stacks = {"encoder_dims": [8, 12], "num_encoder_layers": [1], "downsampling_factors": [1, 2]}
    more = {"feedforward_dims": [16], "num_heads": [2], "kernels": [5]}
    encoder = shaken(Zipformer(small(True, **stacks, **more), 20)).eval()
    backend = "inductor" if "NEVE_COMPILE" in os.environ else "eager"
    compiled = torch.compile(encoder, backend=backend, dynamic=True)
    for frames in (60, 75):
        x, lengths = torch.randn(2, frames, 20), torch.tensor([frames, 40])
        assert torch.allclose(compiled(x, lengths)[0][0], encoder(x, lengths)[0][0], atol=1e-5)
