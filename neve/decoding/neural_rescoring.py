"""The n-best list rescored by a neural language model, or by the model's attention decoder.

Their log-probability of a hypothesis is added `lm_scale` times to the score of its best path, in
which the graph's own LM stays: Deoras et al., "A fast re-scoring strategy to capture long-distance
dependencies" (EMNLP 2011) for language models; Watanabe et al., "Hybrid CTC/attention architecture
for end-to-end speech recognition" (IEEE JSTSP 11, 2017) for the decoder.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neve.decoding.lattices import Nbest, Searched
from neve.decoding.neural_lm import NeuralLm
from neve.decoding.spelling import Spelling
from neve.errors import ConfigError
from neve.lang import Lang
from neve.models import TransducerModel


class Scored(NamedTuple):
    """An utterance's first pass, and the other model's score of each of its candidates."""

    searched: Searched
    scores: list[float]


class _Rescored(Nbest):
    """Candidates in the order of the sum of both scores; the other model's are computed once."""

    scales = (*Nbest.scales, "lm_scale")

    def sizes(self, found: list[Scored]):
        return super().sizes([one.searched for one in found])

    def second_pass(self, found: list[Scored], scales, texts=None):
        return [self.listed(one.searched, self.ranked(one, scales)) for one in found]

    def ranked(self, found: Scored, scales):
        scored = [
            (candidate.score + scales.lm_scale * score, candidate)
            for candidate, score in zip(found.searched.candidates, found.scores)
        ]
        return sorted(scored, key=lambda one: -one[0])


class NeuralRescoring(_Rescored):
    """With a language model of `neve train-lm`, over tokens or words.

    Raises NeveError for words of the graph that a model over tokens cannot read (`Spelling`).
    """

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if not config.neural_lm:
            raise ConfigError(
                f"decoding.method {config.method} needs decoding.neural_lm, a model directory of "
                "`neve train-lm`"
            )
        device = "cpu" if model is None else next(model.parameters()).device
        neural = NeuralLm(config.neural_lm, device)
        self.neural, self.units = neural.model, neural.units
        self.spelling = self.units.encode  # words that a model over words lacks are its <unk>
        if self.units.unit != "words":
            where = f"decoding.neural_lm {config.neural_lm}"
            self.spelling = Spelling(lang, self.units.lang, where)

    def first_pass(self, outputs, lengths, scales) -> list[Scored]:
        found = super().first_pass(outputs, lengths, scales)
        spelled = [self.spelled_ids(c.said) for one in found for c in one.candidates]
        scores = iter(self.neural.score(spelled).tolist() if spelled else [])
        return [Scored(one, [next(scores) for _ in one.candidates]) for one in found]

    def spelled_ids(self, words: tuple[int, ...]) -> list[int]:
        """The neural model's ids of a candidate's words."""
        return self.spelling(self.said(words))


class AttentionRescoring(_Rescored):
    """With the attention decoder that was trained beside CTC or the transducer.

    Its outputs of `encode` are (log-probabilities, encoder outputs).
    """

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if getattr(model, "attention_decoder", None) is None:
            raise ConfigError(
                f"decoding.method {config.method} needs an attention decoder; train with "
                "loss.attention_weight, and decode the training's weights (a packed model has none)"
            )
        self.read_with(lang)

    def read_with(self, lang: Lang) -> None:
        """Name the lang directory whose tokens the decoder reads: a transducer's are its own.

        Raises NeveError for words of the graph that it cannot read (`Spelling`).
        """
        self.spelling = Spelling(self.lang, lang, "attention-rescoring")

    @torch.inference_mode()
    def encode(self, features: Tensor, lengths: Tensor):
        outputs, lengths = self.model.encoder(features, lengths)
        hidden = outputs[-1]
        if isinstance(self.model, TransducerModel):
            log_probs = self.model.ctc_log_probs(hidden)
        else:
            log_probs = self.model.log_probs(self.model.head, hidden)
        return (log_probs.float().cpu().numpy(), hidden), lengths.cpu().numpy()

    def first_pass(self, outputs, lengths, scales) -> list[Scored]:
        log_probs, hidden = outputs
        found = super().first_pass(log_probs, lengths, scales)
        spelled = [[self.spelling(self.said(c.said)) for c in one.candidates] for one in found]
        scores = self.model.attention_decoder.score(hidden, torch.as_tensor(lengths), spelled)
        return [Scored(one, row) for one, row in zip(found, scores)]
