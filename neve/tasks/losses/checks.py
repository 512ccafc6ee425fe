"""Which settings of losses cannot be, or not together."""

from __future__ import annotations

import dataclasses
import math

from neve.errors import ConfigError
from neve.training.initial import check_initial

WEIGHTS = (
    "main_weight",
    "ctc_weight",
    "simple_weight",
    "intermediate_weight",
    "auxiliary_weight",
    "attention_weight",
    "cr_weight",
    "mmi_weight",
    "mwer_weight",
    "distill_weight",
    "ctc_smoothing",
)
ON_CTC = ("cr_weight", "mmi_weight", "ctc_smoothing", "ctc_delay_penalty", "doubled_words")


def check_losses(config) -> None:
    """ConfigError, naming the keys, for settings of the root configuration that cannot be."""
    loss, transducer = config.loss, config.model.kind == "transducer"
    check_values(loss)
    check_initial(config.training)
    if loss.mwer_weight and not config.training.init:
        raise ConfigError(
            "loss.mwer_weight needs a model that is trained already: name its averaged.pt in "
            "training.init (hypotheses of an untrained one teach nothing)"
        )
    if loss.distill_weight and not loss.teacher:
        raise ConfigError(
            "loss.distill_weight needs a teacher: name its model directory in loss.teacher"
        )
    if loss.teacher and not loss.distill_weight:
        raise ConfigError("loss.teacher has no influence while loss.distill_weight is 0")
    if loss.cr_weight and not config.augment.spec_augment:
        raise ConfigError(
            "loss.cr_weight compares two views with different masks: set augment.spec_augment"
        )
    if transducer:
        check_transducer(loss)
    else:
        check_ctc(loss)


def check_values(loss) -> None:
    """Numbers that are out of range."""
    for name in WEIGHTS:
        value = getattr(loss, name)
        if not (0.0 <= value < math.inf):
            raise ConfigError(f"loss.{name}={value} must not be negative")
    if not 0.0 <= loss.label_smoothing < 1.0:
        raise ConfigError(f"loss.label_smoothing={loss.label_smoothing} must be 0 to below 1")
    if not loss.distill_temperature > 0.0:
        raise ConfigError(f"loss.distill_temperature={loss.distill_temperature} must be positive")
    if loss.cr_time_masks < 0.0 or loss.mmi_beam < 0.0:
        raise ConfigError("loss.cr_time_masks and loss.mmi_beam must not be negative")
    if not 0.0 <= loss.doubled_words <= 0.5:
        raise ConfigError(f"loss.doubled_words={loss.doubled_words} must be 0 to 0.5")
    if loss.doubled_words and loss.cr_weight:
        raise ConfigError(
            "loss.doubled_words and loss.cr_weight exclude each other: the views of an utterance "
            "must say the same"
        )
    if loss.mmi_order < 1:
        raise ConfigError(f"loss.mmi_order={loss.mmi_order} must be at least 1")
    if loss.mwer_beam < 2:
        raise ConfigError(
            f"loss.mwer_beam={loss.mwer_beam}: of fewer than 2 hypotheses none is better"
        )


def check_transducer(loss) -> None:
    """What a transducer has no use for, or no head."""
    if loss.intermediate_layers or loss.auxiliary != "none":
        raise ConfigError(
            "loss.intermediate_layers and loss.auxiliary belong to a CTC model; with model.kind "
            "transducer set them to [] and none"
        )
    if not loss.ctc_weight:
        for name in ON_CTC:
            if getattr(loss, name):
                raise ConfigError(f"loss.{name} needs a CTC head: give loss.ctc_weight a value")
    if not (loss.main_weight or loss.mwer_weight or loss.distill_weight):
        raise ConfigError(
            "loss.main_weight is 0, and neither loss.mwer_weight nor loss.distill_weight trains "
            "the transducer instead"
        )


def check_ctc(loss) -> None:
    """Whether something trains the CTC head."""
    if loss.doubled_words:
        raise ConfigError("loss.doubled_words is for transducers; CTC has blanks between repeats")
    weight = 1.0
    weight -= loss.intermediate_weight if loss.intermediate_layers else 0.0
    weight -= loss.auxiliary_weight if loss.auxiliary != "none" else 0.0
    if weight <= 0.0:
        raise ConfigError(
            "loss.intermediate_weight and loss.auxiliary_weight leave nothing to the main loss"
        )
    if not (loss.main_weight or loss.mmi_weight or loss.mwer_weight or loss.distill_weight):
        raise ConfigError(
            "loss.main_weight is 0, and none of loss.mmi_weight, loss.mwer_weight and "
            "loss.distill_weight trains the CTC head instead"
        )


def consistency_augment(augment, share: float):
    """The `augment` section with so many times as many time masks (arXiv:2410.05101)."""
    return dataclasses.replace(
        augment,
        time_masks=math.ceil(share * augment.time_masks),
        time_mask_share=min(1.0, share * augment.time_mask_share),
    )
