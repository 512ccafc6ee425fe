"""Language models beside a transducer: in its search, or over the list that it found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from neve.decoding.config import DecodingConfig
from neve.decoding.neural_lm import NeuralLm
from neve.decoding.token_ngram import TokenNgram
from neve.decoding.transducer.fusion import Fusion, InternalFusion, NgramFusion, Part, Sum
from neve.decoding.transducer.paths import normed
from neve.decoding.word_lm import SentenceLm
from neve.errors import ConfigError
from neve.lang import Lang


class TransducerLms:
    """Those that `decoding.neural_lm`, `rescore_lm` and `token_lm` name; none is fine.

    Attributes:
        main: the neural LM or, for a list, the n-gram of words; perhaps neither.
        scales: names of the `Scales` that they heed. The n-gram of tokens alone has the LM's scale;
            beside the main one it has LODR's.

    Args:
        model, lang, config: as for `Method`.
        device: where the neural LM computes.
        fused: whether they are for a search; for a list the neural LM may be one of words.

    Raises:
        ConfigError: the neural LM has other tokens than `lang`.
        NeveError: a file is missing or wrong.
    """

    def __init__(self, model, lang: Lang, config: DecodingConfig, device, fused: bool = True):
        self.transducer, self.lang = model, lang
        self.neural = self.words = self.ngram = None
        if config.rescore_lm and not fused:
            self.words = SentenceLm(config.rescore_lm, lang)
        if config.neural_lm:
            self.neural = NeuralLm(config.neural_lm, device)
            if fused or self.neural.units.unit != "words":
                self.neural.require_tokens_of(lang)
        if config.token_lm:
            self.ngram = TokenNgram.read(config.token_lm, lang)
        self.main = self.neural or self.words
        self.scales: tuple[str, ...] = ()
        if self.main or self.ngram:
            self.scales = (*(("ilm_scale",) if fused else ()), "lm_scale")
        if self.main and self.ngram:
            self.scales += ("lodr_scale",)

    def ngram_scale(self, scales) -> float:
        """What the log-probabilities of the n-gram of tokens are multiplied by."""
        return scales.lodr_scale if self.main else scales.lm_scale

    def fusion(self, scales) -> Part | None:
        """What a search of one batch adds; None where that is nothing."""
        parts: list[Part] = []
        if self.neural and scales.lm_scale:
            parts.append(Fusion(self.neural.model, scales.lm_scale, self.lang.num_tokens))
        if self.ngram and self.ngram_scale(scales):
            parts.append(NgramFusion(self.ngram, self.ngram_scale(scales)))
        if self.scales and scales.ilm_scale:
            parts.append(InternalFusion(self.transducer, scales.ilm_scale))
        return Sum(parts) if len(parts) > 1 else parts[0] if parts else None

    def score(self, tokens: Sequence[Sequence[int]], words: list[list[str]]) -> list[LmScores]:
        """Log-probabilities of whole hypotheses, ends included; of a model that is not there, 0.

        Args:
            tokens, words: of each hypothesis.
        """
        main, ngram = [0.0] * len(tokens), [0.0] * len(tokens)
        if self.words:
            main = self.words.score(words)
        elif self.neural and tokens:
            if self.neural.units.unit == "words":
                spelled = [self.neural.units.encode(each) for each in words]
            else:
                spelled = [list(each) for each in tokens]
            main = self.neural.model.score(spelled).tolist()
        if self.ngram:
            ngram = [self.ngram.score(each) for each in tokens]
        return [LmScores(*both) for both in zip(main, ngram)]


class LmScores(NamedTuple):
    """What the language models say of a hypothesis."""

    main: float
    ngram: float


class ScoredHypothesis(NamedTuple):
    """A hypothesis of a transducer's list, and what language models say of it.

    found: what the search found, with its `score`. tokens: how many. scores: the models'.
    """

    found: Any
    tokens: int
    scores: LmScores


class ListRescoring:
    """A transducer's search whose list language models put in a new order.

    To be named before the search's class, `TransducerMethod`. The log-probabilities of the models,
    times their scales, are added to the score that the search gave; they are computed once for all
    scales. `decoding.length_norm` holds for the new order as for the old, if the search heeds it.

    heeds_length: whether it does.
    """

    fuses = False
    heeds_length = True

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if not self.lms.scales:
            raise ConfigError(
                f"decoding.method {config.method} needs decoding.neural_lm, a model directory of "
                "`neve train-lm`, decoding.rescore_lm, an n-gram of words, or decoding.token_lm, "
                "an ARPA file of `neve lm --lm.unit tokens`"
            )

    @property
    def first_scales(self):
        return tuple(name for name in self.scales if name not in self.lms.scales)

    def search(self, outputs, lengths, scales):
        return self.second_pass(self.first_pass(outputs, lengths, scales), scales)

    def first_pass(self, outputs, lengths, scales) -> list[list[ScoredHypothesis]]:
        rows = self.found(outputs, lengths, scales)
        lists = [[(self.of_path(path), path.tokens) for path in row] for row in rows]
        return self.scored(lists, lambda hypothesis: [word.text for word in hypothesis.words])

    def scored(
        self, rows: list[list[tuple[Any, list[int]]]], words_of
    ) -> list[list[ScoredHypothesis]]:
        """Of each utterance what a search found, which comes with its tokens and has a score.

        words_of: gives the words of what it found.
        """
        flat = [each for row in rows for each in row]
        said = [words_of(found) for found, _ in flat]
        scores = iter(self.lms.score([tokens for _, tokens in flat], said))
        return [
            [ScoredHypothesis(found, len(tokens), next(scores)) for found, tokens in row]
            for row in rows
        ]

    def second_pass(self, found: list[list[ScoredHypothesis]], scales, texts=None):
        return [
            [
                dataclasses.replace(hypothesis, score=score)
                for score, hypothesis in self.ranked(row, scales)[: self.config.nbest]
            ]
            for row in found
        ]

    def ranked(self, row: list[ScoredHypothesis], scales) -> list[tuple[float, Any]]:
        """New scores and what was found, the best first."""
        by_rank = []
        for found, tokens, (main, ngram) in row:
            score = found.score + self.lms.ngram_scale(scales) * ngram
            score += scales.lm_scale * main if self.lms.main else 0.0
            rank = normed(score, tokens, self.heeds_length and self.config.length_norm)
            by_rank.append((rank, score, found))
        return [one[1:] for one in sorted(by_rank, key=lambda one: -one[0])]
