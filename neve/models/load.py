"""A model with the weights of a file that training or packing wrote."""

from __future__ import annotations

from pathlib import Path

from neve.errors import NeveError
from neve.models.config import ModelConfig
from neve.models.ctc import CtcModel
from neve.models.transducer import TransducerModel
from neve.tensors import load_checkpoint

# Weights of parts that only help to train.
TRAINING_ONLY = ("auxiliary_head.", "simple_am_proj.", "simple_lm_proj.")


def load_model(
    path: Path, config: ModelConfig, features: int, tokens: int, ctc_tokens: int | None = None
) -> CtcModel | TransducerModel:
    """A model in evaluation mode with the weights of a file, without what only training uses.

    Args:
        path: averaged.pt, epoch-N.pt (its moving average, where it has one) or a packed model.pt.
        config: the `model` section that it was trained with.
        features: number of feature bins.
        tokens: number of tokens, blank included.
        ctc_tokens: the same of a transducer's CTC head, if the file has one; None: `tokens`.

    Raises:
        NeveError: the file is missing, damaged, or of another model.
    """
    saved = load_checkpoint(Path(path))
    state = needed(saved.get("average") or saved["model"])
    if config.kind == "transducer":
        has_head = any(name.startswith("ctc_head.") for name in state)
        ctc_tokens = (ctc_tokens or tokens) if has_head else 0
        model = TransducerModel(config, features, tokens, ctc_tokens)
    else:
        model = CtcModel(config, features, tokens)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise NeveError(
            f"{path}: its weights do not fit the configured model, features or tokens "
            f"({str(error).splitlines()[1].strip()}); use the configuration saved beside it"
        ) from error
    return model.eval()


def needed(state: dict) -> dict:
    """The weights without those that only help to train."""
    return {name: value for name, value in state.items() if not name.startswith(TRAINING_ONLY)}
