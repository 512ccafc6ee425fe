"""icefall's checkpoints become neve's experiments, and no code in them is run."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from neve.cli.config import Config
from neve.cli.main import main
from neve.config import load
from neve.errors import NeveError
from neve.models import load_model
from neve.models.config import ModelConfig
from neve.models.icefall import infer_config
from neve.models.transducer import TransducerModel
from neve.training.config import TrainingConfig
from neve.training.initial import load_initial

CONFORMANCE = Path(os.environ.get("NEVE_CONFORMANCE", ""))
needs_conformance = pytest.mark.skipif(
    "NEVE_CONFORMANCE" not in os.environ, reason="NEVE_CONFORMANCE names no directory"
)


class Harm:
    """What a pickle can do: here, make a file or directory."""

    def __init__(self, function, path):
        self.function, self.path = function, path

    def __reduce__(self):
        return self.function, (self.path,)


@pytest.fixture(scope="module")
def tiny():
    with np.load(CONFORMANCE / "icefall_zipformer_tiny.npz") as data:
        return {key: torch.from_numpy(data[key]) for key in data.files if key != "config"} | {
            "config": json.loads(str(data["config"]))
        }


@needs_conformance
@pytest.mark.parametrize("form", ["full", "causal"])
@torch.no_grad()
def test_outputs_of_an_imported_model_are_the_same(tiny, form, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start = f"{form}_weight."
    state = {key.removeprefix(start): tiny[key] for key in tiny if key.startswith(start)}
    state["ctc_output.1.weight"] = torch.randn(500, 96)
    state["ctc_output.1.bias"] = torch.randn(500)
    settings = {"exp_dir": Path("exp"), "args": argparse.Namespace(lr=0.045), "lr": 0.045}
    torch.save({"model": state, "optimizer": {}, **settings}, "epoch-30.pt")
    argv = ["import-icefall", "epoch-30.pt", "--paths.exp", "exp/imported"]
    if form == "causal":
        argv += ["--model.zipformer.chunk-sizes", "8", "--model.zipformer.left-context-frames=32"]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert ("streaming" in said) == (form == "causal")
    config = load(Config, ["exp/imported/epoch-30.yaml"])
    own, expected = config.model.zipformer, tiny["config"]
    assert own.encoder_dims == expected["encoder_dim"]
    assert own.downsampling_factors == expected["downsampling_factor"]
    assert own.num_heads == expected["num_heads"]
    assert own.kernels == expected["cnn_module_kernel"]
    assert own.feedforward_dims == expected["feedforward_dim"]
    assert own.num_encoder_layers == expected["num_encoder_layers"]
    model = load_model(Path("exp/imported/averaged.pt"), config.model, 80, 500)
    out, lengths = model.encode(tiny[f"{form}_x"], tiny[f"{form}_x_lens"])
    assert torch.equal(lengths, tiny[f"{form}_encoder_lens"])
    assert (out - tiny[f"{form}_encoder_out"]).abs().max() < 1e-4
    predicted = model.predictor(tiny[f"{form}_symbols"])
    joiner = model.joiner
    logits = joiner.join(
        joiner.project(out[:, :4, None]), joiner.project_predictor(predicted[:, None])
    )
    assert (logits - tiny[f"{form}_joiner_logits"]).abs().max() < 1e-4
    assert torch.equal(model.ctc_head[1].bias, state["ctc_output.1.bias"])
    assert main(argv) == 1  # there are checkpoints now
    assert "--force" in capsys.readouterr().err


CONFIG = {
    "kind": "transducer",
    "encoder": "zipformer",
    "predictor_dim": 8,
    "joiner_dim": 12,
    "context_size": 1,
    "zipformer": {
        "encoder_dims": [8, 16],
        "num_encoder_layers": [1, 2],
        "downsampling_factors": [1, 2],
        "feedforward_dims": [16, 24],
        "num_heads": [2, 4],
        "kernels": [7, 5],
        "query_head_dim": 6,
        "pos_head_dim": 3,
        "value_head_dim": 5,
        "pos_dim": 10,
        "subsampling_channels": [2, 3, 4],
        "causal": True,
        "chunk_sizes": [4],
    },
}


def small() -> ModelConfig:
    return load(ModelConfig, (), list(CONFIG.items()))


def icefall_state() -> dict:
    """A small model's weights, with icefall's names."""
    state = {}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, value in TransducerModel(small(), 40, 7).state_dict().items():
            for ours, theirs in (
                ("encoder.subsampling.conv1", "encoder_embed.conv.0"),
                ("encoder.subsampling.conv2", "encoder_embed.conv.4"),
                ("encoder.subsampling.conv3", "encoder_embed.conv.7"),
                ("encoder.subsampling", "encoder_embed"),
                ("stacks.1.layers", "encoders.1.encoder.layers"),
                ("stacks", "encoders"),
                ("predictor_proj", "decoder_proj"),
                ("predictor.", "decoder."),
                ("joiner.output.", "joiner.output_linear."),
            ):
                name = name.replace(ours, theirs)
            state[name] = value
    return state


def argv(*more: str) -> list[str]:
    return ["import-icefall", *more, "--features.num-bins", "40", "--tag", "taken"]


POSITIONS = "--model.zipformer.pos-head-dim=3"
CHUNKS = "--model.zipformer.chunk-sizes=4"


def test_shapes_tell_the_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": icefall_state(), "model_avg": None}, "pretrained.pt")
    assert main(argv("pretrained.pt", POSITIONS, CHUNKS)) == 0
    (written,) = Path("exp").glob("taken*/epoch-1.yaml")
    found, wanted = load(Config, [written]).model, small()
    wanted.zipformer.left_context_frames = found.zipformer.left_context_frames
    assert found == wanted
    assert "context of 1 symbols" in capsys.readouterr().out


def test_another_training_begins_with_the_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = icefall_state()
    torch.save({"model": state}, "epoch-3.pt")
    assert main(argv("epoch-3.pt", POSITIONS, CHUNKS, "--paths.exp", "exp/imported")) == 0
    model = TransducerModel(small(), 40, 7, training=True)
    config = TrainingConfig(init="exp/imported/averaged.pt")
    with pytest.raises(NeveError, match="lacks simple_am_proj.*training.init_partial"):
        load_initial(model, config)  # these weights are of a model without the simple joiner
    load_initial(model, TrainingConfig(init=config.init, init_partial=True))
    assert torch.equal(model.joiner.output.weight, state["joiner.output_linear.weight"])


@pytest.mark.parametrize("function", [Path.touch, os.mkdir, os.makedirs])
def test_no_code_in_a_checkpoint_is_run(function, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": icefall_state(), "harm": Harm(function, tmp_path / "done")}, "epoch-1.pt")
    assert main(argv("epoch-1.pt", POSITIONS, CHUNKS)) in (0, 1)
    assert not Path("done").exists()
    torch.load("epoch-1.pt", weights_only=False)
    assert Path("done").exists()  # it would have been harmful


def test_averages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = icefall_state()
    mean = {name: value + 1 for name, value in state.items()}
    early = {name: value + 3 for name, value in state.items()}
    torch.save({"model": early, "model_avg": early, "batch_idx_train": 100}, "epoch-1.pt")
    torch.save({"model": state, "model_avg": mean, "batch_idx_train": 400}, "epoch-4.pt")
    for flags, add in ([], 0.0), (["--average"], 1.0), (["--since", "epoch-1.pt"], 1 / 3):
        assert main(argv("epoch-4.pt", POSITIONS, CHUNKS, "--force", *flags)) == 0
        (path,) = Path("exp").glob("taken*/epoch-4.pt")
        found = torch.load(path, weights_only=True)["model"]["joiner.output.bias"]
        assert torch.allclose(found, state["joiner.output_linear.bias"] + add, atol=1e-5)


@pytest.mark.parametrize(
    "change, flags, message",
    [
        ({}, ["--features.num-bins=80"], "features.num_bins=80"),
        ({}, ["--model.zipformer.pos-head-dim=5"], "pos_head_dim"),
        ({"decoder.embedding.weight": None}, [], "stateless decoder is needed"),
        ({"encoder.downsample_output.bias": torch.zeros(3)}, [], "downsample_output.bias"),
        ({"joiner.output_linear.weight": torch.zeros(9, 12)}, [], "numbers of tokens"),
    ],
)
def test_what_does_not_fit_is_named(change, flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = {k: v for k, v in {**icefall_state(), **change}.items() if v is not None}
    torch.save({"model": state}, "epoch-2.pt")
    assert main([*argv("epoch-2.pt", POSITIONS, CHUNKS), *flags]) == 1
    assert message in capsys.readouterr().err
    assert not list(Path().glob("exp/*/*.pt"))


def test_files_that_are_no_checkpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("broken.pt").write_bytes(b"PK no archive")
    for name in ("broken.pt", "missing.pt"):
        assert main(argv(name)) == 1
        assert name in capsys.readouterr().err
    with pytest.raises(Exception, match="no layers of a Zipformer"):
        infer_config({"encoder.weight": torch.zeros(2)}, ModelConfig())
