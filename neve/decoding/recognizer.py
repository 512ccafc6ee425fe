"""From features to hypotheses: a model, its lang and graph, and a method of search."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neve.decoding.by_name import make_method
from neve.decoding.config import DecodingConfig
from neve.decoding.methods import Scales
from neve.decoding.word_lm import WordLm
from neve.fsa import Graph
from neve.lang import Lang
from neve.results import Hypothesis


class Recognizer:
    """Model, lang and, where the method searches one, graph, put together.

    Args:
        model: `CtcModel` or `TransducerModel`, in evaluation mode.
        lang: the tokens of the model, or of a transducer.
        graph: decoding graph from (CTC) tokens to words; for those that search one.
        config: the `decoding` section.
        frame_seconds: length of a feature frame.
        ctc_lang: tokens of a transducer's CTC head; None: those of `lang`.
        lm: for rescoring, the G with which the graph was made.

    Raises:
        ConfigError: the model has not what method or chunks need.
    """

    def __init__(
        self,
        model,
        lang: Lang,
        graph: Graph | None,
        config: DecodingConfig,
        frame_seconds: float,
        ctc_lang: Lang | None = None,
        lm: WordLm | None = None,
    ):
        self.model, self.lang, self.config = model, lang, config
        self.graph, self.ctc_lang = graph, ctc_lang
        self.device = next(model.parameters()).device
        model.set_chunk(config.chunk_size, config.left_context)
        probe = torch.tensor([100000])
        factor = int(probe[0]) / int(model.lengths(probe)[0])
        self.frame_seconds = frame_seconds * round(factor)
        self.method = make_method(model, lang, graph, config, self.frame_seconds, ctc_lang, lm)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[np.ndarray | Tensor, np.ndarray]:
        """(N, T, F) features, (N,) lengths to what the method searches, (N, T', ...), and (N,).

        Log-probabilities of CTC, as an array, or a transducer's encoder outputs, as a tensor.
        """
        return self.method.encode(features.to(self.device), lengths.to(self.device))

    def search(
        self,
        outputs: np.ndarray | Tensor,
        lengths: np.ndarray,
        scales: Scales | None = None,
        texts: list[str] | None = None,
    ) -> list[list[Hypothesis]]:
        """Of each row of what `encode` gave, the hypotheses, the best first.

        texts: the references, for the oracle methods alone.
        """
        scales = scales or Scales()
        found = self.method.first_pass(outputs, lengths, scales)
        return self.method.second_pass(found, scales, texts)
