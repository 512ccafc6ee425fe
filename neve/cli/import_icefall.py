"""Take over a Zipformer transducer that icefall trained.

Writes an experiment that `neve decode` and `neve pack` use as one of their own; `neve train` begins
with its averaged.pt if training.init names it. What weights cannot tell, such as the chunks of a
streaming model, is taken from the configuration. No pickled code is run.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from neve.errors import ConfigError, NeveError

USES = (
    "tag",
    "paths.exp",
    "features",
    "model.dropout",
    "model.zipformer.pos_head_dim",
    "model.zipformer.unmasked_dims",
    "model.zipformer.chunk_sizes",
    "model.zipformer.left_context_frames",
)


def add_arguments(parser) -> None:
    """Which weights to take."""
    add = parser.add_argument
    add("checkpoint", metavar="epoch-N.pt", help="icefall's checkpoint, or a pretrained.pt of it")
    add(
        "--average",
        action="store_true",
        help="take the average since training began (`model_avg`) instead of the last weights",
    )
    add(
        "--since",
        metavar="epoch-M.pt",
        help="take the average of the weights after this earlier checkpoint, as icefall's decoding "
        "with --use-averaged-model does",
    )
    add("--force", action="store_true", help="write even if there are checkpoints already")


def run(config, args) -> None:
    """Write epoch-N.pt, epoch-N.yaml and averaged.pt into paths.exp."""
    from neve.models.icefall import fits_bins, infer_config, read_checkpoint, renamed, weights
    from neve.training.checkpoint import has_checkpoint, save_checkpoint, save_file

    path = Path(args.checkpoint)
    directory = Path(config.paths.exp)
    if has_checkpoint(directory) and not args.force:
        raise NeveError(
            f"{directory}: there are checkpoints in it already; give another --tag or --paths.exp, "
            "or --force"
        )
    saved = read_checkpoint(path)
    since = read_checkpoint(Path(args.since)) if args.since else None
    try:
        state, left = renamed(weights(saved, args.average, since))
        model = infer_config(state, config.model)
    except (NeveError, KeyError) as error:
        raise NeveError(f"{path}: {error}") from error
    if not fits_bins(state, config.features.num_bins):
        raise ConfigError(
            f"features.num_bins={config.features.num_bins}: {path} was trained on features of "
            "another width; give its number of filters"
        )
    loss = replace(config.loss, ctc_weight=config.loss.ctc_weight or 0.2)
    if not any(name.startswith("ctc_head.") for name in state):
        loss = replace(loss, ctc_weight=0.0)
    config = replace(config, model=model, loss=loss)
    check_fit(path, state, config)
    number = re.search(r"(\d+)$", path.stem)
    epoch = int(number[1]) if number else 1
    content = {"model": {name: value.float() for name, value in state.items()}, "epoch": epoch}
    directory.mkdir(parents=True, exist_ok=True)
    written = save_checkpoint(directory, epoch, content, config)
    save_file(content, directory / "averaged.pt")
    count = sum(value.numel() for value in state.values())
    print(f"wrote {written}, {written.with_suffix('.yaml').name} and averaged.pt:")
    print(describe(model, count))
    if left:
        print(f"left out, {len(left)} tensors without a use here, such as {sorted(left)[0]}")


def check_fit(path: Path, state: dict, config) -> None:
    """NeveError unless the weights are all those of the configured model, and no others."""
    import torch

    from neve.models.transducer import TransducerModel

    head, simple = state.get("ctc_head.1.weight"), "simple_am_proj.weight" in state
    with torch.device("meta"):
        made = TransducerModel(
            config.model,
            config.features.num_bins,
            len(state["joiner.output.weight"]),
            ctc_tokens=0 if head is None else len(head),
            training=simple,
        )
    wanted = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise NeveError(
                f"{path}: {name} (in neve's names) has shape {found.get(name, 'none')} instead of "
                f"{wanted.get(name, 'none')}; only Zipformer transducers as icefall's zipformer "
                "recipes train them can be taken over"
            )


def describe(model, count: int) -> str:
    own = model.zipformer
    kind = "streaming Zipformer" if own.causal else "Zipformer"
    return (
        f"  a {kind} transducer of {count:,} parameters: widths {own.encoder_dims}, layers "
        f"{own.num_encoder_layers}, rates 1/{own.downsampling_factors}, heads {own.num_heads}, "
        f"context of {model.context_size} symbols"
    )
