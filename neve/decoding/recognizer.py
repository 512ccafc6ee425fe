"""From features to hypotheses with a CTC model: best path through a graph, or greedy."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neve.decoding.config import DecodingConfig
from neve.decoding.times import timed_words, token_runs
from neve.errors import ConfigError, NeveError
from neve.fsa import Graph, one_best
from neve.lang import Lang
from neve.models import CtcModel, ModelConfig
from neve.results import Hypothesis, Word
from neve.tensors import load_checkpoint

log = logging.getLogger(__name__)

TRAINING_ONLY = "auxiliary_head."


def load_model(path: Path, config: ModelConfig, features: int, tokens: int) -> CtcModel:
    """A model in evaluation mode with the weights of a file that training wrote.

    Args:
        path: averaged.pt, epoch-N.pt (its moving average, where it has one) or a packed model.pt.
        config: the `model` section that it was trained with.
        features: number of feature bins.
        tokens: number of tokens, blank included.

    Raises:
        NeveError: the file is missing, damaged, or of another model.
    """
    saved = load_checkpoint(Path(path))
    state = saved.get("average") or saved["model"]
    state = {name: value for name, value in state.items() if not name.startswith(TRAINING_ONLY)}
    model = CtcModel(config, features, tokens)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise NeveError(
            f"{path}: its weights do not fit the configured model, features or tokens "
            f"({str(error).splitlines()[1].strip()}); use the configuration saved beside it"
        ) from error
    return model.eval()


class CtcRecognizer:
    """Model, lang and (unless greedy) graph, put together.

    Args:
        model: in evaluation mode.
        lang: the tokens and words of model and graph.
        graph: decoding graph from tokens to words; not needed for greedy decoding.
        config: the `decoding` section.
        frame_seconds: length of a feature frame.
    """

    def __init__(
        self,
        model: CtcModel,
        lang: Lang,
        graph: Graph | None,
        config: DecodingConfig,
        frame_seconds: float,
    ):
        if config.method == "graph" and graph is None:
            raise ConfigError("decoding.method is graph, but there is no graph; run stage 5")
        self.model, self.lang, self.config = model, lang, config
        self.graph = graph
        self.device = next(model.parameters()).device
        probe = torch.tensor([100000])
        factor = int(probe[0]) / int(model.lengths(probe)[0])
        self.frame_seconds = frame_seconds * round(factor)

    @torch.inference_mode()
    def log_probs(self, features: Tensor, lengths: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(N, T, F) features, (N,) lengths to (N, T', C) log-probabilities, (N,) lengths."""
        scores, frames = self.model(features.to(self.device), lengths.to(self.device))
        return scores.float().cpu().numpy(), frames.cpu().numpy()

    def search(
        self,
        log_probs: np.ndarray,
        lengths: np.ndarray,
        acoustic_scale: float = 1.0,
        word_score: float = 0.0,
    ) -> list[Hypothesis]:
        """The best hypothesis of each row of (N, T, C) log-probabilities."""
        if self.config.method == "greedy":
            return [self.greedy(row[:length]) for row, length in zip(log_probs, lengths)]
        paths = one_best(
            self.scored_graph(word_score),
            log_probs * np.float32(acoustic_scale),
            lengths,
            self.config.search_beam,
            self.config.min_active,
            self.config.max_active,
            self.config.allow_partial,
            self.config.threads or None,
        )
        return [
            self.hypothesis(path.arcs, path.score, row[:length])
            for path, row, length in zip(paths, log_probs, lengths)
        ]

    def scored_graph(self, word_score: float) -> Graph:
        if not word_score:
            return self.graph
        scores = self.graph.scores + np.float32(word_score) * np.diff(self.graph.aux_splits)
        return dataclasses.replace(self.graph, scores=scores.astype(np.float32))

    def hypothesis(self, arcs: np.ndarray, score: float, log_probs: np.ndarray) -> Hypothesis:
        """Words, times and confidences of a best path's arcs over (T, C) log-probabilities."""
        if not len(arcs):
            return Hypothesis([], float("-1e30"))
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
            labels, log_probs, words, emitted, self.lang.pronunciations, self.frame_seconds
        )
        return Hypothesis([word for word in timed if self.lang.is_word(word.text)], float(score))

    def greedy(self, log_probs: np.ndarray) -> Hypothesis:
        """The best token of each frame, repeats and blanks removed, spelled out as words."""
        groups: list[list[tuple[int, int, int]]] = []
        for run in token_runs(log_probs.argmax(axis=1)):
            starts_word = self.lang.kind == "phone" or self.lang.tokens[run[0]].startswith("▁")
            if starts_word or not groups:
                groups.append([])
            groups[-1].append(run)
        result = []
        for runs in groups:
            confidence = np.exp(np.mean([log_probs[a:b, token].max() for token, a, b in runs]))
            text = self.lang.decode([token for token, _, _ in runs])
            start, end = runs[0][1] * self.frame_seconds, runs[-1][2] * self.frame_seconds
            if text:
                result.append(Word(text, start, end, min(1.0, float(confidence))))
        return Hypothesis(result, float(log_probs.max(axis=1).sum()))


def choose_scales(
    recognizer: CtcRecognizer,
    batches: Sequence[tuple[np.ndarray, np.ndarray, list[str]]],
    config: DecodingConfig,
) -> tuple[float, float]:
    """The acoustic scale and word score of the configuration with the fewest dev word errors.

    Args:
        recognizer: decodes.
        batches: of the dev sets: log-probabilities, lengths, reference texts.
        config: the candidates; of equals, the first. Greedy decoding uses neither: the first.
    """
    from kaldialign import edit_distance

    candidates = [(a, w) for a in config.acoustic_scales for w in config.word_scores]
    if not candidates:
        raise ConfigError("decoding.acoustic_scales and decoding.word_scores must not be empty")
    if len(candidates) == 1 or config.method == "greedy":
        return candidates[0]
    if not batches:
        raise ConfigError(
            "decoding.acoustic_scales or decoding.word_scores give a choice, but there is no dev "
            "set to choose on; name one in data.dev or give one value of each"
        )
    best = None
    for acoustic_scale, word_score in candidates:
        errors = words = 0
        for log_probs, lengths, texts in batches:
            hypotheses = recognizer.search(log_probs, lengths, acoustic_scale, word_score)
            for text, hypothesis in zip(texts, hypotheses):
                errors += edit_distance(text.split(), hypothesis.text.split())["total"]
                words += len(text.split())
        log.info(
            "acoustic scale %g, word score %g: %d errors in %d dev words",
            acoustic_scale,
            word_score,
            errors,
            words,
        )
        if best is None or errors < best[0]:
            best = (errors, acoustic_scale, word_score)
    return best[1:]
