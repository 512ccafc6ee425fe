"""What training minimises: the keys of the `loss` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LossConfig:
    main_weight: float = option(
        1.0,
        "weight of the main loss, CTC of a CTC model or RNN-T of a transducer; 0 leaves the "
        "training to others, such as LF-MMI",
    )
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
    doubled_words: float = option(
        0.0,
        "transducer with a CTC head: share of the words that training hears twice in a row, where "
        "a small corpus has too few repeated words to learn them; 0.1 to 0.2",
    )
    lm_only_scale: float = option(
        0.25, "transducer: share of the predictor alone in the simple loss"
    )
    am_only_scale: float = option(0.0, "transducer: share of the encoder alone in the simple loss")
    delay_penalty: float = option(
        0.0, "transducer: how much early symbols are favoured, for streaming with a low delay"
    )
    ctc_delay_penalty: float = option(
        0.0,
        "how much early tokens of a CTC model, or of a transducer's CTC head, are favoured: each "
        "gains this for every frame that it is before the middle of the utterance",
    )
    ctc_smoothing: float = option(
        0.0, "weight of the divergence of the CTC posteriors from the uniform distribution"
    )
    attention_weight: float = option(
        0.0,
        "weight of an attention decoder beside CTC or the transducer; 0: none (model.decoder_*)",
    )
    label_smoothing: float = option(
        0.1, "share of the attention decoder's targets that is spread over all tokens"
    )
    cr_weight: float = option(
        0.0,
        "weight of the consistency of two views of each utterance, with masks of their own (CR-CTC;"
        " 0.2 is usual for CTC, 0.02 beside a transducer); a batch becomes twice as large",
    )
    cr_time_masks: float = option(
        2.5,
        "with cr_weight there are so many times as many time masks (augment.time_masks and"
        " time_mask_share)",
    )
    mmi_weight: float = option(
        0.0, "weight of lattice-free MMI on the CTC posteriors; with main_weight 0 it stands alone"
    )
    mmi_order: int = option(
        2, "order of the n-gram of tokens in LF-MMI's denominator; above 2 for few tokens only"
    )
    mmi_beam: float = option(
        0.0,
        "with an mmi_order above 2: paths of the denominator that are worse than the best by more"
        " than this are left out (20 is safe); 0: none, which takes time",
    )
    mwer_weight: float = option(
        0.0,
        "weight of the expected word errors (MWER) of an n-best list; only for a model that is"
        " trained already (training.init)",
    )
    mwer_beam: int = option(4, "hypotheses in MWER's n-best list")
    teacher: str = option(
        "", "model directory (neve pack) of a teacher, whose posteriors distill_weight weighs"
    )
    distill_weight: float = option(0.0, "weight of the divergence from the teacher's posteriors")
    distill_temperature: float = option(
        1.0, "logits of both are divided by this; above 1 the teacher's small posteriors count more"
    )
    distill_lattice: str = option(
        "collapsed",
        "what a transducer learns of its teacher's pruned lattice: the posteriors of blank, the"
        " next token and the rest, or of all tokens",
        choices=("collapsed", "full"),
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
