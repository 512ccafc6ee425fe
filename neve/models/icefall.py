"""Transducers that icefall trained: what neve calls their parameters."""

from __future__ import annotations

import re

from torch import Tensor

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
