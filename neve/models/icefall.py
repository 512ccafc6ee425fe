"""Zipformer transducers that icefall trained: reading their checkpoints, names and shapes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from neve.errors import NeveError
from neve.models.config import ModelConfig, ZipformerConfig
from neve.tensors import load_checkpoint

# From icefall's names to neve's: the first row that fits a name from its start.
NAMES = [
    (r"encoder_embed\.conv\.0\.", "encoder.subsampling.conv1."),
    (r"encoder_embed\.conv\.4\.", "encoder.subsampling.conv2."),
    (r"encoder_embed\.conv\.7\.", "encoder.subsampling.conv3."),
    (r"encoder_embed\.", "encoder.subsampling."),
    (r"encoder\.encoders\.(\d+)\.(?:encoder\.)?layers\.", r"encoder.stacks.\1.layers."),
    (r"encoder\.encoders\.(\d+)\.", r"encoder.stacks.\1."),
    (r"encoder\.downsample_output\.", "encoder.downsample_output."),
    (r"decoder\.", "predictor."),
    (r"joiner\.encoder_proj\.", "joiner.encoder_proj."),
    (r"joiner\.decoder_proj\.", "joiner.predictor_proj."),
    (r"joiner\.output_linear\.", "joiner.output."),
    (r"simple_am_proj\.", "simple_am_proj."),
    (r"simple_lm_proj\.", "simple_lm_proj."),
    (r"ctc_output\.1\.", "ctc_head.1."),
]


def neve_name(name: str) -> str | None:
    """What neve calls a parameter that icefall calls `name`; None if a transducer has none such."""
    for pattern, replacement in NAMES:
        found = re.match(pattern, name)
        if found:
            return found.expand(replacement) + name[found.end() :]
    return None


def renamed(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """A state dictionary with neve's names, and the names that have no place in neve."""
    found = {name: neve_name(name) for name in state}
    known = {new: state[old] for old, new in found.items() if new is not None}
    return known, [old for old, new in found.items() if new is None]


# -- shapes ----------------------------------------------------------------------------------------


def infer_config(state: dict[str, Tensor], config: ModelConfig) -> ModelConfig:
    """The `model` section that fits a state dictionary of neve's names.

    Args:
        state: of a transducer with a Zipformer and a stateless predictor.
        config: what shapes cannot tell is taken from here: zipformer.pos_head_dim, unmasked_dims
            (where they do not fit: none is masked), chunk_sizes, left_context_frames,
            warmup_batches, dropout.

    Raises:
        NeveError: it is not such a model, or `pos_head_dim` is not that of the model.
    """
    own = _infer_zipformer(state, config.zipformer)
    _demand(state, "predictor.embedding.weight", "joiner.output.weight")
    tokens, predictor_dim = state["predictor.embedding.weight"].shape
    conv = state.get("predictor.conv.weight")
    if conv is not None and tuple(conv.shape[:2]) != (predictor_dim, 4):
        raise NeveError(f"decoder.conv.weight: shape {tuple(conv.shape)} is not that of 4 a group")
    if len(state["joiner.output.weight"]) != tokens:
        raise NeveError("the decoder and the joiner have different numbers of tokens")
    return replace(
        config,
        kind="transducer",
        encoder="zipformer",
        predictor="stateless",
        predictor_dim=predictor_dim,
        context_size=1 if conv is None else conv.shape[2],
        joiner_dim=state["joiner.output.weight"].shape[1],
        zipformer=own,
    )


def _demand(state: dict[str, Tensor], *names: str) -> None:
    for name in names:
        if name not in state:
            raise NeveError(
                f"there is no {name} (in neve's names); a Zipformer transducer with a stateless "
                "decoder is needed"
            )


def _infer_zipformer(state: dict[str, Tensor], given: ZipformerConfig) -> ZipformerConfig:
    layers: dict[int, set[int]] = {}
    for name in state:
        found = re.match(r"encoder\.stacks\.(\d+)\.layers\.(\d+)\.", name)
        if found:
            layers.setdefault(int(found[1]), set()).add(int(found[2]))
    if not layers or sorted(layers) != list(range(len(layers))):
        raise NeveError("there are no layers of a Zipformer in it (encoder.encoders.N...)")
    sizes = [_infer_stack(state, i, given.pos_head_dim) for i in range(len(layers))]
    for name in ("query_head_dim", "value_head_dim", "pos_dim", "causal"):
        if len({size[name] for size in sizes}) > 1:
            raise NeveError(
                f"{name} is {[size[name] for size in sizes]} in the stacks and must be one number; "
                f"is model.zipformer.pos_head_dim={given.pos_head_dim} that of the model?"
            )
    dims = [size["encoder_dims"] for size in sizes]
    unmasked = given.unmasked_dims
    if len(unmasked) != len(dims) or any(u > dim for u, dim in zip(unmasked, dims)):
        unmasked = []
    convs = [f"encoder.subsampling.conv{i}.weight" for i in (1, 2, 3)]
    _demand(state, *convs)
    return replace(
        given,
        encoder_dims=dims,
        num_encoder_layers=[len(layers[i]) for i in range(len(layers))],
        unmasked_dims=unmasked,
        subsampling_channels=[len(state[name]) for name in convs],
        **{
            name: [size[name] for size in sizes]
            for name in ("downsampling_factors", "feedforward_dims", "num_heads", "kernels")
        },
        **{name: sizes[0][name] for name in ("query_head_dim", "value_head_dim", "pos_dim")},
        causal=sizes[0]["causal"],
    )


def _infer_stack(state: dict[str, Tensor], number: int, place_dim: int) -> dict:
    stack = f"encoder.stacks.{number}."
    layer = f"{stack}layers.0."
    names = {
        "positions": f"{layer}self_attn_weights.linear_pos.weight",
        "scores": f"{layer}self_attn_weights.in_proj.weight",
        "values": f"{layer}self_attn1.in_proj.weight",
        "hidden": f"{layer}feed_forward2.in_proj.weight",
    }
    _demand(state, *names.values())
    shapes = {key: tuple(state[name].shape) for key, name in names.items()}
    heads, rest = divmod(shapes["positions"][0], place_dim)
    if rest or shapes["scores"][0] % heads or shapes["values"][0] % heads:
        raise NeveError(
            f"{names['positions']} has {shapes['positions'][0]} rows, which heads of "
            f"model.zipformer.pos_head_dim={place_dim} do not make; give that of the model"
        )
    causal = f"{layer}conv_module1.depthwise_conv.chunkwise_conv.weight"
    plain = f"{layer}conv_module1.depthwise_conv.weight"
    if causal not in state:
        _demand(state, plain)
    downsample = state.get(f"{stack}downsample.bias")
    return {
        "encoder_dims": shapes["scores"][1],
        "num_heads": heads,
        "query_head_dim": (shapes["scores"][0] // heads - place_dim) // 2,
        "value_head_dim": shapes["values"][0] // heads,
        "pos_dim": shapes["positions"][1],
        "feedforward_dims": shapes["hidden"][0],
        "kernels": state[causal if causal in state else plain].shape[2],
        "causal": causal in state,
        "downsampling_factors": 1 if downsample is None else len(downsample),
    }


def fits_bins(state: dict[str, Tensor], bins: int) -> bool:
    """Whether the weights are for features of `bins` filters; up to four neighbours are alike."""
    _demand(state, "encoder.subsampling.out.weight")
    columns = state["encoder.subsampling.out.weight"].shape[1]
    return columns == len(state["encoder.subsampling.conv3.bias"]) * (((bins - 1) // 2 - 1) // 2)


# -- files -----------------------------------------------------------------------------------------


class _Inert:
    """Stands for an object of a class that is not needed; made and filled without running code."""

    def __new__(cls, *_args, **_more):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass


def read_checkpoint(path: Path) -> dict:
    """icefall's checkpoint: a dictionary with a state dictionary under `model`, and much else.

    No pickled code is run: what is no tensor, number, text or container of these (paths, settings)
    is replaced by an empty object.

    Raises:
        NeveError: the file is missing, damaged, or no checkpoint.
    """
    remedy = "copy it again"
    serialization = torch.serialization
    if not path.exists() or not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):
        return load_checkpoint(path, remedy)
    try:
        strange = serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever a damaged file makes of it, the reading says it clearly
        strange = []
    stands = [(type("_Inert", (_Inert,), {}), name) for name in strange]
    with serialization.safe_globals(stands):
        return load_checkpoint(path, remedy)


def weights(saved: dict, average: bool = False, since: dict | None = None) -> dict[str, Tensor]:
    """The state dictionary of a checkpoint, in icefall's names.

    Args:
        saved: of `read_checkpoint`.
        average: take `model_avg`, the mean since training began, in place of `model`.
        since: an earlier checkpoint; take the mean of what lies between.

    Raises:
        NeveError: an average is asked for where none is saved.
    """
    if since is None and not average:
        return saved["model"]
    for each in (saved, since) if since is not None else (saved,):
        if not isinstance(each.get("model_avg"), dict):
            raise NeveError("there is no model_avg in it; take the weights as they are")
    if since is None:
        return saved["model_avg"]
    begin, end = (each.get("batch_idx_train") for each in (since, saved))
    if not isinstance(begin, int) or not isinstance(end, int) or begin >= end:
        raise NeveError(
            f"batch_idx_train is {begin} in the earlier and {end} in the later checkpoint: there "
            "is nothing between them to average"
        )
    mean = {}
    for name, value in saved["model_avg"].items():
        if value.is_floating_point():
            before = since["model_avg"][name].double()
            value = ((value.double() * end - before * begin) / (end - begin)).to(value.dtype)
        mean[name] = value
    return mean
