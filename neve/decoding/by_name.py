"""The methods of search by the names that `decoding.method` takes."""

from __future__ import annotations

from neve.decoding.config import DecodingConfig, refuse_idle_lms
from neve.decoding.lattices import BestPath, CtcLattice, Nbest
from neve.decoding.mbr import MinimumBayesRisk
from neve.decoding.methods import (
    BeamRescoring,
    CtcGreedy,
    CtcPrefixBeam,
    GraphMethod,
    Method,
    ModifiedBeamRescoring,
    TransducerBeam,
    TransducerGreedy,
    TransducerModifiedBeam,
)
from neve.decoding.neural_rescoring import AttentionRescoring, NeuralRescoring
from neve.decoding.oracle import LatticeOracle, NbestOracle
from neve.decoding.rescoring import NbestRescoring, WholeLatticeRescoring
from neve.decoding.transducer.fast_beam_methods import (
    FastBeam,
    FastBeamNbest,
    FastBeamNbestOracle,
    FastBeamRescoring,
)
from neve.decoding.word_lm import WordLm
from neve.errors import ConfigError
from neve.fsa import Graph
from neve.lang import Lang
from neve.models import TransducerModel

CTC = {
    "graph": GraphMethod,
    "ctc-greedy": CtcGreedy,
    "ctc-prefix-beam": CtcPrefixBeam,
    "ctc-lattice": CtcLattice,
    "1best": BestPath,
    "nbest": Nbest,
    "nbest-oracle": NbestOracle,
    "lattice-oracle": LatticeOracle,
    "nbest-rescoring": NbestRescoring,
    "whole-lattice-rescoring": WholeLatticeRescoring,
    "mbr": MinimumBayesRisk,
    "neural-rescoring": NeuralRescoring,
    "attention-rescoring": AttentionRescoring,
}
TRANSDUCER = {
    "greedy": TransducerGreedy,
    "modified-beam": TransducerModifiedBeam,
    "beam": TransducerBeam,
    "fast-beam": FastBeam,
    "fast-beam-nbest": FastBeamNbest,
    "fast-beam-nbest-oracle": FastBeamNbestOracle,
    "fast-beam-rescoring": FastBeamRescoring,
    "modified-beam-rescoring": ModifiedBeamRescoring,
    "beam-rescoring": BeamRescoring,
}


def make_method(
    model,
    lang: Lang,
    graph: Graph | None,
    config: DecodingConfig,
    frame_seconds: float,
    ctc_lang: Lang | None = None,
    lm: WordLm | None = None,
) -> Method:
    """The method that `config.method` names for this model.

    `greedy` is a transducer's greedy search, and `ctc-greedy` for a CTC model.

    Args:
        model, lang, graph, config, frame_seconds, lm: as for `Method`.
        ctc_lang: tokens of a transducer's CTC head, to which the graph belongs; None: `lang`.

    Raises:
        ConfigError: the model has not what the method needs, or a setting makes no sense.
    """
    name = config.method
    for key in ("beam", "max_symbols", "nbest", "temperature"):
        if not getattr(config, key) > 0:
            raise ConfigError(f"decoding.{key}={getattr(config, key)} must be positive")
    transducer = isinstance(model, TransducerModel)
    if name == "greedy" and not transducer:
        name = "ctc-greedy"
    refuse_idle_lms(config, name)
    if name in TRANSDUCER:
        if not transducer:
            raise ConfigError(
                f"decoding.method {name} needs a transducer (model.kind); a CTC model has "
                f"{', '.join(CTC)}"
            )
        return TRANSDUCER[name](model, lang, graph, config, frame_seconds)
    if name not in CTC:
        raise ConfigError(f"decoding.method {name} is unknown; there are {', '.join(METHODS)}")
    if transducer and model.ctc_head is None:
        raise ConfigError(
            f"decoding.method {name} needs a CTC head, and this transducer has none (trained with "
            f"loss.ctc_weight 0); it has {', '.join(TRANSDUCER)}"
        )
    own = ctc_lang if transducer and ctc_lang is not None else lang
    method = CTC[name](model, own, graph, config, frame_seconds, lm)
    if isinstance(method, AttentionRescoring):
        method.read_with(lang)
    return method


METHODS = (*CTC, *TRANSDUCER)
