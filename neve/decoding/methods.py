"""Ways from a model's outputs to hypotheses, without lattices; their names are in `by_name`.

A method is made of model, lang, graph and configuration. `encode` is its part of the work that no
scale changes; `search` does the rest, as often as scales are tried.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neve.decoding.config import DecodingConfig
from neve.decoding.phrases import PhraseBonus, PhraseList, favoured_labels
from neve.decoding.times import TokenSpan, spelled_words, timed_words, token_runs
from neve.decoding.transducer import (
    Histories,
    HistoryScaled,
    TokenPath,
    beam_search,
    greedy_search,
    modified_beam_search,
)
from neve.decoding.transducer_lms import ListRescoring, TransducerLms
from neve.errors import ConfigError
from neve.fsa import Graph, one_best
from neve.graphs import BiasingGraph, token_biasing, word_biasing
from neve.kernels import align_ctc, prefix_beam_search
from neve.lang import Lang
from neve.models import TransducerModel
from neve.results import Hypothesis


@dataclasses.dataclass(frozen=True)
class Scales:
    """What can be chosen on dev sets; the candidates are in keys of the configuration."""

    acoustic_scale: float = 1.0
    word_score: float = 0.0
    blank_penalty: float = 0.0
    history_scale: float = 1.0
    lm_scale: float = 1.0
    lodr_scale: float = -0.1
    ilm_scale: float = 0.0
    phrase_boost: float = 1.0


class Method:
    """A search with a model.

    Attributes:
        scales: names of the `Scales` that it heeds.
        first_scales: those of them that the first pass heeds.

    Args:
        model: in evaluation mode.
        lang: the tokens that the method finds.
        graph: from tokens to words; for those that search one.
        config: the `decoding` section.
        frame_seconds: length of a frame of the model's output.
        lm: of rescoring, the G with which the graph was made (`neve.decoding.word_lm.WordLm`).
    """

    scales: tuple[str, ...] = ("blank_penalty",)
    biasing: Callable  # makes an automaton of phrases, over what the search finds

    @property
    def first_scales(self) -> tuple[str, ...]:
        return self.scales

    def __init__(
        self,
        model,
        lang: Lang,
        graph: Graph | None,
        config: DecodingConfig,
        frame_seconds: float,
        lm=None,
    ):
        self.model, self.lang, self.graph, self.config = model, lang, graph, config
        self.frame_seconds, self.lm = frame_seconds, lm
        self.phrases = None
        if config.phrases:
            self.phrases = PhraseList(config.phrases, lang, self.biasing)
            self.scales = (*self.scales, "phrase_boost")

    def favoured(self, scales: Scales) -> BiasingGraph | None:
        """The automaton of `decoding.phrases`; None if there is nothing to favour."""
        return self.phrases and self.phrases.with_boost(scales.phrase_boost)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[np.ndarray | Tensor, np.ndarray]:
        """(N, T, F) features, (N,) lengths to the model's outputs (N, T', ...), (N,) lengths."""
        raise NotImplementedError

    def search(
        self, outputs: np.ndarray | Tensor, lengths: np.ndarray, scales: Scales
    ) -> list[list[Hypothesis]]:
        """Of each row the hypotheses, at most `decoding.nbest`, the best first."""
        return self.second_pass(self.first_pass(outputs, lengths, scales), scales)

    def first_pass(self, outputs: np.ndarray | Tensor, lengths: np.ndarray, scales: Scales):
        """What the second pass needs, the same for all scales but `first_scales`."""
        return self.search(outputs, lengths, scales)

    def second_pass(
        self, found, scales: Scales, texts: list[str] | None = None
    ) -> list[list[Hypothesis]]:
        """The hypotheses of what the first pass found; texts: the references, for the oracles."""
        return found

    def sizes(self, found) -> list[tuple[int, int | None]]:
        """Of each lattice of the first pass the arcs that take a frame, and the list's length.

        Empty for a method without lattices; None as the length for one without lists.
        """
        return []

    def spelled(self, spans: list[TokenSpan], score: float) -> Hypothesis:
        """The hypothesis that tokens spell."""
        return Hypothesis(spelled_words(spans, self.lang, self.frame_seconds), float(score))


class CtcMethod(Method):
    """What searches (N, T, C) log-probabilities of a CTC model, or of a transducer's CTC head."""

    @torch.inference_mode()
    def encode(self, features: Tensor, lengths: Tensor) -> tuple[np.ndarray, np.ndarray]:
        outputs, lengths = self.model(features, lengths)
        if isinstance(self.model, TransducerModel):
            outputs = self.model.ctc_log_probs(outputs)
        return outputs.float().cpu().numpy(), lengths.cpu().numpy()

    @staticmethod
    def penalised(log_probs: np.ndarray, penalty: float) -> np.ndarray:
        """The log-probabilities with less of blank."""
        if penalty:
            log_probs = log_probs.copy()
            log_probs[..., 0] -= np.float32(penalty)
        return log_probs

    def of_labels(self, labels: np.ndarray, log_probs: np.ndarray, score: float) -> Hypothesis:
        """The hypothesis that (T,) labels of frames spell; (T, C) log-probabilities."""
        spans = [
            TokenSpan(token, begin, end, float(log_probs[begin:end, token].max()))
            for token, begin, end in token_runs(labels)
        ]
        return self.spelled(spans, score)


class GraphMethod(CtcMethod):
    """The best path through a graph from tokens to words."""

    scales = ("acoustic_scale", "word_score", "blank_penalty")
    biasing = staticmethod(word_biasing)

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if self.graph is None:
            raise ConfigError(
                f"decoding.method is {config.method}, but there is no graph; run stage 5"
            )
        if not (self.graph.labels == 0).any():
            raise ConfigError(
                f"decoding.method {config.method}: the graph has no arcs for blanks, as an LG has "
                "none; make or pack one with graph.kind HLG or HL, or search the LG with fast-beam"
            )
        self._with_score = 0.0, self.graph

    def search(self, outputs, lengths, scales):
        config, favoured = self.config, self.favoured(scales)
        paths = one_best(
            self.scored_graph(scales.word_score),
            self.penalised(outputs, scales.blank_penalty) * np.float32(scales.acoustic_scale),
            lengths,
            config.search_beam,
            config.min_active,
            config.max_active,
            config.allow_partial,
            config.threads or None,
            favoured and favoured.automaton,
        )
        found = []
        for path, row, length in zip(paths, outputs, lengths):
            hypothesis = self.hypothesis(path.arcs, path.score, row[:length])
            hypothesis.partial = 0 < len(path.arcs) <= length  # without the arc that ends a path
            found.append([hypothesis])
        return found

    def scored_graph(self, word_score: float) -> Graph:
        """The graph with a score for each word; the last one is kept."""
        if not word_score:
            return self.graph
        if self._with_score[0] != word_score:
            scores = self.graph.scores + np.float32(word_score) * np.diff(self.graph.aux_splits)
            graph = dataclasses.replace(self.graph, scores=scores.astype(np.float32))
            self._with_score = word_score, graph
        return self._with_score[1]

    def hypothesis(self, arcs: np.ndarray, score: float, log_probs: np.ndarray) -> Hypothesis:
        """Words, times and confidences of a best path's arcs over (T, C) log-probabilities."""
        if not len(arcs):
            return Hypothesis.nothing()
        splits, values = self.graph.aux_splits, self.graph.aux_values
        words, emitted = [], []
        for frame, arc in enumerate(arcs.tolist()):
            for word in values[splits[arc] : splits[arc + 1]]:
                if word > 0:
                    words.append(self.lang.words[int(word)])
                    emitted.append(frame)
        labels = self.graph.labels[arcs][: len(log_probs)]
        if self.lang.silence:  # belongs to no word
            labels = np.where(labels == self.lang.tokens[self.lang.silence], 0, labels)
        timed = timed_words(
            labels,
            log_probs,
            words,
            emitted,
            self.lang.pronunciations,
            self.frame_seconds,
            self.lang.free_word,
            self.lang.decode,
        )
        return Hypothesis([word for word in timed if self.lang.is_written(word.text)], float(score))


class CtcGreedy(CtcMethod):
    """The best token of each frame, repeats and blanks removed."""

    biasing = staticmethod(token_biasing)

    def search(self, outputs, lengths, scales):
        found, favoured = [], self.favoured(scales)
        for row, length in zip(outputs, lengths):
            log_probs = self.penalised(row[:length], scales.blank_penalty)
            if favoured is None:
                labels, score = log_probs.argmax(axis=1), log_probs.max(axis=1).sum()
            else:
                labels, score = favoured_labels(log_probs, favoured)
            found.append([self.of_labels(labels, row[:length], score)])
        return found


class CtcPrefixBeam(CtcMethod):
    """The most probable token sequences, their alignments summed."""

    biasing = staticmethod(token_biasing)

    def search(self, outputs, lengths, scales):
        penalised, favoured = self.penalised(outputs, scales.blank_penalty), self.favoured(scales)
        rows = prefix_beam_search(
            penalised,
            lengths,
            self.config.beam,
            self.config.threads or None,
            favoured and favoured.automaton,
        )
        found = []
        for prefixes, row, used, length in zip(rows, outputs, penalised, lengths):
            found.append(
                [
                    self.of_labels(
                        align_ctc(used[:length], prefix.tokens)[0], row[:length], prefix.score
                    )
                    for prefix in prefixes[: self.config.nbest]
                ]
            )
        return found


class TransducerMethod(Method):
    """What searches a transducer's encoder outputs (N, T, D).

    fuses: whether language models take part in the search (`TransducerLms`).
    one_a_frame: whether a frame gives one token at most. Where it gives more, the history must tell
        what it gave already, and `history_scale` is not heeded.
    """

    fuses = True
    one_a_frame = True

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        self.device = next(model.parameters()).device
        self.contexts = Histories(model, self.device).contexts
        self.lms = TransducerLms(model, lang, config, self.device, self.fuses)
        history = ("history_scale",) if self.one_a_frame else ()
        self.scales = (*self.scales, *history, *self.lms.scales)

    @torch.inference_mode()
    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, np.ndarray]:
        outputs, lengths = self.model.encode(features, lengths)
        return outputs.float().cpu(), lengths.cpu().numpy()

    def search(self, outputs, lengths, scales):
        rows = self.found(outputs, lengths, scales)
        return [[self.of_path(path) for path in row[: self.config.nbest]] for row in rows]

    def found(self, outputs: Tensor, lengths, scales: Scales) -> list[list[TokenPath]]:
        """Of each utterance all paths that the search ends with, the best first."""
        return self.paths(
            self.model_with(scales),
            outputs.to(self.device),
            lengths,
            blank_penalty=scales.blank_penalty,
            temperature=self.config.temperature,
            histories=Histories(self.model, self.device, self.contexts),
            **self.options(scales),
        )

    def model_with(self, scales: Scales):
        """The model, which heeds histories as far as the scale says."""
        if scales.history_scale == 1.0:
            return self.model
        return HistoryScaled(self.model, scales.history_scale)

    def options(self, scales: Scales) -> dict:
        """What `paths` gets beside."""
        given = {"fusion": self.lms.fusion(scales)} if self.fuses else {}
        favoured = self.favoured(scales)
        if favoured is not None:
            given["phrases"] = PhraseBonus(favoured, self.lang.num_tokens)
        return given

    def paths(self, model, outputs: Tensor, lengths, **options) -> list[list[TokenPath]]:
        raise NotImplementedError

    def of_path(self, path: TokenPath) -> Hypothesis:
        spans = [
            TokenSpan(token, frame, frame + 1, log_prob)
            for token, frame, log_prob in zip(path.tokens, path.frames, path.log_probs)
        ]
        return self.spelled(spans, path.score)


class TransducerGreedy(TransducerMethod):
    """See `neve.decoding.transducer.greedy_search`."""

    biasing = staticmethod(token_biasing)

    @property
    def one_a_frame(self) -> bool:
        return self.config.max_symbols == 1

    def paths(self, model, outputs, lengths, **options):
        options["max_symbols"] = self.config.max_symbols
        return [[path] for path in greedy_search(model, outputs, lengths, **options)]


class TransducerModifiedBeam(TransducerMethod):
    """See `neve.decoding.transducer.modified_beam_search`."""

    biasing = staticmethod(token_biasing)

    def paths(self, model, outputs, lengths, **options):
        options |= {"beam": self.config.beam, "length_norm": self.config.length_norm}
        return modified_beam_search(model, outputs, lengths, **options)


class TransducerBeam(TransducerMethod):
    """See `neve.decoding.transducer.beam_search`."""

    biasing = staticmethod(token_biasing)
    one_a_frame = False

    def paths(self, model, outputs, lengths, **options):
        options |= {"beam": self.config.beam, "length_norm": self.config.length_norm}
        return beam_search(model, outputs, lengths, **options)


class ModifiedBeamRescoring(ListRescoring, TransducerModifiedBeam):
    """The list of `TransducerModifiedBeam`, in a new order."""


class BeamRescoring(ListRescoring, TransducerBeam):
    """The list of `TransducerBeam`, in a new order."""
