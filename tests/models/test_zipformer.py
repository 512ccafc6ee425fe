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

from neve.models import ModelConfig
from neve.models.config import ZipformerConfig
from neve.models.icefall import neve_name, renamed
from neve.models.transducer import TransducerModel
from neve.models.zipformer import Zipformer

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
    """The output for features (N, T, F), chunk by chunk, the last one cut short."""
    states = encoder.get_init_states(len(x), left)
    outputs, start, width = [], 0, encoder.streaming_features(chunk)
    final = False
    while not final:
        final = x.shape[1] <= start + width
        y, states = encoder.streaming_forward(x[:, start : start + width], states, chunk, final)
        outputs.append(y)
        start += 2 * chunk
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
