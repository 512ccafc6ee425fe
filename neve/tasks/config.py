"""What training minimises: the keys of the `loss` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LossConfig:
    ctc_weight: float = option(
        0.2, "transducer: weight of the CTC head's loss beside the transducer's; 0: no such head"
    )
    simple_weight: float = option(
        0.5, "transducer: weight of the simple joiner's loss, which chooses what is not pruned"
    )
    rnnt_warmup: float = option(
        2000.0,
        "transducer: batches (of training.reference_batch) in which the weight of the simple loss"
        " falls from 1 to simple_weight and that of the pruned one rises from 0.1 to 1",
    )
    prune_range: int = option(5, "transducer: symbols that each frame keeps in the pruned loss")
    rnnt_type: str = option(
        "regular",
        "transducer: any number of symbols in a frame; modified: one at most; constrained: one at"
        " most, followed by a blank",
        choices=("regular", "modified", "constrained"),
    )
    lm_only_scale: float = option(
        0.25, "transducer: share of the predictor alone in the simple loss"
    )
    am_only_scale: float = option(0.0, "transducer: share of the encoder alone in the simple loss")
    delay_penalty: float = option(
        0.0, "transducer: how much early symbols are favoured, for streaming with a low delay"
    )
    intermediate_layers: list[int] = option(
        [], "encoder layers (from 1) whose output also predicts the tokens while training"
    )
    intermediate_weight: float = option(0.3, "share of the intermediate layers' loss in the whole")
    auxiliary: str = option(
        "none",
        "a second set of targets with a head of its own, to guide training on little data",
        choices=("none", "letters"),
    )
    auxiliary_weight: float = option(0.3, "share of the auxiliary loss in the whole")
    pronunciations: str = option(
        "best",
        "targets of words with several pronunciations: the one that the model finds likeliest each "
        "time it sees the utterance, or the lexicon's first",
        choices=("best", "first"),
    )
    too_long: str = option(
        "drop",
        "what happens to an utterance with more tokens than encoder frames: it is dropped from "
        "training, or the training does not start",
        choices=("drop", "error"),
    )
