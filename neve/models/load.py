"""A model with the weights of a file that training or packing wrote."""

from __future__ import annotations

from pathlib import Path

from neve.errors import NeveError
from neve.models.config import ModelConfig
from neve.models.ctc import CtcModel
from neve.models.transducer import TransducerModel
from neve.tensors import load_checkpoint

# Weights of parts that only help to train, unless the attention decoder is asked for.
DECODER = "attention_decoder."
TRAINING_ONLY = ("auxiliary_head.", "simple_am_proj.", "simple_lm_proj.", DECODER)


def load_model(
    path: Path,
    config: ModelConfig,
    features: int,
    tokens: int,
    ctc_tokens: int | None = None,
    attention_decoder: bool = False,
) -> CtcModel | TransducerModel:
    """A model in evaluation mode with the weights of a file, without what only training uses.

    Args:
        path: averaged.pt, epoch-N.pt (its moving average, where it has one) or a packed model.pt.
        config: the `model` section that it was trained with.
        features: number of feature bins.
        tokens: number of tokens, blank included.
        ctc_tokens: the same of a transducer's CTC head, if the file has one; None: `tokens`.
        attention_decoder: with the attention decoder too, to score hypotheses.

    Raises:
        NeveError: the file is missing, damaged, or of another model, or has no attention decoder.
    """
    saved = load_checkpoint(Path(path))
    state = needed(saved.get("average") or saved["model"], attention_decoder)
    if attention_decoder and not any(name.startswith(DECODER) for name in state):
        raise NeveError(
            f"{path}: there is no attention decoder in it; it was trained with "
            "loss.attention_weight 0, or packed"
        )
    if config.kind == "transducer":
        has_head = any(name.startswith("ctc_head.") for name in state)
        ctc_tokens = (ctc_tokens or tokens) if has_head else 0
        model = TransducerModel(
            config, features, tokens, ctc_tokens, attention_decoder=attention_decoder
        )
    else:
        model = CtcModel(config, features, tokens, attention_decoder=attention_decoder)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise NeveError(
            f"{path}: its weights do not fit the configured model, features or tokens "
            f"({str(error).splitlines()[1].strip()}); use the configuration saved beside it"
        ) from error
    return model.eval()


def needed(state: dict, attention_decoder: bool = False) -> dict:
    """The weights without those that only help to train; with the attention decoder, if so said."""
    left = tuple(name for name in TRAINING_ONLY if not (attention_decoder and name == DECODER))
    return {name: value for name, value in state.items() if not name.startswith(left)}
